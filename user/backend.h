/* SPDX-License-Identifier: MIT */
/*
 * A backend at run time: one target of an app, the unit that balancers choose and operators name.
 * Its endpoints are the addresses that its name resolves to; health belongs to the endpoint, load
 * and what an operator has ordered to the backend. It is shared, by references, by all generations
 * of the app that have this target (app.h), so a reload changes none of them; the weight, which may
 * change, is in the app's conf.
 *
 * Two judge an endpoint, and it is up while neither has it down: connects of sessions (a mark with
 * a back-off, here) and active checks (backend_check.h).
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
#include "reason.h"

/* An endpoint that failed is left alone for so long, doubling with each failure in a row. */
#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000

#define ENDPOINTS_MAX 64 /* of one backend: a walk remembers them as bits */

/* What became of an active check; the names are in logs and metrics. */
enum check_result {
	CHECK_PASSED,
	CHECK_REFUSED,
	CHECK_TIMEOUT,
	CHECK_UNREACHABLE,
	CHECK_RESET,
	CHECK_CLOSED,   /* before it had answered */
	CHECK_MISMATCH, /* the answer is not what was expected */
	N_CHECK_RESULTS
};

enum check_state {
	CHECK_STATE_UNKNOWN, /* not checked (yet): nothing against it */
	CHECK_STATE_UP,
	CHECK_STATE_DOWN,
};

/* What active checks know of an endpoint. All but the state is the main thread's. */
struct endpoint_check {
	_Atomic uint32_t state; /* enum check_state */
	uint32_t streak;        /* results in a row that speak against the state */
	enum check_result result;
	uint64_t latency_ns, at_ns; /* of the last one, which ended then; at_ns 0: there was none */
	uint64_t result_since_ns;   /* the first one in a row with this result */
};

struct endpoint {
	struct addr addr;
	struct endpoint_check check;
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

struct health_target;

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
	_Atomic uint64_t leave_by_ns;  /* removed: its sessions are closed then; 0: never */
	_Atomic uint64_t cut_ns;       /* sessions that were connected before are closed; 0: none */
	_Atomic uint64_t recovered_ns; /* when it was last taken into service again; 0: never */
	uint32_t set_version;          /* the main thread's: how often the set was replaced */
	struct health_target *checked; /* likewise: who checks it; NULL: nobody */
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

/* Has it an endpoint that is up, or marked down with its trial due? */
bool backend_usable(const struct backend *b, uint64_t now_ns);
bool backend_resolved(const struct backend *b);
/* Endpoints that neither connects nor checks have found down. */
size_t backend_endpoints_up(const struct backend *b);

/* Its endpoint of this address, or NULL; for as long as the caller may look at a set. */
struct endpoint *backend_find(const struct backend *b, const struct addr *addr);
bool endpoint_up(const struct endpoint *e);
/* To be called when the endpoint is up again; if no other one was, the backend has recovered. */
void backend_endpoint_is_back(struct backend *b, struct endpoint *e, uint64_t now_ns);

/* May it get new connections, as far as operators are concerned? */
static inline bool backend_enabled(const struct backend *b)
{
	return atomic_load_explicit(&b->order, memory_order_relaxed) == BACKEND_ENABLED;
}

extern const char *const backend_order_names[N_BACKEND_ORDERS]; /* "enabled", "drained", ... */
/* Returns the order before. From disabled or drained to enabled it counts as recovered. */
enum backend_order backend_set_order(struct backend *b, enum backend_order order, uint64_t now_ns);

/*
 * How much of its weight counts, in thousandths: after a recovery it grows linearly from a tenth to
 * all of it in slow_start_ms (0: it has all of it at once).
 */
#define SHARE_WHOLE 1000
#define SHARE_AT_RECOVERY 100
uint32_t backend_share(const struct backend *b, uint32_t slow_start_ms, uint64_t now_ns);

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

/*
 * Why a connection to it is to be closed, that has been there since then (0: it is connecting
 * still); N_CLOSE_REASONS: it may go on.
 */
enum close_reason backend_why_cut(const struct backend *b, uint64_t since_ns);

#endif
