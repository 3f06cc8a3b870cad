/* SPDX-License-Identifier: MIT */
/*
 * Where some of the apps listen (not on unix sockets), for those who have to tell the kernel of
 * each such place: what is kept here is what the kernel was told of, and following the apps means
 * telling it of the differences. On the main thread.
 */
#ifndef SHUNT_APP_LISTEN_H
#define SHUNT_APP_LISTEN_H

#include <stdbool.h>

#include "app.h"

struct app_listen {
	struct addr *list; /* in order */
	size_t n;
};

struct app_listen_follower {
	bool (*serves)(const struct app *app);
	void (*change)(void *arg, const struct addr *at, bool on);
	void *arg;
};

/* Has the follower change what differs from the places of the apps that it serves; apps: NULL for
 * none at all. */
void app_listen_follow(struct app_listen *l, const struct app_list *apps,
		       const struct app_listen_follower *f);
void app_listen_free(struct app_listen *l); /* takes a zeroed one, too */

#endif
