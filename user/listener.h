/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets of one worker. Each is edge-triggered and emptied at each edge, so that
 * when there are no fds left accept can simply pause: the connections wait in the kernel's queue,
 * nothing spins, and the listeners that owe an accept are remembered and resumed when a session has
 * given its fds back, or after LISTENER_RETRY_MS (the fds may have come back elsewhere). At the
 * daemon's MaxConnections it is the same, but for one thing: there is a queue, of sets, from which
 * the first is called when a connection has ended, on whichever worker.
 *
 * TCP spreads connections over the workers' sockets of one SO_REUSEPORT group. A unix socket there
 * is one only, which the workers have duplicates of: an edge wakes one of those that wait
 * (EPOLLEXCLUSIVE), so an idle worker takes what a busy one has no time for.
 *
 * A listener is made anywhere, and from listener_open() on belongs to its worker's thread. It holds
 * a reference to the app that its connections are for, which a reload may change under it.
 */
#ifndef SHUNT_LISTENER_H
#define SHUNT_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include "session.h"

#define LISTENER_RETRY_MS 100
#define LISTENER_WARNING_MS 10000
/* Connections taken from one listener before other events have their turn. */
#define LISTENER_BATCH 64

struct listener_set;

struct listener {
	struct watch watch;
	struct work more; /* the batch was full: go on in the next turn */
	struct list paused;
	struct list link; /* in its set */
	struct listener_set *set;
	struct app *app;
	struct fd_budget *fds;
	struct addr at;
	int fd;
	uint32_t keepalive_ms; /* that the socket is set to */
	uint32_t backlog;      /* likewise, once it listens */
};

struct listener_set {
	struct session_ctx *ctx;
	struct list listeners;
	struct list paused;
	struct timer retry;
	struct work resume;
	struct waiter waiter; /* for a place below MaxConnections */
	bool has_turn;        /* called */
	uint64_t accepted;    /* so far */
	uint64_t next_warning_ns;
};

/*
 * Of a socket that is bound to `at` (a path of which the app's conf keeps), with this keepalive
 * time, and which it owns from then on; its open file has been taken from the budget, where it goes
 * back to in the end.
 */
struct listener *listener_new(int fd, const struct addr *at, uint32_t keepalive_ms,
			      struct fd_budget *fds) must_check;
/* From now on clients may connect, up to `backlog` of them before they are accepted. 0 or -errno. */
int listener_listen(struct listener *l, uint32_t backlog) must_check;
/* Begins to accept for `app`; the socket listens. 0 or -errno: then it is still to be closed. */
int listener_open(struct listener *l, struct listener_set *set, struct app *app) must_check;
/* Connections that have not been accepted yet, and all to come, are for this app. at: the same
 * address, of that app's. */
void listener_change_app(struct listener *l, struct app *app, const struct addr *at);
/* Takes what is in the queue: their handshake is done, for the client they are connected, and
 * closing would reset them. */
void listener_empty(struct listener *l);
/* Closes the socket and frees the listener, open or not. */
void listener_close(struct listener *l);

void listener_set_init(struct listener_set *set, struct session_ctx *ctx);
/* A session has ended: resumes what waits for fds, in the next turn. */
void listener_set_fds_came_back(struct listener_set *set);
/* Takes what is in the queues, then closes the listeners. Sessions go on. */
void listener_set_close(struct listener_set *set);
/* Closes whatever is open, when the worker's thread has ended. */
void listener_set_free(struct listener_set *set);

#endif
