/* SPDX-License-Identifier: MIT */
/*
 * Keeps the backends' endpoints as their names resolve: each host name of all apps is watched once,
 * however many targets have it, and every change goes to all of these.
 */
#ifndef SHUNT_NAMES_H
#define SHUNT_NAMES_H

#include "app.h"
#include "loop.h"

struct names;

struct names_callbacks {
	/* An old set of endpoints: to be freed when no worker can look at it any more. Never NULL. */
	void (*retire)(void *arg, struct endpoint_set *set);
	/* A name had an outcome, good or bad: names_pending() may have become 0. */
	void (*on_outcome)(void *arg);
	void *arg;
};

/* 0 with *out for names_free(), or -errno. The apps must outlive it. */
int names_new(struct loop *loop, struct app *apps, size_t n_apps, const struct names_callbacks *cb,
	      struct names **out) must_check;
void names_free(struct names *n); /* takes NULL */

/* Names without a first outcome yet. */
size_t names_pending(const struct names *n);

#endif
