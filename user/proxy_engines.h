/* SPDX-License-Identifier: MIT */
/*
 * The engines of the daemon that take more than a call: each is tried and started before the
 * workers are, if an app may use it, and handed to them; the local bypass also later, when a reload
 * turns it on. One that can't be had is no error: its flows are on the others, and the log says
 * why. On the main thread.
 */
#ifndef SHUNT_PROXY_ENGINES_H
#define SHUNT_PROXY_ENGINES_H

#include "apps.h"
#include "bypassing.h"
#include "engine.h"
#include "wiring.h"
#include "workers.h"

struct proxy_engines {
	struct sockmap *sockmap; /* NULL: the engine is off */
	struct wiring *wiring;   /* NULL: the wire is off */
	struct bypassing *bypassing;
	bool bypass_tried; /* to start it, for the apps that want it now */
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
/* These are the apps; again when they or their targets' addresses change. Starts the local bypass
 * if an app is the first to want it. */
void proxy_engines_follow(struct proxy_engines *e, const struct app_list *apps);
/* Does it work in this daemon? One that is only a call always does. */
bool proxy_engines_run(const struct proxy_engines *e, const struct engine *engine);
/* When no worker runs any more; with `leave`, flows on the wire go on without a daemon. */
void proxy_engines_close(struct proxy_engines *e, bool leave);

#endif
