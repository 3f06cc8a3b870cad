/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses, by c-ares, on the main thread's loop and so off the data path. Each watched
 * name is looked up at once (IPv4 and IPv6), again when its TTL has passed, and after a failure
 * again with a growing pause. A failure keeps the last good answer: on_change() is called only when
 * the set of addresses changed.
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

/* What is looked up: embedded by whoever wants the addresses, filled in before resolver_watch(). */
struct resolver_name {
	const char *host; /* owned by the caller, valid as long as it is watched */
	/* A new set: `n` > 0 addresses, port 0, sorted, no doubles. Called on the loop's thread. */
	void (*on_change)(struct resolver_name *name, const struct addr *addrs, size_t n);
	/* A lookup failed, the `failures`th in a row: why as a constant phrase. May be NULL. */
	void (*on_failure)(struct resolver_name *name, const char *why, unsigned int failures);
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

/* How many watched names have not had their first outcome, good or bad. */
size_t resolver_pending(const struct resolver *r);

#endif
