/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets: for each app, address and port one a worker, all of one SO_REUSEPORT
 * group, so that the kernel spreads connections over the workers. And the division of the open
 * files, which these sockets begin.
 */
#ifndef SHUNT_PORTS_H
#define SHUNT_PORTS_H

#include "app.h"
#include "workers.h"

struct ports {
	char (*texts)[ADDR_TEXT_MAX]; /* "0.0.0.0:5001": one for each app, address and port */
	size_t n;                     /* of those */
};

/* Listening sockets that each worker needs for this config. */
size_t ports_count(const struct config *c);

/*
 * Divides the open files between `listeners` sockets for each of n workers, pipes, and sessions. 0
 * with *pipes_per_worker and *fds set, or -EMFILE, logged, when there are too few to begin with.
 */
int ports_plan_fds(size_t listeners, size_t n_workers, size_t *pipes_per_worker,
		   struct fd_budget *fds) must_check;

/* Opens all; tries each, so that everything that can't be opened is said at once. 0 or -errno,
 * logged. */
int ports_open(struct ports *ports, struct app *apps, size_t n_apps, struct workers *ws) must_check;
void ports_free(struct ports *ports); /* after the workers: their listeners refer to the texts */

#endif
