/* SPDX-License-Identifier: MIT */
/*
 * Has the flows closed of backends that have gone down (OnDown) or were disabled. Whoever finds out
 * marks the backend and rings; the main thread then sends each worker a message, on which it looks
 * at its sessions (session_cut). Rings in short order are answered by one look, for a lost network
 * takes thousands of backends down at once.
 */
#ifndef SHUNT_CUTTER_H
#define SHUNT_CUTTER_H

#include "apps.h"
#include "wiring.h"
#include "workers.h"

struct cutter {
	struct loop *loop;
	struct workers *workers;
	const struct apps *apps;
	struct wiring *wiring; /* NULL: no flow of a daemon before can be there */
	struct watch bell;     /* an eventfd */
	struct timer look;
};

/* 0 or -errno; cutter_close() takes it in either case, and a zeroed one. */
int cutter_open(struct cutter *c, struct loop *loop, struct workers *workers,
		const struct apps *apps) must_check;
void cutter_close(struct cutter *c);

/* On the main thread; from others: write to the bell, an eventfd. */
void cutter_ring(struct cutter *c);

#endif
