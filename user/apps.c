/* SPDX-License-Identifier: MIT */
#include "apps.h"

#include <stdio.h>
#include <string.h>

#include "balancer.h"
#include "engine.h"
#include "log.h"
#include "net.h"

#define LOGGED_PORTS_BYTES 512 /* no more ports are begun then */

struct app_list apps_make(struct config *c, const struct app_list *running,
			  const struct config_match *match)
{
	struct app_list apps = { .list = xcalloc(c->n_apps, sizeof(struct app *)), .n = c->n_apps };

	for (size_t i = 0; i < c->n_apps; i++) {
		struct app_conf *conf = &c->apps[i];
		const struct balancer *balancer = balancer_find(conf->balance);
		const struct engine *engine = engine_find(conf->engine ? conf->engine : c->engine);
		struct app *before = NULL;

		if (match && match[i].before != CONFIG_DIFF_NEW)
			before = running->list[match[i].before];
		if (before && !match[i].changed) {
			apps.list[i] = app_get(before);
			continue;
		}
		apps.list[i] = app_new(conf, balancer, engine, before);
		balancer_prepare(apps.list[i]);
	}
	return apps;
}

void apps_switch(struct apps *a, struct app_list *next, const struct config_match *match,
		 uint64_t leave_by_ns)
{
	struct app_list was = a->running;
	bool *stays = xcalloc(was.n, sizeof(*stays));

	for (size_t i = 0; i < next->n; i++) {
		size_t before = match[i].before;

		if (before == CONFIG_DIFF_NEW)
			continue;
		stays[before] = true;
		if (match[i].changed)
			app_replaced(was.list[before], next->list[i], leave_by_ns);
	}
	for (size_t i = 0; i < was.n; i++) {
		if (stays[i])
			continue;
		app_removed(was.list[i], leave_by_ns);
		app_list_add(&a->leaving, was.list[i]);
	}
	free(stays);
	a->running = *next;
	*next = (struct app_list){ 0 };
	app_list_free(&was);
	apps_prune(a);
}

/* The one reference is the list's, and there is no other generation: nobody can get another one. */
static bool has_left(const struct app *app)
{
	return atomic_load(&app->refs) == 1 && atomic_load(&app->shared->refs) == 1;
}

void apps_prune(struct apps *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->leaving.n; i++) {
		struct app *app = a->leaving.list[i];

		if (has_left(app)) {
			app_shared_add(&a->gone, app->shared);
			app_put(app);
		} else {
			a->leaving.list[n++] = app;
		}
	}
	a->leaving.n = n;
}

void apps_free(struct apps *a)
{
	app_list_free(&a->running);
	app_list_free(&a->leaving);
}

int apps_check_engines(const struct app_list *apps, void (*complain)(void *arg, const char *text),
		       void *arg)
{
	int result = 0;

	for (size_t i = 0; engines[i]; i++) {
		char why[128] = "", text[512];
		int rc = engines[i]->probe ? engines[i]->probe(why, sizeof(why)) : 0;

		for (size_t a = 0; rc && a < apps->n; a++) {
			if (apps->list[a]->engine != engines[i])
				continue;
			snprintf(text, sizeof(text),
				 "app \"%s\" is set to the engine %s, which is not available (%s): "
				 "set \"Engine\" to \"auto\"",
				 apps->list[a]->conf->name, engines[i]->name, why);
			complain(arg, text);
			result = rc;
		}
	}
	return result;
}

int apps_check_transparent(const struct app_list *apps,
			   void (*complain)(void *arg, const char *text), void *arg)
{
	char text[512];
	int rc = 0;

	for (size_t i = 0; i < apps->n; i++) {
		const struct app_conf *conf = apps->list[i]->conf;

		if (!conf->transparent)
			continue;
		rc = rc ? rc : net_try_transparent();
		if (!rc)
			return 0;
		snprintf(text, sizeof(text),
			 "app \"%s\": Transparent is not possible: %s: it needs CAP_NET_ADMIN or "
			 "CAP_NET_RAW",
			 conf->name, strerror(-rc));
		complain(arg, text);
	}
	return rc;
}

/* "ports 80 443 8000-8010 on 0.0.0.0 and [::]"; of many ports the first ones and "...". */
static void ports_text(const struct app_conf *conf, char *text, size_t size)
{
	size_t at = (size_t)snprintf(text, size, "ports"), last;

	for (size_t i = 0; i < conf->n_ports; i = last + 1) {
		last = app_conf_last_in_row(conf, i);
		if (at > LOGGED_PORTS_BYTES) {
			at += (size_t)snprintf(text + at, size - at, " ...");
			break;
		}
		at += (size_t)snprintf(text + at, size - at, last > i ? " %u-%u" : " %u",
				       conf->ports[i], conf->ports[last]);
	}
	for (size_t i = 0; i < conf->n_listen && at < size; i++) {
		char host[ADDR_TEXT_MAX];

		at += (size_t)snprintf(text + at, size - at, "%s%s", i ? " and " : " on ",
				       addr_format_host(&conf->listen[i], host));
	}
}

void app_log(const struct app *app)
{
	const struct app_conf *conf = app->conf;
	char where[1024] = "";
	size_t at;

	if (conf->n_listen)
		ports_text(conf, where, sizeof(where));
	at = strlen(where);
	for (size_t i = 0; i < conf->n_sockets && at < sizeof(where); i++)
		at += (size_t)snprintf(where + at, sizeof(where) - at, "%sunix:%s",
				       at ? " and " : "", conf->sockets[i]);
	log_info("app \"%s\": %s; %zu target%s by %s, engine %s", conf->name, where,
		 conf->n_targets, conf->n_targets == 1 ? "" : "s", conf->balance,
		 app->engine ? app->engine->name : "auto");
}
