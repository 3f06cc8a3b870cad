/* SPDX-License-Identifier: MIT */
/*
 * Puts the local bypass into the daemon's service: loads it, gives each worker its share, says
 * where the apps that have it listen, and switches it off and on by an operator's word. On the main
 * thread.
 */
#ifndef SHUNT_BYPASSING_H
#define SHUNT_BYPASSING_H

#include "app.h"
#include "bypass.h"
#include "workers.h"

struct bypassing;

/* The workers are not started yet. 0 with *out, or -errno with a phrase in `why`: they then do
 * without. */
int bypassing_open(const struct config *config, struct workers *workers, struct bypassing **out,
		   char *why, size_t size) must_check;
/* When no worker runs any more; takes NULL. */
void bypassing_close(struct bypassing *b);

/* Has it LocalBypass? A PROXY header that is taken off or put before what is relayed bars it: then
 * the two connections' sequence numbers do not say what is under way. */
bool bypassing_serves(const struct app *app);
/* These are the apps; again when they change. Takes NULL. */
void bypassing_follow(struct bypassing *b, const struct app_list *apps);
/*
 * With `off`, all that is sent on the app's connections, those that there are and those to come,
 * goes through the proxy from now on; each worker's as soon as it gets to it.
 */
void bypassing_switch(struct bypassing *b, const struct app *app, bool off);

struct bypass *bypassing_bypass(const struct bypassing *b); /* takes NULL */

#endif
