/* SPDX-License-Identifier: MIT */
/*
 * Changes the configuration of the running daemon, on the main thread: reads the file again and
 * compares; wants the names that are new, and waits until they have been looked up, or not for
 * long; opens the ports that are new; and then, when nothing can fail any more, commits all of it
 * at once. What goes wrong before that is told, and changes nothing.
 *
 * Unchanged apps are left alone, the others get a new generation (app.h): established sessions go
 * on as they are, new connections are for the new one. One reload is under way at a time; who asks
 * meanwhile is answered by the next one, since the file may have been changed after it was read.
 */
#ifndef SHUNT_RELOAD_H
#define SHUNT_RELOAD_H

#include "apps.h"
#include "loop.h"
#include "names.h"
#include "ports.h"

/* Names that have no answer by then are taken as down. */
#define RELOAD_NAMES_MAX_MS 2500
#define RELOAD_PROBLEMS_MAX 100 /* that are told; the rest is counted */

/* Where the configuration comes from. */
struct reload_source {
	const char *path;
	/* As config_load(); the command line's options are in it, too. */
	struct config *(*load)(const struct reload_source *source, struct config_errors *errors);
};

/* What a reload works on. All of it outlives the reload. */
struct reload_context {
	struct loop *loop;
	const struct reload_source *source;
	struct config *config; /* in force; without apps */
	struct apps *apps;
	struct names *names;
	struct ports *ports;
	struct workers *workers;
	struct fd_budget *fds;
	struct admission *admission;
	/* Has the daemon started it? An engine that runs in the kernel it has, or not. */
	bool (*engine_runs)(void *arg, const struct engine *engine);
	/* What runs is another list of apps now. */
	void (*switched)(void *arg);
	void *arg;
};

/* What came of it. Shared by references, on the main thread. */
struct reload_answer {
	unsigned int refs;
	char error[128]; /* "": done */
	/* As at the start: "FILE:LINE:COL: what is wrong", or if it is done, what has no effect. */
	char **problems;
	size_t n_problems, total_problems;
	struct config_diff diff; /* of a failed one: empty */
};

struct reload_waiter {
	struct list link;
	/* With a reference, for reload_answer_put(). */
	void (*done)(struct reload_waiter *w, struct reload_answer *answer);
};

struct reload;

/* 0 with *out for reload_close(), or -errno. */
int reload_open(const struct reload_context *context, struct reload **out) must_check;
/* When no worker runs any more, and nobody waits; takes NULL. */
void reload_close(struct reload *r);

/* Reloads, soon. waiter: in no list, or NULL; done() is called later, never from within. */
void reload_ask(struct reload *r, struct reload_waiter *waiter);
void reload_forget(struct reload_waiter *w);     /* nobody waits any more */
void reload_answer_put(struct reload_answer *a); /* takes NULL */

/* A name has had an outcome. */
void reload_on_names(struct reload *r);

#endif
