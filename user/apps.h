/* SPDX-License-Identifier: MIT */
/*
 * The daemon's apps, on the main thread: those that run, made from a config, and those that a
 * reload has removed while connections of theirs were still there.
 */
#ifndef SHUNT_APPS_H
#define SHUNT_APPS_H

#include "app.h"
#include "config_diff.h"

struct apps {
	struct app_list running; /* in the order of the config */
	struct app_list leaving; /* removed, but somebody has a reference */
	struct app_shared gone;  /* the sums of those that have left: totals never go back */
};

/*
 * The apps of a config, which are taken out of it. With `match` (by config_diff(), against those
 * that run) what has not changed is the same app, and what has changed its next generation; NULL:
 * all are new. The list is the caller's.
 */
struct app_list apps_make(struct config *c, const struct app_list *running,
			  const struct config_match *match) must_check;

/*
 * Lets another list run, and takes it. Sessions of what is not in it, apps and targets, are closed
 * at leave_by_ns (0: never).
 */
void apps_switch(struct apps *a, struct app_list *next, const struct config_match *match,
		 uint64_t leave_by_ns);

/* Lets those go that have lost their last connection. */
void apps_prune(struct apps *a);
void apps_free(struct apps *a); /* takes a zeroed one, too */

/* An engine that an app insists on must work. 0 or -errno; complain() is told which does not. */
int apps_check_engines(const struct app_list *apps, void (*complain)(void *arg, const char *text),
		       void *arg) must_check;

/* That this process may use the addresses of its clients, if an app is to. As above. */
int apps_check_transparent(const struct app_list *apps,
			   void (*complain)(void *arg, const char *text), void *arg) must_check;

/* A line of the log that says what the app is. */
void app_log(const struct app *app);

#endif
