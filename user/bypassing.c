/* SPDX-License-Identifier: MIT */
#include "bypassing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app_listen.h"
#include "engine_bypass.h"
#include "log.h"
#include "probe.h"

struct bypassing {
	const struct config *config;
	struct workers *workers;
	struct bypass *bypass;     /* NULL: it does not run */
	struct app_listen listens; /* what bypass_listen() was called for */
};

bool bypassing_serves(const struct app *app)
{
	return app->conf->local_bypass && !app_conf_has_header(app->conf);
}

struct bypassing *bypassing_new(const struct config *config, struct workers *workers)
{
	struct bypassing *b = xcalloc(1, sizeof(*b));

	b->config = config;
	b->workers = workers;
	return b;
}

void bypassing_free(struct bypassing *b)
{
	if (!b)
		return;
	app_listen_free(&b->listens);
	bypass_close(b->bypass);
	free(b);
}

/* --- starting -------------------------------------------------------------------------------- */

struct sharing {
	struct errand errand;
	struct bypass *bypass;
};

static void open_share(struct errand *e, struct worker *w, size_t index)
{
	const struct sharing *s = container_of(e, struct sharing, errand);

	bypass_share_open(s->bypass, (uint32_t)index, &w->sessions.pools);
}

static void end_sharing(struct errand *e)
{
	free(container_of(e, struct sharing, errand));
}

static void share(struct bypassing *b)
{
	struct sharing *s = xcalloc(1, sizeof(*s));

	s->errand.run = open_share;
	s->errand.done = end_sharing;
	s->bypass = b->bypass;
	workers_send(b->workers, &s->errand);
}

int bypassing_start(struct bypassing *b, char *what, size_t size)
{
	const struct bypass_conf_keys *keys = &b->config->bypass;
	uint32_t n = (uint32_t)b->workers->n;
	struct bypass_conf conf = {
		.workers = n,
		.flows_per_worker = (keys->flows + n - 1) / n,
		.unread_cap_bytes = keys->unread_kib * 1024,
		.cgroup = *keys->cgroup ? keys->cgroup : NULL,
	};
	struct probe_report report = { 0 };
	int rc = probe_bypass(conf.cgroup, &report, what, size);

	if (!rc)
		rc = bypass_open(&conf, &b->bypass, what, size);
	if (rc)
		return rc;
	share(b);
	snprintf(what, size, "%s; %u flows in %llu KiB of kernel memory", engine_bypass.summary,
		 n * conf.flows_per_worker, (unsigned long long)bypass_memory(b->bypass) / 1024);
	return 0;
}

static void on_listener(void *arg, const struct addr *at, bool on)
{
	struct bypassing *b = arg;
	int rc = bypass_listen(b->bypass, at, on);
	char text[ADDR_TEXT_MAX];

	if (rc)
		log_warning("%s: its connections %s bypassed: %s", addr_format(at, text),
			    on ? "are not" : "may still be", strerror(-rc));
}

void bypassing_follow(struct bypassing *b, const struct app_list *apps)
{
	if (b->bypass)
		app_listen_follow(&b->listens, apps,
				  &(struct app_listen_follower){ bypassing_serves, on_listener,
								 b });
}

/* --- off and on ------------------------------------------------------------------------------ */

struct switching {
	struct errand errand;
	struct app_shared *app; /* a reference */
	bool off;
};

static void run_switching(struct errand *e, struct worker *w, size_t index)
{
	const struct switching *s = container_of(e, struct switching, errand);

	(void)index;
	list_for_each(i, &w->sessions.sessions) {
		struct session *session = list_entry(i, struct session, link);

		if (session->app->shared == s->app)
			bypass_switch(&session->relay, s->off);
	}
}

static void end_switching(struct errand *e)
{
	struct switching *s = container_of(e, struct switching, errand);

	app_shared_put(s->app);
	free(s);
}

void bypassing_switch(struct bypassing *b, const struct app *app, bool off)
{
	struct switching *s = xcalloc(1, sizeof(*s));

	*s = (struct switching){
		.errand = { .run = run_switching, .done = end_switching },
		.app = app_shared_get(app->shared),
		.off = off,
	};
	/* First: a session that opens meanwhile goes by it. */
	atomic_store(&s->app->bypass_off, off);
	workers_send(b->workers, &s->errand);
}

struct bypass *bypassing_bypass(const struct bypassing *b)
{
	return b ? b->bypass : NULL;
}
