/* SPDX-License-Identifier: MIT */
/*
 * The way of a connection, from top to bottom: accept, pick, connect, relay, close. One function
 * changes the state, one closes, one line logs it.
 */
#include "session.h"

#include <assert.h>
#include <unistd.h>

#include "net.h"
#include "session_brief.h"
#include "session_connect.h"
#include "session_header.h"
#include "session_log.h"
#include "session_queue.h"
#include "session_source.h"
#include "session_target.h"

#define SIDE_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)

/* From each state, the states that may follow it. */
#define TO(state) (1u << (state))
static const unsigned int transitions[N_SESSION_STATES] = {
	[SESSION_ACCEPTED] = TO(SESSION_HEADER) | TO(SESSION_QUEUED) | TO(SESSION_CONNECTING) |
			     TO(SESSION_CLOSED),
	[SESSION_HEADER] = TO(SESSION_QUEUED) | TO(SESSION_CONNECTING) | TO(SESSION_CLOSED),
	[SESSION_QUEUED] = TO(SESSION_QUEUED) | TO(SESSION_CONNECTING) | TO(SESSION_CLOSED),
	[SESSION_CONNECTING] = TO(SESSION_CONNECTING) | TO(SESSION_QUEUED) | TO(SESSION_RELAYING) |
			       TO(SESSION_CLOSED),
	[SESSION_RELAYING] = TO(SESSION_HALF_CLOSED) | TO(SESSION_CLOSED),
	[SESSION_HALF_CLOSED] = TO(SESSION_CLOSED),
};

static void session_set_state(struct session *s, enum session_state to)
{
	assert(transitions[s->state] & TO(to));
	s->state = to;
}

/* --- time ------------------------------------------------------------------------------------ */

static uint64_t after_ms(uint64_t from_ns, uint32_t ms)
{
	return ms ? from_ns + ms * NSEC_PER_MSEC : UINT64_MAX;
}

/* When the session, as it stands now, will have taken too long. */
static uint64_t timeout_ns(const struct session *s)
{
	const struct app_conf *conf = s->app->conf;
	uint64_t idle = after_ms(s->active_ns, conf->idle_timeout_ms);

	switch (s->state) {
	case SESSION_HEADER:
		return after_ms(s->opened_ns, conf->proxy_protocol.timeout_ms);
	case SESSION_QUEUED:
		return after_ms(s->queued_ns, conf->queue_timeout_ms);
	case SESSION_CONNECTING:
		return after_ms(s->connecting_ns, conf->connect_timeout_ms);
	case SESSION_RELAYING:
		return idle;
	case SESSION_HALF_CLOSED:
		return MIN(idle, after_ms(s->active_ns, conf->half_close_timeout_ms));
	default:
		return UINT64_MAX;
	}
}

/* When the timer has something to do, as things stand now. */
static uint64_t deadline_ns(const struct session *s)
{
	const uint64_t dues[] = { s->look_at_ns, s->pump_at_ns, s->keepalive_ns };
	uint64_t first = timeout_ns(s);

	for (size_t i = 0; i < ARRAY_SIZE(dues); i++)
		if (dues[i])
			first = MIN(first, dues[i]);
	return first;
}

/*
 * Lazy: activity only moves the deadline; the timer stays where it is, looks at the deadline when
 * it fires and goes there. So a busy flow costs the wheel nothing, and an idle one a glance each
 * IdleTimeout.
 */
static void update_timer(struct session *s)
{
	uint64_t at = deadline_ns(s);

	if (at != UINT64_MAX && (!timer_armed(&s->timer) || at < s->timer.at_ns))
		timer_arm(&s->ctx->loop->timers, &s->timer, at);
}

/* --- connect --------------------------------------------------------------------------------- */

static void start_relaying(struct session *s);

static enum close_reason connect_failure_reason(const struct session *s)
{
	if (net_is_shortage(s->connect_error))
		return CLOSE_NO_RESOURCES;
	if (session_target_none_enabled(s))
		return CLOSE_NO_ENABLED_BACKEND;
	return s->connect_error == ETIMEDOUT ? CLOSE_CONNECT_TIMEOUT : CLOSE_NO_BACKEND;
}

/* Is there a place for it in the app, and somewhere to connect to? */
static enum target_search find_target(struct session *s)
{
	return session_queue_enter_app(s) ? session_target_next(s) : TARGET_FULL;
}

static void wait_for_place(struct session *s)
{
	enum close_reason refused;

	if (!session_queue_wait(s, &refused)) {
		session_close(s, refused);
		return;
	}
	session_set_state(s, SESSION_QUEUED);
	update_timer(s);
}

