/* SPDX-License-Identifier: MIT */
#include "bypassing.h"

#include <stdlib.h>
#include <string.h>

#include "app_listen.h"
#include "engine_bypass.h"
#include "log.h"

struct bypassing {
	struct bypass *bypass;
	struct workers *workers;
	struct app_listen listens; /* what bypass_listen() was called for */
};

bool bypassing_serves(const struct app *app)
{
	const struct proxy_protocol_conf *header = &app->conf->proxy_protocol;

	return app->conf->local_bypass && header->accept == PROXY_ACCEPT_OFF &&
	       header->send == PROXY_HEADER_NONE;
}

int bypassing_open(const struct config *config, struct workers *workers, struct bypassing **out,
		   char *why, size_t size)
{
	uint32_t n = (uint32_t)workers->n;
	struct bypass_conf conf = {
		.workers = n,
		.flows_per_worker = (config->bypass.flows + n - 1) / n,
		.unread_cap_bytes = config->bypass.unread_kib * 1024,
		.cgroup = *config->bypass.cgroup ? config->bypass.cgroup : NULL,
	};
	struct bypassing *b = xcalloc(1, sizeof(*b));
	int rc = bypass_open(&conf, &b->bypass, why, size);

	if (rc) {
		free(b);
		return rc;
	}
	b->workers = workers;
	workers_use_bypass(workers, b->bypass);
	*out = b;
	return 0;
}

void bypassing_close(struct bypassing *b)
{
	if (!b)
		return;
	app_listen_free(&b->listens);
	bypass_close(b->bypass);
	free(b);
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
	if (b)
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

	if (atomic_fetch_sub(&s->app->refs, 1) == 1)
		free(s->app);
	free(s);
}

void bypassing_switch(struct bypassing *b, const struct app *app, bool off)
{
	struct switching *s = xcalloc(1, sizeof(*s));

	*s = (struct switching){
		.errand = { .run = run_switching, .done = end_switching },
		.app = app->shared,
		.off = off,
	};
	atomic_fetch_add(&s->app->refs, 1);
	/* First: a session that opens meanwhile goes by it. */
	atomic_store(&s->app->bypass_off, off);
	workers_send(b->workers, &s->errand);
}

struct bypass *bypassing_bypass(const struct bypassing *b)
{
	return b ? b->bypass : NULL;
}
