/* SPDX-License-Identifier: MIT */
/*
 * Which backend a connection goes to: a const table with a row for each algorithm. A balancer looks
 * only at backends that the connection has not tried, that are below their MaxConnections and that
 * operators have not taken out, and only at usable ones unless it is told to take even those that
 * are down.
 *
 * One that has recovered and is in its slow start (backend_share) is met less often and counts as
 * more loaded, by the same share; but for source_hash, where it would send its sources to and fro.
 *
 * Cost: p2c, random and round_robin do not depend on the number of backends while most are up;
 * least_conn and source_hash look at all of them.
 */
#ifndef SHUNT_BALANCER_H
#define SHUNT_BALANCER_H

#include <stdbool.h>
#include <stdint.h>

#include "app.h"

struct pick {
	const struct addr *client;
	const uint64_t *tried; /* a bit a backend; NULL: none yet */
	bool even_down;
	bool *met_full; /* set if one was passed over for its MaxConnections alone */
	uint64_t now_ns;
	uint64_t *rng;
};

struct balancer {
	const char *name;
	/* The index of a backend, or -1: none is left. */
	int (*pick)(struct app *app, const struct pick *p);
};

/* The names in the order of the table, the default first; NULL for a name that is not there. */
extern const char *const balancer_names[];
extern const size_t n_balancers;
const struct balancer *balancer_find(const char *name);

/* What the app's balancer needs to know of the weights; once, after app_new(). The app owns it. */
void balancer_prepare(struct app *app);

#endif