static void connect_next(struct session *s)
{
	struct side *backend = &s->relay.side[BACKEND];
	enum target_search found;

	while ((found = find_target(s)) == TARGET_FOUND) {
		int fd = session_connect(s), rc;

		if (fd == -EPFNOSUPPORT) {
			s->connect_error = EPFNOSUPPORT;
			continue;
		}
		if (fd < 0 && net_is_shortage(-fd)) {
			s->connect_error = -fd;
			break;
		}
		if (fd < 0) {
			session_target_failed(s, -fd);
			continue;
		}
		rc = loop_add(s->ctx->loop, &backend->watch, fd, SIDE_EVENTS);
		if (rc) {
			close(fd);
			s->connect_error = -rc;
			break;
		}
		session_set_state(s, SESSION_CONNECTING);
		session_queue_leave(s);
		s->connecting_ns = s->ctx->loop->now_ns;
		update_timer(s);
		return;
	}
	if (found == TARGET_FULL)
		wait_for_place(s);
	else
		session_close(s, connect_failure_reason(s));
}

/* It is the first in the queue, and a place has come free. */
static void on_turn(struct waiter *w)
{
	connect_next(container_of(w, struct session, waiter));
}

static void give_up_attempt(struct session *s)
{
	struct watch *w = &s->relay.side[BACKEND].watch;
	int fd = w->fd;

	loop_forget(s->ctx->loop, w);
	close(fd);
	s->relay.side[BACKEND] = (struct side){ .watch = *w };
	session_header_rewind(s);
}

static void fail_over(struct session *s, int error)
{
	give_up_attempt(s);
	session_target_failed(s, error);
	connect_next(s);
}

void session_leave_backend(struct session *s, enum close_reason reason)
{
	if (s->state != SESSION_CONNECTING) {
		session_close(s, reason);
		return;
	}
	give_up_attempt(s);
	connect_next(s);
}

/*
 * An error before the first byte, even a RST just after the handshake, is the backend's refusal:
 * nothing has been sent yet that another backend would not get.
 */
static void on_connect_event(struct session *s, uint32_t events)
{
	int fd = s->relay.side[BACKEND].watch.fd, rc;

	if (side_is_broken(&s->relay.side[BACKEND], events)) {
		int error = net_error(fd);

		fail_over(s, error ? error : ECONNRESET);
		return;
	}
	if (!(events & EPOLLOUT))
		return;
	rc = session_header_send(s, fd);
	if (rc == -EAGAIN)
		return;
	if (rc) {
		fail_over(s, -rc);
		return;
	}
	side_note_events(&s->relay.side[BACKEND], events);
	session_target_answered(s);
	start_relaying(s);
}

/* It is known who the client is. */
static void admit(struct session *s)
{
	enum close_reason refused;

	list_del(&s->waiting_link);
	if (session_source_admit(s, &refused))
		connect_next(s);
	else
		session_close(s, refused);
}

/* --- the client's PROXY header --------------------------------------------------------------- */

static void read_header(struct session *s)
{
	enum close_reason why;
	int rc = session_header_read(s, &why);

	if (!rc)
		admit(s);
	else if (rc != -EAGAIN)
		session_close(s, why);
}

/* Its bytes make edges: those that are there already, too, as its socket has just been added. */
static void await_header(struct session *s)
{
	if (!session_header_is_trusted(s)) {
		session_close(s, CLOSE_HEADER_UNTRUSTED);
		return;
	}
	session_set_state(s, SESSION_HEADER);
	list_append(&s->ctx->waiting, &s->waiting_link);
	update_timer(s);
}

/* --- relay ----------------------------------------------------------------------------------- */

static enum close_reason failure_reason(int side, int error)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
	case ENOTCONN:
		return side == CLIENT ? CLOSE_CLIENT_RESET : CLOSE_BACKEND_RESET;
	case ENOMEM:
	case ENOBUFS:
		return CLOSE_NO_RESOURCES;
	case ETIMEDOUT: /* keepalive or retransmissions went unanswered */
	case EHOSTUNREACH:
	case ENETUNREACH:
		return side == CLIENT ? CLOSE_CLIENT_LOST : CLOSE_BACKEND_LOST;
	default:
		return CLOSE_INTERNAL;
	}
}

