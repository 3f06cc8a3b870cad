/* SPDX-License-Identifier: MIT */
/*
 * Waits for RCU grace periods on behalf of threads that may not wait: when one that began after the
 * question has passed, no packet is in the kernel's hands any more that was let through before the
 * question. One thread serves all; questions that come while it waits share the next period.
 * (membarrier(2), MEMBARRIER_CMD_GLOBAL: some ten milliseconds.)
 */
#ifndef SHUNT_SETTLER_H
#define SHUNT_SETTLER_H

#include "loop.h"

struct settler;
struct settler_desk;

/* A question; whoever asks embeds it, and keeps it until done() is called on its own thread. */
struct settling {
	struct list link;
	struct settler_desk *desk;
	void (*done)(struct settling *s);
};

/* The asking thread's side. */
struct settler_desk {
	struct settler *settler;
	struct loop *loop;
	struct watch answered; /* an eventfd */
	struct list answers;   /* under the settler's lock */
};

/* 0 or -errno (ENOSYS: the kernel has no membarrier). */
int settler_open(struct settler **out) must_check;
/* When no desk is left; takes NULL. */
void settler_close(struct settler *s);

/* For `loop`, on its thread or before it runs. 0 or -errno; settler_desk_close() takes it in either
 * case. What is still asked then is not answered any more. */
int settler_desk_open(struct settler_desk *d, struct settler *s, struct loop *loop) must_check;
void settler_desk_close(struct settler_desk *d); /* takes a zeroed one, too */

void settler_ask(struct settler_desk *d, struct settling *q);

#endif
