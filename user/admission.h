/* SPDX-License-Identifier: MIT */
/*
 * What all connections of the daemon together are bounded by: MaxConnections of the top level,
 * which counts those that are accepted and not closed, and the table of where they come from. At
 * the limit accepting pauses, and clients wait in the kernel's queues; who has paused waits in
 * `queue` to be called. (The limits of apps and targets are counted in app.h and backend.h.)
 */
#ifndef SHUNT_ADMISSION_H
#define SHUNT_ADMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "waitq.h"

struct admission {
	_Atomic uint32_t max_connections; /* 0: no limit */
	_Atomic uint32_t connections;
	struct waitq queue;
	struct sources *sources;
};

void admission_init(struct admission *a, uint32_t max_connections);
void admission_destroy(struct admission *a);

/* From any thread. A higher limit lets those go on that wait; a lower one closes nobody. */
void admission_change(struct admission *a, uint32_t max_connections);

/* A place for one more connection. False: there is none. */
bool admission_take(struct admission *a) must_check;
void admission_give(struct admission *a);

/* How many more there may be; UINT32_MAX: no limit. */
uint32_t admission_left(const struct admission *a);

#endif
