/* SPDX-License-Identifier: MIT */
/*
 * Does it pay to hand a flow of small messages to the kernel on this host? What it saves is the
 * daemon's time, and a wake-up; what it costs is a kernel thread's time for each message, where the
 * daemon serves many messages a turn. Which of them is dearer depends on the host and on how much
 * is going on, so both are measured: round trips of one connection alone, and of a crowd.
 */
#ifndef SHUNT_PROBE_COST_H
#define SHUNT_PROBE_COST_H

#include <stdbool.h>

#include "sockmap.h"
#include "util.h"

/* sockmap must be faster by so much: less is noise, and a choice that changes at each start. */
#define PROBE_PAYS_PERCENT 10

/* Connections at once. */
#define PROBE_COST_CROWD 16

/* A round trip: the median of some batches. */
struct probe_cost_pair {
	uint64_t copy_ns, sockmap_ns;
};

struct probe_cost {
	struct probe_cost_pair alone;
	struct probe_cost_pair crowd; /* zeros: not measured, since one alone is not faster */
	bool pays;
};

/* Takes up to 100 ms. 0, or -errno: it could not be measured. */
int probe_cost_measure(struct sockmap *map, struct probe_cost *out) must_check;

#endif
