/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets of one worker. Each is edge-triggered and emptied at each edge, so that
 * when there are no fds left accept can simply pause: the connections wait in the kernel's queue,
 * nothing spins, and the listeners that owe an accept are remembered and resumed when a session has
 * given its fds back, or after LISTENER_RETRY_MS (the fds may have come back elsewhere).
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
	struct listener_set *set;
	struct app *app;
	const char *text; /* "0.0.0.0:5001"; owned by the caller */
};

struct listener_set {
	struct session_ctx *ctx;
	struct listener *listeners;
	size_t n;
	struct list paused;
	struct timer retry;
	struct work resume;
	uint64_t next_warning_ns;
};

void listener_set_init(struct listener_set *set, struct session_ctx *ctx, size_t max);
/* Adds a socket that listens already, and owns it from then on; `set` has room. 0 or -errno. */
int listener_set_add(struct listener_set *set, int fd, struct app *app,
		     const char *text) must_check;
/* A session has ended: resumes what waits for fds, in the next turn. */
void listener_set_fds_came_back(struct listener_set *set);
/* Takes what is in the queues, then closes the listeners. Sessions go on. */
void listener_set_close(struct listener_set *set);
/* Closes whatever is open and frees the set; takes a zeroed one, too. */
void listener_set_free(struct listener_set *set);

#endif
