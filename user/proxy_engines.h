/* SPDX-License-Identifier: MIT */
/*
 * The engines of the daemon that take more than a call: each is tried and started before the
 * workers are, if an app may use it, and handed to them. One that can't be had is no error: its
 * flows are on the others, and the log says why. On the main thread.
 */
#ifndef SHUNT_PROXY_ENGINES_H
#define SHUNT_PROXY_ENGINES_H

#include "apps.h"
#include "bypassing.h"
#include "engine.h"
#include "wiring.h"
#include "workers.h"

struct proxy_engines {
	struct sockmap *sockmap;     /* NULL: the engine is off */
	struct wiring *wiring;       /* NULL: the wire is off */
	struct bypassing *bypassing; /* NULL: the local bypass is off */
};

struct proxy_engines_context {
	const struct config *config;
	const struct app_list *apps;
	struct loop *loop;
	struct workers *workers; /* not started yet */
	/* The last adopted flow has gone; may be called once the loop runs. */
	void (*on_adopted_gone)(void *arg);
	void *arg;
};

/* Says of each engine whether this kernel has it. 0, or -errno if an app insists on one that it has
 * not: complain() has been told. */
int proxy_engines_probe(const struct app_list *apps, void (*complain)(void *arg, const char *text),
			void *arg) must_check;

/* *e is zeroed. */
void proxy_engines_start(struct proxy_engines *e, const struct proxy_engines_context *context);
/* Does it work in this daemon? One that is only a call always does. */
bool proxy_engines_run(const struct proxy_engines *e, const struct engine *engine);
/* When no worker runs any more; with `leave`, flows on the wire go on without a daemon. */
void proxy_engines_close(struct proxy_engines *e, bool leave);

#endif
