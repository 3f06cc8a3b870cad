/* SPDX-License-Identifier: MIT */
#include "session_target.h"

#include <string.h>

#include "balancer.h"
#include "log.h"

void session_target_leave(struct session *s)
{
	if (s->counts_at_backend)
		atomic_fetch_sub(&s->backend->active, 1);
	s->counts_at_backend = false;
}

static void enter_backend(struct session *s, uint32_t picked)
{
	struct backend *b = s->app->backends[picked];

	s->backend = b;
	s->picked = picked;
	s->counts_at_backend = true;
	backend_walk_begin(b, &s->walk);
	if (s->attempts++)
		atomic_fetch_add_explicit(&s->app->shared->failovers, 1, memory_order_relaxed);
}

void session_target_start_over(struct session *s)
{
	session_target_leave(s);
	s->backend = NULL;
	free(s->tried);
	s->tried = NULL;
}

/* 0 or -ENOMEM. */
static int mark_tried(struct session *s)
{
	if (!s->tried)
		s->tried = calloc((s->app->n_backends + 63) / 64, sizeof(*s->tried));
	if (!s->tried)
		return -ENOMEM;
	s->tried[s->picked / 64] |= 1ull << (s->picked % 64);
	return 0;
}

static bool walk_on(struct session *s, bool even_down)
{
	uint64_t trial_ns = s->app->conf->connect_timeout_ms * NSEC_PER_MSEC;

	if (!backend_enabled(s->backend))
		return false;
	return backend_walk_next(s->backend, &s->walk, even_down, s->ctx->loop->now_ns, trial_ns,
				 &s->endpoint);
}

/* One that has a place, which is taken; -1: there is none. */
static int pick_backend(struct session *s, bool even_down, bool *met_full)
{
	const struct app *app = s->app;
	struct pick p = {
		.client = &s->client,
		.tried = s->tried,
		.even_down = even_down,
		.met_full = met_full,
		.now_ns = s->ctx->loop->now_ns,
		.rng = &s->ctx->rng,
	};
	int i;

	/* Others take places, too: then it is full, and the next pick passes it over. */
	do
		i = app->balancer->pick(s->app, &p);
	while (i >= 0 &&
	       !count_up_to(&app->backends[i]->active, app->conf->targets[i].max_connections));
	return i;
}

enum target_search session_target_next(struct session *s)
{
	bool may_change = s->attempts <= s->app->conf->connect_retries, met_full = false;
	int i = -1;

	if (s->backend && walk_on(s, false))
		return TARGET_FOUND;
	if (s->backend && mark_tried(s))
		return TARGET_NONE;
	if (may_change)
		i = pick_backend(s, false, &met_full);
	if (i < 0 && met_full)
		return TARGET_FULL;
	if (i < 0 && s->backend && walk_on(s, true))
		return TARGET_FOUND;
	if (i < 0 && may_change)
		i = pick_backend(s, true, &met_full);
	if (i < 0)
		return met_full ? TARGET_FULL : TARGET_NONE;
	if (s->counts_at_backend) {
		session_target_leave(s);
		waitq_kick(&s->app->shared->queue);
	}
	enter_backend(s, (uint32_t)i);
	return walk_on(s, false) || walk_on(s, true) ? TARGET_FOUND : TARGET_NONE;
}

bool session_target_none_enabled(const struct session *s)
{
	for (size_t i = 0; i < s->app->n_backends; i++)
		if (backend_enabled(s->app->backends[i]))
			return false;
	return true;
}

static void log_backend_state(const struct session *s, enum log_level level, const char *event)
{
	struct log_record r;
	char text[ADDR_TEXT_MAX];

	if (!log_enabled(level))
		return;
	log_record_begin(&r, level, event);
	log_record_str(&r, "app", s->app->conf->name);
	log_record_str(&r, "target", s->backend->text);
	log_record_str(&r, "address", addr_format(&s->endpoint.addr, text));
	log_record_str(&r, "by", "connect");
	if (level == LOG_LEVEL_WARNING)
		log_record_str(&r, "error", strerror(s->connect_error));
	log_record_end(&r);
}

/* OnDown goes by the checks where there are any: they ask more than once. */
static void cut_if_down(struct session *s)
{
	const struct app_conf *conf = s->app->conf;

	if (conf->on_down != ON_DOWN_CLOSE || conf->health.on || backend_endpoints_up(s->backend))
		return;
	atomic_store(&s->backend->cut_ns, s->ctx->loop->now_ns);
	s->ctx->on_cut(s->ctx);
}

void session_target_failed(struct session *s, int error)
{
	s->connect_error = error;
	if (!backend_report_failure(s->backend, &s->endpoint, s->ctx->loop->now_ns,
				    rng_next(&s->ctx->rng)))
		return;
	log_backend_state(s, LOG_LEVEL_WARNING, "backend_down");
	cut_if_down(s);
}

void session_target_answered(struct session *s)
{
	if (backend_report_success(s->backend, &s->endpoint))
		log_backend_state(s, LOG_LEVEL_NOTICE, "backend_up");
}