/* Moves what can be moved. False: the session has been closed. */
static bool pump(struct session *s)
{
	struct relay *r = &s->relay;

	s->pump_at_ns = 0;
	for (int from = 0; from < 2; from++) {
		int rc = relay_pump(r, from);

		if (rc < 0) {
			session_close(s, failure_reason(r->failed_side, -rc));
			return false;
		}
		if (rc == PUMP_MORE)
			loop_again(s->ctx->loop, &s->pump);
		if (rc == PUMP_LATER)
			s->pump_at_ns = s->ctx->loop->now_ns + PUMP_LATER_MS * NSEC_PER_MSEC;
	}
	if (r->moved != s->seen_moved) {
		s->seen_moved = r->moved;
		s->active_ns = s->ctx->loop->now_ns;
	}
	if (relay_is_done(r)) {
		session_close(s, CLOSE_DONE);
		return false;
	}
	if (s->state == SESSION_RELAYING && (r->dir[CLIENT].ended || r->dir[BACKEND].ended)) {
		session_set_state(s, SESSION_HALF_CLOSED);
		s->active_ns = s->ctx->loop->now_ns;
		update_timer(s);
	}
	if (s->pump_at_ns)
		update_timer(s);
	return true;
}

static void on_relay_event(struct session *s, int side, uint32_t events)
{
	int error;

	side_note_events(&s->relay.side[side], events);
	if (!pump(s) || !(events & EPOLLERR))
		return;
	/* A RST cuts through what waits for the other side, as it would without a proxy between
	 * them. */
	error = net_error(s->relay.side[side].watch.fd);
	session_close(s, failure_reason(side, error ? error : ECONNRESET));
}

static void start_relaying(struct session *s)
{
	session_set_state(s, SESSION_RELAYING);
	s->connected_ns = s->active_ns = s->ctx->loop->now_ns;
	buckets_add(&s->app->shared->connect_time, &connect_bounds,
		    s->connected_ns - s->connecting_ns);
	free(s->tried);
	s->tried = NULL;
	session_header_close(s);
	session_keep_alive_later(s);
	update_timer(s);
	relay_begin(&s->relay);
	if (pump(s))
		session_ack(s);
}

static void on_pump_again(struct work *w)
{
	pump(container_of(w, struct session, pump));
}

void session_wake(struct relay *r)
{
	struct session *s = container_of(r, struct session, relay);

	loop_again(s->ctx->loop, &s->pump);
}

/* What moved without a pump is activity, too. */
static void note_activity(struct session *s)
{
	uint64_t active_ns = relay_refresh(&s->relay);

	s->active_ns = MAX(s->active_ns, active_ns);
	s->seen_moved = s->relay.moved;
}

static void on_client_event(struct watch *w, uint32_t events)
{
	struct session *s = container_of(w, struct session, relay.side[CLIENT].watch);

	if (s->state >= SESSION_RELAYING) {
		on_relay_event(s, CLIENT, events);
		return;
	}
	side_note_events(&s->relay.side[CLIENT], events);
	/* A FIN may be half of a conversation (the request is sent, the answer awaited); a RST is
	 * its end. */
	if (side_is_broken(&s->relay.side[CLIENT], events))
		session_close(s, CLOSE_CLIENT_RESET);
	else if (s->state == SESSION_HEADER)
		read_header(s);
}

static void on_backend_event(struct watch *w, uint32_t events)
{
	struct session *s = container_of(w, struct session, relay.side[BACKEND].watch);

	if (s->state == SESSION_CONNECTING)
		on_connect_event(s, events);
	else
		on_relay_event(s, BACKEND, events);
}

static void on_timer(struct timer *t)
{
	struct session *s = container_of(t, struct session, timer);
	uint64_t now = s->ctx->loop->now_ns, idle_ns;
	uint32_t half_close_ms = s->app->conf->half_close_timeout_ms;

	if (s->pump_at_ns && s->pump_at_ns <= now && !pump(s))
		return;
	session_keep_alive(s);
	note_activity(s);
	idle_ns = now > s->active_ns ? now - s->active_ns : 0;
	if (s->look_at_ns && s->look_at_ns <= now) {
		s->look_at_ns = 0;
		session_queue_kick(s);
	}
	if (deadline_ns(s) > now)
		update_timer(s);
	else if (s->state == SESSION_HEADER)
		session_close(s, CLOSE_HEADER_TIMEOUT);
	else if (s->state == SESSION_QUEUED)
		session_close(s, CLOSE_QUEUE_TIMEOUT);
	else if (s->state == SESSION_CONNECTING)
		fail_over(s, ETIMEDOUT);
	else if (s->state == SESSION_HALF_CLOSED && idle_ns >= after_ms(0, half_close_ms))
		session_close(s, CLOSE_HALF_CLOSE_TIMEOUT);
	else
		session_close(s, CLOSE_IDLE_TIMEOUT);
}

/* --- close ----------------------------------------------------------------------------------- */

static void count_bytes(struct session *s, int from, _Atomic uint64_t *backend,
			_Atomic uint64_t *app)
{
	uint64_t bytes = s->relay.dir[from].bytes, more = bytes - s->counted[from];

	atomic_fetch_add_explicit(backend, more, memory_order_relaxed);
	atomic_fetch_add_explicit(app, more, memory_order_relaxed);
	s->counted[from] = bytes;
}

