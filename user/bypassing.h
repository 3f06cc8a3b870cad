/* SPDX-License-Identifier: MIT */
/*
 * Puts the local bypass into the daemon's service: tries and loads it when the first app wants it,
 * before the workers run or while they do, gives each its share, says where the apps that have it
 * listen, and switches it off and on by an operator's word. On the main thread.
 */
#ifndef SHUNT_BYPASSING_H
#define SHUNT_BYPASSING_H

#include "app.h"
#include "bypass.h"
#include "workers.h"

struct bypassing;

/* It does not run yet. Both must outlive it. */
struct bypassing *bypassing_new(const struct config *config, struct workers *workers);
/*
 * Probes, loads and attaches it, which takes a tenth of a second. 0, or -errno: it can be tried
 * again. With a phrase for the operator in `what`: how it runs, or why it does not.
 */
int bypassing_start(struct bypassing *b, char *what, size_t size) must_check;
/* When no worker runs any more; takes NULL. */
void bypassing_free(struct bypassing *b);

/* Has it LocalBypass? A PROXY header that is taken off or put before what is relayed bars it: then
 * the two connections' sequence numbers do not say what is under way. */
bool bypassing_serves(const struct app *app);
/* These are the apps; again when they change, and when it has started. */
void bypassing_follow(struct bypassing *b, const struct app_list *apps);
/*
 * With `off`, all that is sent on the app's connections, those that there are and those to come,
 * goes through the proxy from now on; each worker's as soon as it gets to it. It runs.
 */
void bypassing_switch(struct bypassing *b, const struct app *app, bool off);

/* NULL: it does not run. Takes NULL. */
struct bypass *bypassing_bypass(const struct bypassing *b);

#endif
