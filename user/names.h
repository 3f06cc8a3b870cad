/* SPDX-License-Identifier: MIT */
/*
 * Keeps the backends' endpoints as their names resolve: each host name of all apps is watched once,
 * however many targets have it, and every change goes to all of these.
 *
 * A reload first wants the names of the new apps, while the old ones run, and then uses them: what
 * is new has been looked up by then, and names that stay keep what they have.
 */
#ifndef SHUNT_NAMES_H
#define SHUNT_NAMES_H

#include "app.h"
#include "loop.h"
#include "resolver.h"

struct names;

struct names_callbacks {
	/* An old set of endpoints: to be freed when no worker can look at it any more. Never NULL. */
	void (*retire)(void *arg, struct endpoint_set *set);
	/* A name had an outcome, good or bad: names_pending() may have become 0. */
	void (*on_outcome)(void *arg);
	void *arg;
};

struct names *names_new(struct loop *loop, const struct names_callbacks *cb) must_check;
void names_free(struct names *n); /* takes NULL */

/* Begins to watch the names of these apps that are not watched yet. 0 or -errno. */
int names_want(struct names *n, const struct app_list *apps) must_check;
/* From now on answers go to these apps, whose names were wanted and who must stay until the next
 * call; names that none of them has are forgotten. Those that are known are there at once. */
void names_use(struct names *n, const struct app_list *apps);

/* Names without a first outcome yet. */
size_t names_pending(const struct names *n);

struct names_figures {
	uint64_t lookups[N_RESOLVER_OUTCOMES]; /* since the start */
	size_t names, failing;                 /* failing: its last lookup did, at least by half */
};

struct names_figures names_figures(const struct names *n); /* takes NULL */

/* How it is with a backend's name. */
struct name_state {
	struct resolver_failure failure;
	uint64_t answered_ns; /* the oldest of its addresses; 0: it has none */
};

/* False: its address is literal, or it is of an app that is gone. Takes NULL. */
bool names_state(const struct names *n, const struct backend *b, struct name_state *out);

#endif
