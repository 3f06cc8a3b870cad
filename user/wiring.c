/* SPDX-License-Identifier: MIT */
#include "wiring.h"

#include <stdio.h>
#include <string.h>

#include "app_listen.h"
#include "engine_wire.h"
#include "log.h"
#include "wire_devices.h"

struct wiring {
	struct wiring_conf conf;
	struct wire *wire;
	struct wire_devices *devices;
	struct wire_keeper *keeper;
	struct settler *settler; /* NULL: the kernel has no membarrier(2) */
	struct timer park_expires;
	struct app_listen held; /* what wire_listen() was called for */
};

bool wiring_serves(const struct app *app)
{
	return !app->conf->transparent &&
	       (app->engine == &engine_wire || (!app->engine && app->conf->wire));
}

/* From the SYN on? Not if the first bytes of its connections, a PROXY header's, are for sockets. */
static bool is_held_early(const struct app *app)
{
	return wiring_serves(app) && !app_conf_has_header(app->conf);
}

/* --- what is held ------------------------------------------------------------------------------ */

static void on_listener(void *arg, const struct addr *at, bool on)
{
	struct wiring *w = arg;
	int rc = wire_listen(w->wire, at, on);
	char text[ADDR_TEXT_MAX];

	if (rc)
		log_warning("%s: its connections %s the wire: %s", addr_format(at, text),
			    on ? "stay off" : "may still wait for", strerror(-rc));
}

static void hold(struct wiring *w, const struct app_list *apps)
{
	app_listen_follow(&w->held, apps,
			  &(struct app_listen_follower){ is_held_early, on_listener, w });
}

static void look_for_devices(struct wiring *w, const struct app_list *apps)
{
	wire_devices_forget(w->devices);
	for (size_t a = 0; a < apps->n; a++) {
		const struct app *app = apps->list[a];

		if (!wiring_serves(app))
			continue;
		for (size_t i = 0; i < app->conf->n_listen; i++)
			wire_devices_add_listen(w->devices, &app->conf->listen[i]);
		for (size_t i = 0; i < app->n_backends; i++) {
			/* The main thread is the one that replaces it. */
			const struct endpoint_set *set = atomic_load(&app->backends[i]->set);

			for (size_t e = 0; set && e < set->n; e++)
				if (addr_is_ip(&set->endpoint[e].addr))
					wire_devices_add_target(w->devices, &set->endpoint[e].addr);
		}
	}
	wire_devices_update(w->devices);
}

void wiring_follow(struct wiring *w, const struct app_list *apps)
{
	if (!w)
		return;
	look_for_devices(w, apps);
	hold(w, apps);
}

void wiring_drain(struct wiring *w)
{
	if (w)
		hold(w, NULL);
}

/* --- open and close -------------------------------------------------------------------------- */

static void on_park_expires(struct timer *t)
{
	struct wiring *w = container_of(t, struct wiring, park_expires);

	park_expire(wire_park(w->wire), w->conf.loop->now_ns);
	loop_arm_in(w->conf.loop, &w->park_expires, NSEC_PER_SEC);
}

static void on_devices_changed(void *arg)
{
	struct wiring *w = arg;
	size_t n = wire_reroute(w->wire);
	char text[256];

	log_info("the wire's program is on %s; %zu connection%s took another way",
		 wire_devices_text(w->devices, text, sizeof(text)), n, n == 1 ? "" : "s");
}

static int open_all(struct wiring *w, char *why, size_t size)
{
	const struct wire_conf_keys *keys = &w->conf.config->wire;
	struct wire_conf wire = {
		.flows = keys->flows,
		.pin_folder = *keys->pins ? keys->pins : NULL,
	};
	struct wire_devices_conf devices = {
		.names = keys->devices,
		.n_names = keys->n_devices,
		.loop = w->conf.loop,
		.changed = on_devices_changed,
		.arg = w,
	};
	struct wire_keeper_conf keeper = {
		.loop = w->conf.loop,
		.access_log = w->conf.config->access_log,
		.on_empty = w->conf.on_empty,
		.arg = w->conf.arg,
	};
	int rc = wire_open(&wire, &w->wire, why, size);

	if (rc)
		return rc;
	devices.program_fd = wire_program_fd(w->wire);
	devices.pin_folder = wire_pin_folder(w->wire);
	devices.always = park_ifindex(wire_park(w->wire));
	rc = wire_devices_open(&devices, &w->devices, why, size);
	if (rc)
		return rc;
	keeper.wire = w->wire;
	rc = wire_keeper_open(&keeper, &w->keeper);
	if (!rc && settler_open(&w->settler))
		log_info("connections that miss the beginning stay off the wire: no membarrier(2)");
	if (!rc)
		rc = workers_use_wire(w->conf.workers,
				      &(struct wire_share_conf){ .wire = w->wire,
								 .settler = w->settler });
	if (rc)
		snprintf(why, size, "%s", strerror(-rc));
	return rc;
}

int wiring_open(const struct wiring_conf *conf, struct wiring **out, char *why, size_t size)
{
	struct wiring *w = xcalloc(1, sizeof(*w));
	int rc;

	w->conf = *conf;
	timer_init(&w->park_expires, on_park_expires);
	rc = open_all(w, why, size);
	if (rc) {
		wiring_close(w, true);
		return rc;
	}
	loop_arm_in(conf->loop, &w->park_expires, NSEC_PER_SEC);
	*out = w;
	return 0;
}

void wiring_close(struct wiring *w, bool leave)
{
	if (!w)
		return;
	timer_disarm(&w->conf.loop->timers, &w->park_expires);
	wiring_drain(w);
	wire_keeper_close(w->keeper);
	settler_close(w->settler);
	wire_devices_close(w->devices, leave);
	wire_close(w->wire, leave);
	free(w);
}

struct wire *wiring_wire(const struct wiring *w)
{
	return w ? w->wire : NULL;
}

bool wiring_can_leave(const struct wiring *w)
{
	return w && wire_pin_folder(w->wire);
}

struct wire_keeper *wiring_keeper(const struct wiring *w)
{
	return w ? w->keeper : NULL;
}

const char *wiring_devices(const struct wiring *w, char *buf, size_t size)
{
	return w ? wire_devices_text(w->devices, buf, size) : "";
}
