/* SPDX-License-Identifier: MIT */
#include "proxy_engines.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine_bypass.h"
#include "engine_sockmap.h"
#include "engine_wire.h"
#include "log.h"
#include "probe.h"

/* Is it there, and if not, why not? */
static void log_engine(const struct engine *e, bool ready, const char *what)
{
	enum log_level level = ready ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
	struct log_record r;

	if (!log_enabled(level))
		return;
	log_record_begin(&r, level, "engine");
	log_record_str(&r, "engine", e->name);
	log_record_str(&r, "state", ready ? "ready" : "off");
	log_record_str(&r, ready ? "how" : "why", what);
	log_record_end(&r);
}

/* Auto takes what there is. */
int proxy_engines_probe(const struct app_list *apps, void (*complain)(void *arg, const char *text),
			void *arg)
{
	for (size_t i = 0; engines[i]; i++) {
		char why[128] = "";
		bool fails;

		if (!engines[i]->probe)
			continue;
		fails = engines[i]->probe(why, sizeof(why)) != 0;
		log_engine(engines[i], !fails, fails ? why : engines[i]->summary);
	}
	return apps_check_engines(apps, complain, arg);
}

static bool any_app(const struct app_list *apps, bool (*wants)(const struct app *app))
{
	for (size_t i = 0; i < apps->n; i++)
		if (wants(apps->list[i]))
			return true;
	return false;
}

/* auto may. */
static bool may_use_sockmap(const struct app *app)
{
	return !app->engine || app->engine == &engine_sockmap;
}

/* It only ever takes over what copy has begun: where it can't be had, flows stay on copy. */
static void start_sockmap(struct proxy_engines *e, const struct proxy_engines_context *x)
{
	uint32_t n = (uint32_t)x->workers->n;
	struct probe_report report = { 0 };
	struct sockmap_conf conf = {
		.workers = n,
		.flows_per_worker = (x->config->sockmap_flows + n - 1) / n,
		.backlog_cap_bytes = x->config->sockmap_backlog_kib * 1024,
		.pin = true,
	};
	char why[192], how[192];
	int rc;

	if (!any_app(x->apps, may_use_sockmap))
		return;
	if (probe_sockmap(&report, why, sizeof(why)) ||
	    sockmap_open(&conf, &e->sockmap, why, sizeof(why))) {
		log_engine(&engine_sockmap, false, why);
		return;
	}
	rc = workers_use_sockmap(x->workers, e->sockmap, report.sockmap_pays);
	if (rc) {
		log_engine(&engine_sockmap, false, strerror(-rc));
		return;
	}
	snprintf(how, sizeof(how), "%s; %u flows in %llu KiB of kernel memory; %s",
		 engine_sockmap.summary, conf.workers * conf.flows_per_worker,
		 (unsigned long long)sockmap_memory(e->sockmap) / 1024,
		 report.sockmap_pays ? "auto uses it" : "not faster here, so auto does not use it");
	log_engine(&engine_sockmap, true, how);
}

/* The wire's trial, beside sockmap's: each waits for the kernel most of the time. */
struct wire_trial {
	pthread_t thread;
	bool wanted, has_thread;
	int rc;
	char why[256];
};

static void *try_wire(void *arg)
{
	struct wire_trial *t = arg;
	struct probe_report report = { 0 };

	t->rc = probe_wire(&report, t->why, sizeof(t->why));
	return NULL;
}

static void begin_wire_trial(struct wire_trial *t, const struct app_list *apps)
{
	t->wanted = any_app(apps, wiring_serves);
	t->has_thread = t->wanted && !pthread_create(&t->thread, NULL, try_wire, t);
}

static int end_wire_trial(struct wire_trial *t)
{
	if (t->has_thread)
		pthread_join(t->thread, NULL);
	else
		try_wire(t);
	return t->rc;
}

static void warn_of_pins(const char *folder)
{
	if (*folder && !access(folder, F_OK))
		log_warning(
			"connections that are pinned in %s go on by themselves, without "
			"timeouts; \"shunt wire clear\" ends them. If they are another daemon's, "
			"which is running, give this one Wire.Pins of its own",
			folder);
}

/* What it can't join, or where it can't be had, flows are on the other engines. */
static void start_wire(struct proxy_engines *e, const struct proxy_engines_context *x,
		       struct wire_trial *trial)
{
	struct wiring_conf conf = {
		.config = x->config,
		.loop = x->loop,
		.workers = x->workers,
		.on_empty = x->on_adopted_gone,
		.arg = x->arg,
	};
	char how[512], devices[256];
	struct wire *wire;

	if (!trial->wanted)
		return;
	if (end_wire_trial(trial) ||
	    wiring_open(&conf, &e->wiring, trial->why, sizeof(trial->why))) {
		log_engine(&engine_wire, false, trial->why);
		warn_of_pins(x->config->wire.pins);
		return;
	}
	wiring_follow(e->wiring, x->apps);
	wire = wiring_wire(e->wiring);
	snprintf(how, sizeof(how), "%s; %u flows in %llu KiB of kernel memory; on %s",
		 engine_wire.summary, wire_capacity(wire),
		 (unsigned long long)wire_memory(wire) / 1024,
		 wiring_devices(e->wiring, devices, sizeof(devices)));
	log_engine(&engine_wire, true, how);
}

/* It only ever goes around what the engines do: where it can't be had, they do it all. Tried once
 * for the apps that want it. */
static void follow_bypass(struct proxy_engines *e, const struct app_list *apps)
{
	bool wanted = any_app(apps, bypassing_serves);
	char what[256];
	int rc;

	if (wanted && !bypassing_bypass(e->bypassing) && !e->bypass_tried) {
		rc = bypassing_start(e->bypassing, what, sizeof(what));
		log_engine(&engine_bypass, !rc, what);
	}
	e->bypass_tried = wanted;
	bypassing_follow(e->bypassing, apps);
}

void proxy_engines_start(struct proxy_engines *e, const struct proxy_engines_context *context)
{
	struct wire_trial wire = { 0 };

	begin_wire_trial(&wire, context->apps);
	start_sockmap(e, context);
	e->bypassing = bypassing_new(context->config, context->workers);
	follow_bypass(e, context->apps);
	start_wire(e, context, &wire);
}

void proxy_engines_follow(struct proxy_engines *e, const struct app_list *apps)
{
	wiring_follow(e->wiring, apps);
	follow_bypass(e, apps);
}

bool proxy_engines_run(const struct proxy_engines *e, const struct engine *engine)
{
	return engine == &engine_sockmap ? e->sockmap != NULL
	       : engine == &engine_wire  ? e->wiring != NULL
					 : true;
}

void proxy_engines_close(struct proxy_engines *e, bool leave)
{
	wiring_close(e->wiring, leave);
	bypassing_free(e->bypassing);
	sockmap_close(e->sockmap);
	*e = (struct proxy_engines){ 0 };
}
