/* SPDX-License-Identifier: MIT */
/*
 * An app at run time: its conf, its backends, the balancer that chooses between them, the engine
 * that it is bound to, and what is counted. Workers share it: what changes while they run is
 * atomic.
 *
 * A reload does not change an app: it makes a new one of the same name, a generation, which takes
 * over the backends that stay and what is counted. Whoever keeps a pointer to an app (the list of
 * the running ones, a listener, a session, a snapshot of one) holds a reference; the last one to go
 * frees it, on whichever thread. So the sessions of an old generation go on with its conf.
 */
#ifndef SHUNT_APP_H
#define SHUNT_APP_H

#include "backend.h"
#include "brevity.h"
#include "buckets.h"
#include "reason.h"
#include "waitq.h"

struct balancer;
struct engine;

/* What all generations of an app have in common. */
struct app_shared {
	_Atomic bool bypass_off; /* by an operator's word */
	_Atomic uint32_t refs;   /* generations, and who else has one */
	_Atomic uint32_t active; /* sessions that are connecting or connected */
	struct waitq queue;      /* sessions that wait for a place in the app or at a target */
	_Atomic uint64_t accepted, failovers;
	_Atomic uint64_t closed[N_CLOSE_REASONS];
	_Atomic uint64_t bytes_to_backend, bytes_to_client;
	struct buckets queue_time;    /* of each session that left the queue for a target */
	struct buckets connect_time;  /* of each connect that succeeded: connect_bounds */
	struct buckets duration;      /* of each connection that had a backend: connection_bounds */
	_Atomic uint64_t leave_by_ns; /* removed: its sessions are closed then; 0: never */
	struct brevity brevity;       /* of those that auto serves, if there is the wire */
};

struct app {
	_Atomic uint32_t refs;
	struct app_conf *conf; /* owned; nothing changes it */
	const struct balancer *balancer;
	const struct engine *engine; /* NULL: auto */
	struct app_shared *shared;
	struct backend **backends; /* by the conf's targets */
	size_t n_backends;
	uint64_t *wheel;    /* balancer: cumulative weights */
	uint32_t *schedule; /* balancer: round robin's order of turns */
	size_t n_schedule;
	_Atomic uint32_t cursor;      /* balancer: the next turn */
	_Atomic uint32_t source_turn; /* the source address that is next */
};

/*
 * A new app, or the next generation of `before`. Takes what *conf owns and empties it; what
 * balancer and engine point to must outlive it. The caller has the first reference.
 */
struct app *app_new(struct app_conf *conf, const struct balancer *balancer,
		    const struct engine *engine, const struct app *before) must_check;
struct app *app_get(struct app *app); /* one more reference */
void app_put(struct app *app);        /* one less; takes NULL */

/* Sessions on backends of `before` that its next generation does not have are closed at that time
 * (0: never). */
void app_replaced(const struct app *before, const struct app *after, uint64_t leave_by_ns);
/* The same for all sessions of an app that has no next generation. */
void app_removed(const struct app *app, uint64_t leave_by_ns);

/* References to what generations have in common, as those have them. */
struct app_shared *app_shared_get(struct app_shared *s);
void app_shared_put(struct app_shared *s);
/* Adds one's counters, but not what is told by app alone: active, queue, histograms. */
void app_shared_add(struct app_shared *sum, const struct app_shared *s);

/* References to apps. */
struct app_list {
	struct app **list;
	size_t n;
};

struct app_list app_list_copy(const struct app_list *l) must_check; /* with references of its own */
void app_list_add(struct app_list *l, struct app *app); /* with a reference of its own */
/* Gives all references back, and empties the list; takes a zeroed one, too. */
void app_list_free(struct app_list *l);

#endif
