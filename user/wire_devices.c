/* SPDX-License-Identifier: MIT */
/*
 * What follows changes asks the kernel anew instead of keeping books by the events: they only tell
 * when to look, and may be lost. A device that has the program keeps it until it goes, also when
 * no address leads to it any more: packets of joined flows may still come in by it.
 */
#include "wire_devices.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "addr_set.h"
#include "ingress.h"
#include "log.h"
#include "netlink.h"
#include "wire_hooks.h"

#define SETTLE_NS (100 * NSEC_PER_MSEC) /* from a change to the look at it: they come in bursts */
#define RETRY_NS NSEC_PER_SEC
/* Between two looks there is so many times the CPU time that one took: a router that learns a
 * hundred thousand routes must not keep the thread busy. (Not the time on the clock: most of that
 * is waiting for rtnetlink's lock, which whoever removes a network namespace may hold for a
 * second.) */
#define REST_FACTOR 20

struct wire_devices {
	struct wire_devices_conf conf;
	char **names;
	bool *is_missing; /* of each name: told so */
	char *pin_folder;
	struct netlink netlink;
	struct addr_set listens, targets;
	struct wire_hooks hooks;

	struct watch events;
	struct timer settle;
	bool is_stale; /* something has changed that asks for a look */
	uint64_t look_cpu_ns;

	pthread_mutex_t lock; /* of what other threads ask for: */
	uint32_t *attached;   /* ifindexes, ascending */
	size_t n_attached;
};

/* --- looking --------------------------------------------------------------------------------- */

static void tell_missing(struct wire_devices *d, const struct ingress *in)
{
	for (size_t i = 0; i < d->conf.n_names; i++) {
		bool is_missing = !ingress_find_name(in, d->names[i]);

		if (is_missing && !d->is_missing[i])
			log_notice("wire: there is no device %s; it gets the program when it comes",
				   d->names[i]);
		d->is_missing[i] = is_missing;
	}
}

