/* SPDX-License-Identifier: MIT */
#include "proxy_engines.h"

#include <stdio.h>
#include <string.h>

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

/* Is there an app that would use it? auto may. */
static bool wants_sockmap(const struct app_list *apps)
{
	for (size_t i = 0; i < apps->n; i++) {
		const struct engine *engine = apps->list[i]->engine;

		if (!engine || engine == &engine_sockmap)
			return true;
	}
	return false;
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

	if (!wants_sockmap(x->apps))
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

static bool wants_wire(const struct app_list *apps)
{
	for (size_t i = 0; i < apps->n; i++)
		if (wiring_serves(apps->list[i]))
			return true;
	return false;
}

/* What it can't join, or where it can't be had, flows are on the other engines. */
static void start_wire(struct proxy_engines *e, const struct proxy_engines_context *x)
{
	struct wiring_conf conf = {
		.config = x->config,
		.loop = x->loop,
		.workers = x->workers,
		.on_empty = x->on_adopted_gone,
		.arg = x->arg,
	};
	struct probe_report report = { 0 };
	char why[256], how[512], devices[256];
	struct wire *wire;

	if (!wants_wire(x->apps))
		return;
	if (probe_wire(&report, why, sizeof(why)) ||
	    wiring_open(&conf, &e->wiring, why, sizeof(why))) {
		log_engine(&engine_wire, false, why);
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

void proxy_engines_start(struct proxy_engines *e, const struct proxy_engines_context *context)
{
	start_sockmap(e, context);
	start_wire(e, context);
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
	sockmap_close(e->sockmap);
	*e = (struct proxy_engines){ 0 };
}
