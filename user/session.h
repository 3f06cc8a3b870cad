/* SPDX-License-Identifier: MIT */
/*
 * A session: one client connection and the way it takes through the proxy.
 *
 *	ACCEPTED ──► CONNECTING ──► RELAYING ──► HALF_CLOSED ──► CLOSED
 *	  │ │  │     ▲  ▲  │   │        │                          ▲
 *	  │ │  ▼     │  └──┘   │        └──── error, RST, ─────────┤
 *	  │ │ QUEUED ┘ next one│                                   │
 *	  │ └─► HEADER: the same way from there                    │
 *	  └────┴───────────────┴─ limit, no backend left, time ────┘
 *
 * It belongs to one worker and is touched by its thread alone. What it holds while nothing happens
 * is this struct and two sockets: no buffer, no pipe.
 */
#ifndef SHUNT_SESSION_H
#define SHUNT_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "admission.h"
#include "app.h"
#include "engine.h"
#include "loop.h"

#define SESSION_FDS 2

/*
 * The open files that sessions may use, shared by all workers: who takes from it before accepting
 * never stands there later with a client and no fd for the backend.
 */
struct fd_budget {
	_Atomic int64_t left;
};

static inline void fd_budget_give(struct fd_budget *b, int64_t n)
{
	atomic_fetch_add(&b->left, n);
}

/* False: there are not so many, and none is taken. */
static inline bool fd_budget_take(struct fd_budget *b, int64_t n)
{
	if (atomic_fetch_sub(&b->left, n) >= n)
		return true;
	fd_budget_give(b, n);
	return false;
}

/* What the sessions of one worker share. */
struct session_ctx {
	struct loop *loop;
	struct relay_pools pools;
	struct fd_budget *fds;
	struct admission *admission;
	uint64_t rng;
	bool access_log;
	struct list sessions;
	struct list waiting; /* those of them that wait for a header or a place */
	struct waitq_desk desk;
	size_t n_sessions;
	/* Called when a session has given its fds back: somebody may be waiting for them to accept.
	 */
	void (*on_closed)(struct session_ctx *ctx);
	/* Called when a backend whose sessions are to be cut has gone down: see session_cut(). */
	void (*on_cut)(struct session_ctx *ctx);
};

enum session_state {
	SESSION_ACCEPTED,
	SESSION_HEADER, /* who the client is, its first bytes are to tell */
	SESSION_QUEUED,
	SESSION_CONNECTING,
	SESSION_RELAYING,
	SESSION_HALF_CLOSED,
	SESSION_CLOSED,
	N_SESSION_STATES
};

struct session_header;

struct session {
	struct relay relay;
	struct session_ctx *ctx;
	struct app *app;         /* a reference, which also keeps the backend */
	struct backend *backend; /* the last one picked; NULL until then */
	struct list link;
	struct list waiting_link;
	struct source *source; /* it counts there; NULL: nowhere */
	struct waiter waiter;  /* in the app's queue */
	struct timer timer;
	struct work pump, destroy;
	struct addr client;              /* its peer, or whom a PROXY header has named */
	struct addr listener;            /* where the client connected to: the listener's */
	struct endpoint_choice endpoint; /* where it is connected, or connecting, to */
	struct endpoint_walk walk;
	uint64_t *tried;               /* a bit a backend; NULL: none has failed */
	struct session_header *header; /* NULL: there is none, or it is through */
	uint64_t opened_ns, connecting_ns, connected_ns, active_ns;
	uint64_t queued_ns;     /* when it first had to wait; 0: it did not */
	uint64_t waited_ns;     /* since then, when it stopped waiting */
	uint64_t look_at_ns;    /* waits as the first one: when it looks by itself; 0: not */
	uint64_t pump_at_ns;    /* no edge will tell that it can go on; 0: an edge will */
	uint64_t keepalive_ns;  /* when the backend's socket gets KeepAlive; 0: has it, or never */
	uint64_t seen_moved;    /* relay.moved when activity was last looked at */
	uint64_t counted[2];    /* of each direction's bytes, what its backend's counters have */
	uint32_t attempts;      /* backends tried */
	uint32_t picked;        /* the backend's number in the app */
	int connect_error;      /* of the last attempt that failed: a positive errno, or 0 */
	bool counts_in_app;     /* in app->shared->active */
	bool counts_at_backend; /* in backend->active */
	bool ack_waits;         /* of the handshake with the backend: see net_set_quick_ack() */
	enum session_state state;
};

/*
 * Takes over an accepted connection, for which the caller has taken SESSION_FDS from ctx->fds and a
 * place from ctx->admission.
 * Whatever becomes of it, the fd is the session's from now on.
 */
void session_open(struct session_ctx *ctx, struct app *app, int fd, const struct addr *client,
		  const struct addr *listener);

/* What has been taken for a session goes back: it ends, or there was nobody to accept. */
void session_give_back(struct session_ctx *ctx);

/* Brings its activity, and its backend's counters, up to date with what has been relayed. */
void session_count_bytes(struct session *s);

/* Ends it; everything it holds is given back, the struct itself at the end of the loop's turn. */
void session_close(struct session *s, enum close_reason reason);

/* Goes on to the next backend, if it is not connected yet; else ends for this reason. */
void session_leave_backend(struct session *s, enum close_reason reason);

/* For wire_share_open(): who the relay's session is. */
struct wire_flow;
void session_describe(const struct relay *r, struct wire_flow *flow);

/* For session_ctx.pools.wake: pumps the relay's session in the next turn. */
void session_wake(struct relay *r);

#endif
