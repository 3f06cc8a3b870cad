/* SPDX-License-Identifier: MIT */
/*
 * Puts the wire into the daemon's service: loads it, puts its program on the devices that the apps'
 * listeners and targets use and keeps it there, gives each worker its share, adopts what a daemon
 * before has left, and says which ports are held from the SYN on. On the main thread.
 */
#ifndef SHUNT_WIRING_H
#define SHUNT_WIRING_H

#include "app.h"
#include "wire_keeper.h"
#include "workers.h"

struct wiring;

struct wiring_conf {
	const struct config *config;
	struct loop *loop;
	struct workers *workers; /* not started yet */
	/* The last adopted flow has gone. */
	void (*on_empty)(void *arg);
	void *arg;
};

/* 0 with *out, or -errno with a phrase in `why`: the workers then do without. */
int wiring_open(const struct wiring_conf *conf, struct wiring **out, char *why,
		size_t size) must_check;
/* When no worker runs any more; takes NULL. With `leave`, flows go on without a daemon. */
void wiring_close(struct wiring *w, bool leave);

/* Does auto, or the app's own choice, put this app's connections on the wire? */
bool wiring_serves(const struct app *app);
/* These are the apps: holds what comes to their listeners, and no longer what comes to others; looks
 * for the devices of listeners and targets. Again when apps or the targets' addresses change. */
void wiring_follow(struct wiring *w, const struct app_list *apps); /* takes NULL */
/* No new flow is held from now on. */
void wiring_drain(struct wiring *w);

/* All of these take NULL. */
struct wire *wiring_wire(const struct wiring *w);
struct wire_keeper *wiring_keeper(const struct wiring *w);
/* Is it pinned, so that flows can go on without a daemon? */
bool wiring_can_leave(const struct wiring *w);
/* Where the program is: "eth0, eth1". */
const char *wiring_devices(const struct wiring *w, char *buf, size_t size);

#endif
