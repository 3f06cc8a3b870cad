/* SPDX-License-Identifier: MIT */
/*
 * What can be told of a live session: plain values, taken on its worker's thread, to be read on any
 * other. No pointer to a session leaves its worker; a snapshot holds a reference to the app, which
 * also keeps the backend.
 */
#ifndef SHUNT_SESSION_SNAPSHOT_H
#define SHUNT_SESSION_SNAPSHOT_H

#include "session.h"

struct direction_snapshot {
	const struct engine *engine;
	enum engine_reason reason;
	uint64_t bytes;   /* written to the destination */
	uint64_t backlog; /* read from the source and not written yet */
};

struct session_snapshot {
	struct app *app;                       /* a reference */
	const struct backend *backend;         /* NULL: none has been picked */
	struct addr client, listener, address; /* address: AF_UNSPEC while there is no backend */
	enum session_state state;
	uint64_t age_ns, idle_ns;
	struct direction_snapshot dir[2]; /* by the side that they read from */
};

struct session_snapshots {
	struct session_snapshot *list;
	size_t n;
};

extern const char *const session_state_names[N_SESSION_STATES];

/*
 * Takes all sessions of a worker, on its thread, and brings the backends' byte counters up to date.
 * 0 with *out to be freed by session_snapshots_free(), or -ENOMEM.
 */
int session_snapshots_take(struct session_ctx *ctx, struct session_snapshots *out) must_check;
void session_snapshots_free(struct session_snapshots *s); /* takes a zeroed one, too */

#endif
