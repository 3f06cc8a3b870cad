/* SPDX-License-Identifier: MIT */
#include "session_queue.h"

#include "session_connect.h"
#include "session_header.h"
#include "session_target.h"

/*
 * The first one in the queue looks by itself so often: a target whose mark as down has run out, or
 * whose check has succeeded, tells nobody.
 */
#define LOOK_MS 100

void session_queue_kick(struct session *s)
{
	waitq_kick(&s->app->shared->queue);
}

bool session_queue_enter_app(struct session *s)
{
	struct app_shared *app = s->app->shared;

	if (s->counts_in_app)
		return true;
	if (!s->waiter.queue && waitq_count(&app->queue))
		return false;
	s->counts_in_app = count_up_to(&app->active, s->app->conf->max_connections);
	return s->counts_in_app;
}

static void leave_app(struct session *s)
{
	if (s->counts_in_app)
		atomic_fetch_sub(&s->app->shared->active, 1);
	s->counts_in_app = false;
}

bool session_queue_wait(struct session *s, enum close_reason *refused)
{
	uint64_t now_ns = s->ctx->loop->now_ns;
	uint32_t max = s->app->conf->max_queue;

	session_target_start_over(s);
	leave_app(s);
	if (s->waiter.queue) {
		s->look_at_ns = now_ns + LOOK_MS * NSEC_PER_MSEC;
		waitq_stay(&s->waiter);
		return true;
	}
	/* If it comes from a target that failed, it has given a place back. */
	session_queue_kick(s);
	if (!waitq_join(&s->app->shared->queue, &s->waiter, max)) {
		*refused = max ? CLOSE_QUEUE_FULL : CLOSE_MAX_CONNECTIONS;
		return false;
	}
	list_append(&s->ctx->waiting, &s->waiting_link);
	if (!s->queued_ns)
		s->queued_ns = now_ns;
	return true;
}

static void stop_waiting(struct session *s)
{
	if (s->waiter.queue)
		s->waited_ns = s->ctx->loop->now_ns - s->queued_ns;
	list_del(&s->waiting_link);
	waitq_leave(&s->waiter);
	s->look_at_ns = 0;
}

void session_queue_leave(struct session *s)
{
	if (!s->waiter.queue)
		return;
	stop_waiting(s);
	buckets_add(&s->app->shared->queue_time, &connect_bounds, s->waited_ns);
}

void session_queue_end(struct session *s)
{
	bool had_place = s->counts_in_app || s->counts_at_backend;

	session_target_leave(s);
	leave_app(s);
	stop_waiting(s);
	if (had_place)
		session_queue_kick(s);
}

/* The path of a unix socket is its app's, and goes with it. False: the new one has none such. */
static bool move_listener(struct session *s)
{
	const struct app_conf *conf = s->app->conf;

	if (addr_is_ip(&s->listener))
		return true;
	for (size_t i = 0; i < conf->n_sockets; i++) {
		struct addr at = addr_of_unix(conf->sockets[i]);

		if (!addr_equal(&at, &s->listener))
			continue;
		s->listener = at;
		return true;
	}
	return false;
}

/* One that can't, since its listener goes, stays with its generation, as if its app went. */
static void follow(struct session *s, struct app *now)
{
	struct app *was = s->app;

	s->app = now;
	if ((session_header_is_to_be_sent(s) && session_header_open(s)) || !move_listener(s)) {
		s->app = was;
		return;
	}
	app_get(now);
	app_put(was);
	session_connect_late(s);
	/* Its time may be up by now. */
	timer_arm(&s->ctx->loop->timers, &s->timer, s->ctx->loop->now_ns);
}

void session_queue_follow(struct session_ctx *ctx, struct app *now)
{
	list_for_each(e, &ctx->waiting) {
		struct session *s = list_entry(e, struct session, waiting_link);

		if (s->app != now && s->app->shared == now->shared)
			follow(s, now);
	}
	waitq_kick(&now->shared->queue);
}
