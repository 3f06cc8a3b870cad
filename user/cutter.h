/* SPDX-License-Identifier: MIT */
/*
 * Has the flows closed of backends that an operator has disabled: the main thread sends each worker
 * a message, on which it looks at its sessions (session_cut). Rings in short order are answered by
 * one look.
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
	struct timer look;
};

void cutter_init(struct cutter *c, struct loop *loop, struct workers *workers,
		 const struct apps *apps);
void cutter_stop(struct cutter *c);

void cutter_ring(struct cutter *c);

#endif
