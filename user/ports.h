/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets: for each app, address and port one a worker, all of one SO_REUSEPORT
 * group, so that the kernel spreads connections over the workers; for each unix socket as many
 * duplicates of it. And the division of the open files, which these sockets begin.
 *
 * They change in two steps. A plan opens what is missing, or fails and leaves all as it was. Its
 * commit, which can't fail, hands them to the workers: a port that stays keeps its sockets and
 * their queues, also when it is another app's from then on.
 */
#ifndef SHUNT_PORTS_H
#define SHUNT_PORTS_H

#include "app.h"
#include "unix_socket.h"
#include "workers.h"

struct port {
	struct addr at;
	struct app *app;             /* running, which is what keeps it */
	struct listener **listeners; /* by worker, whose they are; NULL: it could not watch it */
	struct unix_socket *place;   /* of a unix socket; its fd is the first listener's */
};

struct ports {
	struct port *list; /* by address and port, or by path */
	size_t n;
};

/* Listening sockets that each worker needs for this config. */
size_t ports_count(const struct config *c);

/*
 * Divides the open files between `listeners` sockets for each of n workers, pipes, and sessions. 0
 * with *pipes_per_worker and *fds set, or -EMFILE, logged, when there are too few to begin with.
 * The sockets' share is in *fds, for plans to take.
 */
int ports_plan_fds(size_t listeners, size_t n_workers, size_t *pipes_per_worker,
		   struct fd_budget *fds) must_check;

struct ports_plan;

/* What a plan needs. complain() is told why a port can't be opened, and what to do. */
struct ports_context {
	struct workers *workers;
	struct fd_budget *fds;
	void (*complain)(void *arg, const char *text);
	void *arg;
};

/*
 * How to get from `now` to the ports of these apps. Tries all that is missing, so that everything
 * that can't be opened is said at once. 0 with *out for one of the other two, or -errno.
 */
int ports_plan(const struct ports *now, const struct app_list *apps,
	       const struct ports_context *context, struct ports_plan **out) must_check;
void ports_abandon(struct ports_plan *plan);
/*
 * done() is called when every worker has done its part, on the thread of the last one: connections
 * go to the new apps, and what was queued at ports that are gone has been accepted.
 */
void ports_commit(struct ports *ports, struct ports_plan *plan, void (*done)(void *arg), void *arg);
/* Removes unix sockets from their places: nobody new finds them, and another daemon may have those.
 */
void ports_hide(const struct ports *ports);
void ports_free(struct ports *ports); /* after the workers; takes a zeroed one, too */

#endif
