/* SPDX-License-Identifier: MIT */
/*
 * Which of a worker's slots are free. A slot that comes back waits SLOT_REST_NS before it is used
 * again, the one that has waited longest first: a verdict that began before its socket was closed
 * has long ended by then. Each use has a generation of its own, so that an event about an earlier
 * one is known as such.
 */
#ifndef SHUNT_SLOTS_H
#define SHUNT_SLOTS_H

#include <stdint.h>

#include "util.h"

/* Far longer than a verdict, which runs with interrupts off, can take. */
#define SLOT_REST_NS (100 * NSEC_PER_MSEC)

struct slots {
	uint32_t n, n_free, oldest; /* free ones: queue[oldest], queue[oldest + 1], ... modulo n */
	struct free_slot {
		uint32_t index;
		uint64_t since_ns;
	} * queue;
	uint32_t *generation;
};

void slots_init(struct slots *s, uint32_t n); /* n > 0 */
void slots_free(struct slots *s);             /* takes a zeroed one, too */
/* An index below n, or -ENOSPC: none is free and rested. */
int64_t slots_take(struct slots *s, uint64_t now_ns) must_check;
void slots_give(struct slots *s, uint32_t index, uint64_t now_ns);

#endif