static int by_number(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

/* Shows other threads what is attached now. */
static void publish(struct wire_devices *d)
{
	uint32_t *now = xcalloc(d->hooks.n + 1, sizeof(*now)), *before;
	size_t n = 0;

	for (size_t i = 0; i < d->hooks.n; i++)
		if (d->hooks.at[i].is_attached)
			now[n++] = d->hooks.at[i].ifindex;
	qsort(now, n, sizeof(*now), by_number);
	pthread_mutex_lock(&d->lock);
	before = d->attached;
	d->attached = now;
	d->n_attached = n;
	pthread_mutex_unlock(&d->lock);
	free(before);
}

static int look(struct wire_devices *d)
{
	const struct ingress_wish wish = {
		.listens = &d->listens,
		.targets = &d->targets,
		.names = d->names,
		.n_names = d->conf.n_names,
	};
	struct ingress in = { 0 };
	int rc = ingress_look(&in, &d->netlink, &wish);

	if (!rc) {
		tell_missing(d, &in);
		wire_hooks_update(&d->hooks, &in);
		publish(d);
	}
	ingress_free(&in);
	return rc;
}

void wire_devices_update(struct wire_devices *d)
{
	uint64_t begin = clock_of_ns(CLOCK_THREAD_CPUTIME_ID);
	int rc = look(d);

	d->is_stale = rc != 0;
	d->look_cpu_ns = clock_of_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
	if (!rc)
		return;
	log_warning("wire: the devices can't be looked at: %s", strerror(-rc));
	if (d->conf.loop)
		loop_arm_in(d->conf.loop, &d->settle, RETRY_NS);
}

/* --- events ---------------------------------------------------------------------------------- */

static void on_settled(struct timer *t)
{
	struct wire_devices *d = container_of(t, struct wire_devices, settle);

	if (d->is_stale)
		wire_devices_update(d);
	d->conf.changed(d->conf.arg);
}

/* A route to where no target is may be the way to a client, but makes no device wanted. */
static void on_event(void *arg, const struct addr *network, unsigned int prefix_bits)
{
	struct wire_devices *d = arg;

	d->is_stale |= !network || addr_set_has_any_in(&d->targets, network, prefix_bits);
	if (!timer_armed(&d->settle))
		loop_arm_in(d->conf.loop, &d->settle, MAX(SETTLE_NS, REST_FACTOR * d->look_cpu_ns));
}

static void on_events(struct watch *w, uint32_t events)
{
	struct wire_devices *d = container_of(w, struct wire_devices, events);
	int rc = netlink_events_read(w->fd, on_event, d), fd = w->fd;

	(void)events;
	if (!rc)
		return;
	on_event(d, NULL, 0);
	if (rc == -ENOBUFS)
		return;
	log_error("wire: changes of devices and routes are not followed any more: %s",
		  strerror(-rc));
	loop_remove(d->conf.loop, w);
	close(fd);
}

static int follow(struct wire_devices *d)
{
	int fd, rc;

	if (!d->conf.loop)
		return 0;
	fd = netlink_events_open();
	if (fd < 0)
		return fd;
	rc = loop_add(d->conf.loop, &d->events, fd, EPOLLIN);
	if (rc)
		close(fd);
	return rc;
}

/* --- life ------------------------------------------------------------------------------------ */

static struct wire_devices *new_devices(const struct wire_devices_conf *conf)
{
	struct wire_devices *d = xcalloc(1, sizeof(*d));

	d->conf = *conf;
	d->names = xcalloc(conf->n_names + 1, sizeof(*d->names));
	d->is_missing = xcalloc(conf->n_names + 1, sizeof(*d->is_missing));
	for (size_t i = 0; i < conf->n_names; i++)
		d->names[i] = xstrdup(conf->names[i]);
	if (conf->pin_folder)
		d->pin_folder = xstrdup(conf->pin_folder);
	d->hooks = (struct wire_hooks){
		.program_fd = conf->program_fd,
		.as_filters = conf->no_tcx || !tcx_is_supported(),
		.is_trial = conf->is_trial,
		.pin_folder = d->pin_folder,
		.never_pinned = conf->always, /* it goes with the daemon, too */
		.netlink = &d->netlink,
	};
	d->netlink.fd = -1;
	d->events.fd = -1;
	d->events.ready = on_events;
	timer_init(&d->settle, on_settled);
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

int wire_devices_open(const struct wire_devices_conf *conf, struct wire_devices **out, char *why,
		      size_t size)
{
	struct wire_devices *d = new_devices(conf);
	const char *what = "the kernel can't be asked for devices (rtnetlink)";
	int rc = netlink_open(&d->netlink);

	if (!rc)
		rc = follow(d); /* before the first look, so that no change falls in between */
	if (!rc) {
		what = "what is attached can't be taken over";
		rc = wire_hooks_take_over(&d->hooks);
	}
	/* Without the program at the parking device nothing that is parked would come back. */
	if (!rc && conf->always) {
		what = "the parking device can't have the TC program";
		rc = wire_hooks_attach(&d->hooks, conf->always);
	}
	if (rc) {
		snprintf(why, size, "%s: %s", what, strerror(-rc));
		wire_devices_close(d, true);
		return rc;
	}
	publish(d);
	*out = d;
	return 0;
}

void wire_devices_close(struct wire_devices *d, bool leave)
{
	if (!d)
		return;
	if (d->events.fd >= 0) {
		int fd = d->events.fd;

		loop_remove(d->conf.loop, &d->events);
		close(fd);
	}
	if (d->conf.loop)
		timer_disarm(&d->conf.loop->timers, &d->settle);
	wire_hooks_close(&d->hooks, leave);
	netlink_close(&d->netlink);
	addr_set_free(&d->listens);
	addr_set_free(&d->targets);
	for (size_t i = 0; i < d->conf.n_names; i++)
		free(d->names[i]);
	free(d->names);
	free(d->is_missing);
	free(d->pin_folder);
	free(d->attached);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

void wire_devices_add_listen(struct wire_devices *d, const struct addr *a)
{
	addr_set_add(&d->listens, a);
}

void wire_devices_add_target(struct wire_devices *d, const struct addr *a)
{
	addr_set_add(&d->targets, a);
}

void wire_devices_forget(struct wire_devices *d)
{
	addr_set_free(&d->listens);
	addr_set_free(&d->targets);
}

bool wire_devices_has(struct wire_devices *d, uint32_t ifindex)
{
	bool has;

	pthread_mutex_lock(&d->lock);
	has = d->n_attached &&
	      bsearch(&ifindex, d->attached, d->n_attached, sizeof(ifindex), by_number);
	pthread_mutex_unlock(&d->lock);
	return has;
}

const char *wire_devices_text(const struct wire_devices *d, char *buf, size_t size)
{
	size_t len = 0;

	snprintf(buf, size, "none");
	for (size_t i = 0; i < d->hooks.n && len < size; i++) {
		const struct wire_hook *e = &d->hooks.at[i];

		if (e->is_attached && e->ifindex != d->conf.always)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? ", " : "",
						e->name);
	}
	return buf;
}