void session_count_bytes(struct session *s)
{
	struct app_shared *app = s->app->shared;

	note_activity(s);
	if (!s->backend)
		return;
	count_bytes(s, CLIENT, &s->backend->bytes_to_backend, &app->bytes_to_backend);
	count_bytes(s, BACKEND, &s->backend->bytes_to_client, &app->bytes_to_client);
}

static void count_close(struct session *s, enum close_reason reason)
{
	struct app_shared *app = s->app->shared;

	atomic_fetch_add_explicit(&app->closed[reason], 1, memory_order_relaxed);
	if (s->connected_ns)
		buckets_add(&app->duration, &connection_bounds,
			    s->ctx->loop->now_ns - s->opened_ns);
	session_count_bytes(s);
	session_brief_note(s);
}

static void close_side(struct session *s, int i, bool reset)
{
	struct watch *w = &s->relay.side[i].watch;
	int fd = w->fd;

	if (fd < 0)
		return;
	loop_forget(s->ctx->loop, w);
	if (reset)
		net_reset(fd);
	else
		close(fd);
}

static void on_destroy(struct work *w)
{
	struct session *s = container_of(w, struct session, destroy);

	app_put(s->app);
	session_header_close(s);
	free(s->tried);
	free(s);
}

void session_give_back(struct session_ctx *ctx)
{
	fd_budget_give(ctx->fds, SESSION_FDS);
	admission_give(ctx->admission);
}

void session_close(struct session *s, enum close_reason reason)
{
	struct session_ctx *ctx = s->ctx;
	bool cut, reset;

	note_activity(s);
	cut = s->state == SESSION_HALF_CLOSED || !relay_is_dry(&s->relay);
	reset = close_reasons[reason].resets || (reason != CLOSE_DONE && cut);
	session_log_close(s, reason);
	count_close(s, reason);
	session_set_state(s, SESSION_CLOSED);
	close_side(s, CLIENT, reset);
	close_side(s, BACKEND, reset);
	relay_release(&s->relay);
	session_queue_end(s);
	session_source_leave(s);
	timer_disarm(&ctx->loop->timers, &s->timer);
	work_cancel(&s->pump);
	list_del(&s->link);
	ctx->n_sessions--;
	session_give_back(ctx);
	loop_defer(ctx->loop, &s->destroy);
	ctx->on_closed(ctx);
}

/* --- accept ---------------------------------------------------------------------------------- */

static struct session *session_new(struct session_ctx *ctx, struct app *app,
				   const struct addr *client, const struct addr *listener)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->ctx = ctx;
	s->app = app_get(app);
	s->client = *client;
	s->listener = *listener;
	s->opened_ns = s->active_ns = ctx->loop->now_ns;
	relay_init(&s->relay, &ctx->pools, app->engine, app->conf->wire);
	s->relay.side[CLIENT].is_unix = !addr_is_ip(client);
	s->relay.may_bypass = app->conf->local_bypass;
	s->relay.bypass_off = atomic_load(&app->shared->bypass_off);
	s->relay.side[CLIENT].watch.ready = on_client_event;
	s->relay.side[BACKEND].watch.ready = on_backend_event;
	timer_init(&s->timer, on_timer);
	work_init(&s->pump, on_pump_again);
	work_init(&s->destroy, on_destroy);
	list_init(&s->waiting_link);
	waiter_init(&s->waiter, &ctx->desk, on_turn);
	list_push(&ctx->sessions, &s->link);
	ctx->n_sessions++;
	return s;
}

static void begin(struct session *s)
{
	if (!session_connect_late(s) && !session_brief_late(s))
		relay_prepare(&s->relay, -1);
	if (session_header_is_awaited(s))
		await_header(s);
	else
		admit(s);
}

void session_open(struct session_ctx *ctx, struct app *app, int fd, const struct addr *client,
		  const struct addr *listener)
{
	struct session *s = session_new(ctx, app, client, listener);
	int rc;

	atomic_fetch_add_explicit(&app->shared->accepted, 1, memory_order_relaxed);
	if (!s) {
		atomic_fetch_add_explicit(&app->shared->closed[CLOSE_NO_RESOURCES], 1,
					  memory_order_relaxed);
		net_reset(fd);
		session_give_back(ctx);
		return;
	}
	rc = loop_add(ctx->loop, &s->relay.side[CLIENT].watch, fd, SIDE_EVENTS);
	if (rc)
		net_reset(fd);
	else
		rc = session_header_open(s);
	if (rc)
		session_close(s, CLOSE_NO_RESOURCES);
	else
		begin(s);
}
