/* SPDX-License-Identifier: MIT */
/*
 * A backend at run time: one target of an app, the unit that balancers choose and operators name.
 * Its endpoints are the addresses that its name resolves to; health belongs to the endpoint, load
 * and what an operator has ordered to the backend. It is shared, by references, by all generations
 * of the app that have this target (app.h), so a reload changes none of them; the weight, which may
 * change, is in the app's conf.
 *
 * Threads: workers read and mark; all that changes is atomic. The set of endpoints is immutable but
 * for its health words, and is replaced as a whole by the main thread, which frees the old one when
 * every worker has gone through a turn of its loop (workers_retire).
 */
#ifndef SHUNT_BACKEND_H
#define SHUNT_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "config.h"

/* An endpoint that failed is left alone for so long, doubling with each failure in a row. */
#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000

#define ENDPOINTS_MAX 64 /* of one backend: a walk remembers them as bits */

struct endpoint {
	struct addr addr;
	_Atomic uint32_t failures; /* in a row */
	_Atomic uint64_t
		down_until_ns;     /* 0: up. Past: down, and the next connection is its trial */
	_Atomic uint64_t since_ns; /* when it came up or went down, or became known */
};

struct endpoint_set {
	size_t n; /* 1 to ENDPOINTS_MAX */
	struct endpoint endpoint[];
};

/* What an operator has ordered. */
enum backend_order {
	BACKEND_ENABLED,
	BACKEND_DRAINED,  /* no new connections */
	BACKEND_DISABLED, /* and those that there were are closed */
	N_BACKEND_ORDERS
};

struct backend {
	_Atomic uint32_t refs;
	_Atomic uint32_t order; /* enum backend_order */
	char *text;             /* as the config has it */
	struct host_port at;
	bool is_literal;
	_Atomic(struct endpoint_set *) set; /* NULL: the name has not been resolved */
	_Atomic uint32_t rotation;          /* where the next walk over the endpoints starts */
	_Atomic uint32_t active;            /* sessions that are connecting or connected */
	_Atomic uint64_t connects, failures;
	_Atomic uint64_t bytes_to_backend, bytes_to_client;
	_Atomic uint64_t leave_by_ns; /* removed: its sessions are closed then; 0: never */
};

/* A backend whose conf is a literal address has its endpoint at once. The caller has the first
 * reference. */
struct backend *backend_new(const struct target_conf *conf) must_check;
struct backend *backend_get(struct backend *b); /* one more reference */
void backend_put(struct backend *b);            /* one less: the last one frees it */

/*
 * A new set of 1 to ENDPOINTS_MAX addresses (port 0: the target's port is filled in), which keeps
 * the health of those that stay. Returns the old set for the caller to free when no worker can look
 * at it any more, or NULL.
 */
struct endpoint_set *backend_set_addresses(struct backend *b, const struct addr *addrs, size_t n);

/* Has it an endpoint that is up, or down with its trial due? */
bool backend_usable(const struct backend *b, uint64_t now_ns);
bool backend_resolved(const struct backend *b);
/* Endpoints that are not marked down. On the main thread, which is the one that frees sets. */
size_t backend_endpoints_up(const struct backend *b);

/* May it get new connections, as far as operators are concerned? */
static inline bool backend_enabled(const struct backend *b)
{
	return atomic_load_explicit(&b->order, memory_order_relaxed) == BACKEND_ENABLED;
}

extern const char *const backend_order_names[N_BACKEND_ORDERS]; /* "enabled", "drained", ... */
/* Returns the order before. */
enum backend_order backend_set_order(struct backend *b, enum backend_order order);

/*
 * A walk over a backend's endpoints, starting at each in turn: none is visited twice. Those that
 * are marked down are passed over and remain, to be had with even_down. A trial is claimed for
 * trial_ns: meanwhile others see it as down.
 */
struct endpoint_walk {
	uint32_t start;
	uint64_t visited; /* a bit an endpoint of the set, in the order of the walk */
};

struct endpoint_choice {
	struct addr addr;
	bool is_trial;
};

void backend_walk_begin(struct backend *b, struct endpoint_walk *w);
/* False: no (further) endpoint. */
bool backend_walk_next(struct backend *b, struct endpoint_walk *w, bool even_down, uint64_t now_ns,
		       uint64_t trial_ns, struct endpoint_choice *out);

/*
 * How a connect went. Both return whether the endpoint's state changed (it went down, it came up),
 * for the caller to tell the operator. A failure counts only if it is news: an endpoint that is
 * down already, and not on trial, is not pushed further down by the many that met it at the same
 * time. jitter: any random number.
 */
bool backend_report_failure(struct backend *b, const struct endpoint_choice *c, uint64_t now_ns,
			    uint32_t jitter);
bool backend_report_success(struct backend *b, const struct endpoint_choice *c);

#endif
