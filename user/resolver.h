/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses, by c-ares, on the main thread's loop and so off the data path. Each watched
 * name is looked up at once (IPv4 and IPv6), again when its TTL has passed, and after a failure
 * again with a growing pause. A failure keeps the last good answer: on_change() is called only when
 * the set of addresses changed.
 *
 * What is a failure: no name server answers or is able to, or the answer is that there is no such
 * name, or that it has no address at all. The last two may be true, but then nothing should have
 * the name for a target any more, and until that is so the addresses are the best that is known.
 * Of a name that has addresses of one family, the other family's may be failing by themselves: they
 * are kept likewise, until it is known that there are none.
 */
#ifndef SHUNT_RESOLVER_H
#define SHUNT_RESOLVER_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "loop.h"

#define RESOLVER_TTL_MIN_MS 1000    /* a TTL of 0 is not an order to ask all the time */
#define RESOLVER_TTL_HOSTS_MS 10000 /* for answers without a TTL: /etc/hosts */
#define RESOLVER_TTL_MAX_MS 3600000
#define RESOLVER_RETRY_MIN_MS 1000 /* after a failure, doubling to */
#define RESOLVER_RETRY_MAX_MS 30000
#define RESOLVER_ADDRS_MAX 64 /* of one name; more are left out */

struct resolver; /* one per daemon */

/* What came of a lookup, of both families together. */
enum resolver_outcome {
	RESOLVER_ANSWERED,
	RESOLVER_HALF_FAILED, /* one family's part of it, for whatever reason */
	RESOLVER_NO_SUCH_NAME,
	RESOLVER_NO_ADDRESS,
	RESOLVER_TIMEOUT,
	RESOLVER_SERVER_FAILED, /* or refused, or is not there */
	RESOLVER_OTHER_FAILURE,
	N_RESOLVER_OUTCOMES
};

extern const char *const resolver_outcome_names[N_RESOLVER_OUTCOMES]; /* "answered", ... */

struct resolver_failure {
	unsigned int in_a_row; /* 0: the last lookup was answered, or there was none */
	int family;            /* whose part failed; AF_UNSPEC: all of it */
	bool is_news;          /* not the same part as with the lookup before */
	const char *why;       /* a constant phrase */
};

/* "IPv4", "IPv6", or "" of AF_UNSPEC. */
const char *resolver_family_name(int family);

/* What is looked up: embedded by whoever wants the addresses, filled in before resolver_watch(). */
struct resolver_name {
	const char *host; /* owned by the caller, valid as long as it is watched */
	/* A new set: `n` > 0 addresses, port 0, sorted, no doubles. Called on the loop's thread. */
	void (*on_change)(struct resolver_name *name, const struct addr *addrs, size_t n);
	/* A lookup failed. May be NULL. */
	void (*on_failure)(struct resolver_name *name, const struct resolver_failure *failure);
	/* After so many failures one was answered, and the set is what it was. May be NULL. */
	void (*on_recovery)(struct resolver_name *name, unsigned int failures);
	struct resolver_query *query; /* the resolver's own; NULL when not watched */
};

/* 0 with *out to be given to resolver_free(), or -errno. */
int resolver_new(struct loop *loop, struct resolver **out) must_check;
/* Takes NULL; cancels what is under way without calling back. Not from within a callback. */
void resolver_free(struct resolver *r);

/*
 * 0 or -ENOMEM. A literal is answered before this returns, and once for all; a name from within the
 * loop. Both of these may be called from within a callback.
 */
int resolver_watch(struct resolver *r, struct resolver_name *name) must_check;
void resolver_unwatch(struct resolver *r, struct resolver_name *name);

/* The last good answer: how many addresses there are, and where; 0: none yet. */
size_t resolver_addrs(const struct resolver_name *name, const struct addr **addrs);

/* The last lookup, if it failed; .in_a_row is 0 if not, or if the name is not watched. */
struct resolver_failure resolver_failure(const struct resolver_name *name);
/* When the oldest of the addresses were answered, by clock_ns(); 0: there are none. */
uint64_t resolver_answered_ns(const struct resolver_name *name);

/* All lookups that have ended, N_RESOLVER_OUTCOMES counters. */
const uint64_t *resolver_lookups(const struct resolver *r);

/* How many watched names have not had their first outcome, good or bad. */
size_t resolver_pending(const struct resolver *r);

#endif
