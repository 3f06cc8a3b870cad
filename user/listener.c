/* SPDX-License-Identifier: MIT */
#include "listener.h"

#include <unistd.h>

#include "log.h"
#include "net.h"

enum accept_result { ACCEPT_EMPTY, ACCEPT_BATCH_FULL, ACCEPT_NO_FDS, ACCEPT_AT_LIMIT };

/* Errors that concern the one connection, which is gone: the next one is looked at (accept(2),
 * "Error handling"). */
static bool is_connection_error(int error)
{
	switch (error) {
	case ECONNABORTED:
	case EINTR:
	case ENETDOWN:
	case EPROTO:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

/* What a connection needs before it may be accepted. */
static enum accept_result take_place(const struct listener_set *set)
{
	struct session_ctx *ctx = set->ctx;

	if (!set->has_turn && waitq_count(&ctx->admission->queue))
		return ACCEPT_AT_LIMIT;
	if (!fd_budget_take(ctx->fds, SESSION_FDS))
		return ACCEPT_NO_FDS;
	if (admission_take(ctx->admission))
		return ACCEPT_EMPTY;
	fd_budget_give(ctx->fds, SESSION_FDS);
	return ACCEPT_AT_LIMIT;
}

static enum accept_result accept_batch(struct listener *l)
{
	struct session_ctx *ctx = l->set->ctx;

	for (int n = 0; n < LISTENER_BATCH; n++) {
		enum accept_result place = take_place(l->set);
		struct addr client;
		int fd;

		if (place != ACCEPT_EMPTY)
			return place;
		fd = net_accept(l->watch.fd, &client);
		if (fd >= 0) {
			l->set->accepted++;
			session_open(ctx, l->app, fd, &client, &l->at);
			continue;
		}
		session_give_back(ctx);
		if (fd == -EAGAIN)
			return ACCEPT_EMPTY;
		if (!is_connection_error(-fd))
			return ACCEPT_NO_FDS; /* EMFILE, ENFILE, ENOBUFS, ENOMEM */
	}
	return ACCEPT_BATCH_FULL;
}

static void pause_accept(struct listener *l, const char *why)
{
	struct listener_set *set = l->set;
	uint64_t now = set->ctx->loop->now_ns;

	/* At the limit this happens with every connection that ends: once in a while is enough to
	 * say it. */
	if (now >= set->next_warning_ns) {
		log_warning("%s", why);
		set->next_warning_ns = now + LISTENER_WARNING_MS * NSEC_PER_MSEC;
	}
	if (list_empty(&l->paused))
		list_append(&set->paused, &l->paused);
	if (!timer_armed(&set->retry))
		loop_arm_in(set->ctx->loop, &set->retry, LISTENER_RETRY_MS * NSEC_PER_MSEC);
}

/* The queue needs no bound, since there is one set a worker: joining can't fail, and if it did the
 * retry would help. */
static void wait_for_place(struct listener_set *set)
{
	if (set->waiter.queue || waitq_join(&set->ctx->admission->queue, &set->waiter, UINT32_MAX))
		return;
}

static void accept_some(struct listener *l)
{
	switch (accept_batch(l)) {
	case ACCEPT_EMPTY:
		break;
	case ACCEPT_BATCH_FULL:
		loop_again(l->set->ctx->loop, &l->more);
		break;
	case ACCEPT_NO_FDS:
		pause_accept(l, "no file descriptors are left: accepting waits until connections "
				"end; a higher limit (LimitNOFILE, ulimit -n) would allow more of "
				"them");
		break;
	case ACCEPT_AT_LIMIT:
		pause_accept(l, "the daemon's MaxConnections is reached: accepting waits until "
				"connections end");
		wait_for_place(l->set);
		break;
	}
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, watch);

	(void)events;
	if (list_empty(&l->paused))
		accept_some(l);
}

static void on_more(struct work *w)
{
	accept_some(container_of(w, struct listener, more));
}

static void resume(struct listener_set *set)
{
	struct list waiting;

	list_init(&waiting);
	list_take(&set->paused, &waiting);
	while (!list_empty(&waiting)) {
		struct listener *l = list_entry(waiting.next, struct listener, paused);

		list_del(&l->paused);
		accept_some(l);
		if (list_empty(&l->paused))
			continue;
		/* Out of fds again: the others keep their place in the queue, before this one. */
		while (!list_empty(&waiting)) {
			struct list *last = waiting.prev;

			list_del(last);
			list_push(&set->paused, last);
		}
	}
}

static void on_resume(struct work *w)
{
	resume(container_of(w, struct listener_set, resume));
}

static void on_retry(struct timer *t)
{
	resume(container_of(t, struct listener_set, retry));
}

/* Its turn to accept. If it did, and has more, the others come first. */
static void on_turn(struct waiter *w)
{
	struct listener_set *set = container_of(w, struct listener_set, waiter);
	uint64_t before = set->accepted;

	set->has_turn = true;
	resume(set);
	set->has_turn = false;
	if (!list_empty(&set->paused) && set->accepted == before) {
		waitq_stay(w);
		return;
	}
	waitq_leave(w);
	if (!list_empty(&set->paused))
		wait_for_place(set);
}

struct listener *listener_new(int fd, const struct addr *at, uint32_t keepalive_ms,
			      struct fd_budget *fds)
{
	struct listener *l = xcalloc(1, sizeof(*l));

	*l = (struct listener){
		.watch = { .fd = -1, .ready = on_ready },
		.fds = fds,
		.at = *at,
		.fd = fd,
		.keepalive_ms = keepalive_ms,
	};
	list_init(&l->paused);
	list_init(&l->link);
	work_init(&l->more, on_more);
	return l;
}

int listener_listen(struct listener *l, uint32_t backlog)
{
	int rc = net_listen(l->fd, backlog);

	if (!rc)
		l->backlog = backlog;
	return rc;
}

int listener_open(struct listener *l, struct listener_set *set, struct app *app)
{
	uint32_t shared = addr_is_ip(&l->at) ? 0 : EPOLLEXCLUSIVE;
	int rc = loop_add(set->ctx->loop, &l->watch, l->fd, EPOLLIN | EPOLLET | shared);

	if (rc)
		return rc;
	l->set = set;
	l->app = app_get(app);
	list_append(&set->listeners, &l->link);
	return 0;
}

void listener_change_app(struct listener *l, struct app *app, const struct addr *at)
{
	uint32_t keepalive_ms = app->conf->keepalive_ms, backlog = app->conf->backlog;

	app_put(l->app);
	l->app = app_get(app);
	l->at = *at;
	if (addr_is_ip(at) && keepalive_ms != l->keepalive_ms &&
	    net_set_keepalive(l->fd, keepalive_ms))
		log_warning("a listening socket of app \"%s\" keeps its old KeepAlive: %m",
			    app->conf->name);
	else
		l->keepalive_ms = keepalive_ms;
	/* On a socket that listens it changes the bound, and nothing that waits is lost. */
	if (backlog != l->backlog && listener_listen(l, backlog))
		log_warning("a listening socket of app \"%s\" keeps its old Backlog: %m",
			    app->conf->name);
}

void listener_empty(struct listener *l)
{
	while (accept_batch(l) == ACCEPT_BATCH_FULL)
		;
}

void listener_close(struct listener *l)
{
	if (l->set) /* closing one of several duplicates would leave it in epoll */
		loop_remove(l->set->ctx->loop, &l->watch);
	work_cancel(&l->more);
	list_del(&l->paused);
	list_del(&l->link);
	close(l->fd);
	fd_budget_give(l->fds, 1);
	app_put(l->app);
	free(l);
}

void listener_set_init(struct listener_set *set, struct session_ctx *ctx)
{
	*set = (struct listener_set){ .ctx = ctx };
	list_init(&set->listeners);
	list_init(&set->paused);
	timer_init(&set->retry, on_retry);
	work_init(&set->resume, on_resume);
	waiter_init(&set->waiter, &ctx->desk, on_turn);
}

void listener_set_fds_came_back(struct listener_set *set)
{
	if (!list_empty(&set->paused))
		loop_again(set->ctx->loop, &set->resume);
}

static void close_all(struct listener_set *set, bool empty)
{
	list_for_each_safe(e, &set->listeners) {
		struct listener *l = list_entry(e, struct listener, link);

		if (empty)
			listener_empty(l);
		listener_close(l);
	}
	timer_disarm(&set->ctx->loop->timers, &set->retry);
	work_cancel(&set->resume);
	waitq_leave(&set->waiter);
}

void listener_set_close(struct listener_set *set)
{
	close_all(set, true);
}

void listener_set_free(struct listener_set *set)
{
	close_all(set, false);
}
