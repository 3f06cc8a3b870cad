/* SPDX-License-Identifier: MIT */
#include "load.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net.h"

#define ERRORS_MAX 1000 /* after so many a thread gives up */
#define EVENTS_PER_TURN 64
#define TURN_MAX_MS 50
#define BULK_SENDS_PER_TURN 4 /* then the other streams have their turn */

struct conn {
	int fd;
	size_t sent, received; /* of the message under way */
	uint64_t started_ns;   /* when it (churn: its connect) began */
};

struct client {
	const struct load_conf *conf;
	pthread_t thread;
	int epoll_fd;
	unsigned int n;
	struct conn *conns;
	char *buffer;
	uint64_t measure_ns, end_ns; /* what ends between these two is measured */
	int error;                   /* why it could not start */
	struct load_result result;
};

static const char message[LOAD_MESSAGE_MAX_BYTES];

static void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* 0 or -errno. The connect may still be under way. */
static int conn_open(struct client *cl, struct conn *c)
{
	/* Messages are edge-triggered for both directions: one epoll_ctl() in a connection's life.
	 * Bulk is level-triggered, since it leaves off before the socket is full. */
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };

	if (cl->conf->kind == LOAD_BULK)
		e.events = EPOLLOUT;
	*c = (struct conn){ .started_ns = clock_ns() };
	c->fd = net_connect(&cl->conf->at);
	if (c->fd < 0)
		return c->fd;
	return epoll_ctl(cl->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) ? -errno : 0;
}

static void conn_fail(struct client *cl, struct conn *c)
{
	cl->result.errors++;
	conn_close(c);
}

static void conn_reopen(struct client *cl, struct conn *c)
{
	conn_close(c);
	if (conn_open(cl, c) < 0)
		conn_fail(cl, c);
}

/* Moves the message under way on. 1: its echo is complete; 0: to be continued; -1: error or early
 * end. */
static int conn_advance(struct client *cl, struct conn *c)
{
	size_t size = cl->conf->size;
	ssize_t n;

	while (c->sent < size) {
		n = send(c->fd, message, size - c->sent, MSG_NOSIGNAL);
		if (n < 0)
			break;
		c->sent += (size_t)n;
	}
	if (c->sent < size && errno != EAGAIN)
		return -1;
	while (c->received < c->sent) {
		n = recv(c->fd, cl->buffer, c->sent - c->received, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		c->received += (size_t)n;
	}
	return c->received == size;
}

static void message_done(struct client *cl, struct conn *c)
{
	uint64_t now = clock_ns();

	cl->result.all_messages++;
	if (now >= cl->measure_ns && now < cl->end_ns)
		histogram_add(&cl->result.latency, now - c->started_ns);
	c->sent = c->received = 0;
	c->started_ns = now;
}

static void requests_ready(struct client *cl, struct conn *c)
{
	bool churn = cl->conf->kind == LOAD_CHURN;
	int r = conn_advance(cl, c);

	if (!r)
		return;
	if (r > 0) {
		message_done(cl, c);
		/* The next echo can't be there yet, and will be an edge when it is. */
		if (!churn && conn_advance(cl, c) >= 0)
			return;
	}
	cl->result.errors += r < 0 || !churn;
	conn_reopen(cl, c);
}

static void bulk_ready(struct client *cl, struct conn *c)
{
	for (int i = 0; i < BULK_SENDS_PER_TURN; i++) {
		ssize_t n = send(c->fd, message, cl->conf->size, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			cl->result.errors++;
			conn_reopen(cl, c);
			return;
		}
	}
}

static void *client_run(void *arg)
{
	struct client *cl = arg;
	struct epoll_event events[EVENTS_PER_TURN];

	for (unsigned int i = 0; i < cl->n && !cl->error; i++)
		cl->error = conn_open(cl, &cl->conns[i]);
	while (!cl->error && clock_ns() < cl->end_ns && cl->result.errors < ERRORS_MAX) {
		int n = epoll_wait(cl->epoll_fd, events, EVENTS_PER_TURN, TURN_MAX_MS);

		for (int i = 0; i < n; i++) {
			if (cl->conf->kind == LOAD_BULK)
				bulk_ready(cl, events[i].data.ptr);
			else
				requests_ready(cl, events[i].data.ptr);
		}
	}
	for (unsigned int i = 0; i < cl->n; i++)
		conn_close(&cl->conns[i]);
	return NULL;
}

/* 0 or -errno; client_close() is due in either case. */
static int client_start(struct client *cl, const struct load_conf *conf, unsigned int nth,
			uint64_t start_ns)
{
	cl->conf = conf;
	cl->n = conf->connections / conf->threads + (nth < conf->connections % conf->threads);
	cl->conns = xcalloc(cl->n, sizeof(*cl->conns));
	for (unsigned int i = 0; i < cl->n; i++)
		cl->conns[i].fd = -1;
	cl->buffer = xcalloc(1, conf->size);
	cl->measure_ns = start_ns + conf->warmup_ms * NSEC_PER_MSEC;
	cl->end_ns = cl->measure_ns + conf->measure_ms * NSEC_PER_MSEC;
	cl->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (cl->epoll_fd < 0)
		return -errno;
	return -pthread_create(&cl->thread, NULL, client_run, cl);
}

static void client_close(struct client *cl)
{
	if (cl->epoll_fd >= 0)
		close(cl->epoll_fd);
	free(cl->conns);
	free(cl->buffer);
}

static void sleep_until(uint64_t at_ns)
{
	struct timespec at = { .tv_sec = (time_t)(at_ns / NSEC_PER_SEC),
			       .tv_nsec = (long)(at_ns % NSEC_PER_SEC) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
		;
}

static void tell_window(const struct load_conf *conf, uint64_t start_ns)
{
	uint64_t measure_ns = start_ns + conf->warmup_ms * NSEC_PER_MSEC;

	sleep_until(measure_ns);
	conf->on_window(conf->arg, true);
	sleep_until(measure_ns + conf->measure_ms * NSEC_PER_MSEC);
	conf->on_window(conf->arg, false);
}

int load_run(const struct load_conf *conf, struct load_result *out)
{
	struct client *clients = xcalloc(conf->threads, sizeof(*clients));
	uint64_t start_ns = clock_ns();
	unsigned int started = 0;
	int rc = 0;

	*out = (struct load_result){ 0 };
	while (!rc && started < conf->threads) {
		rc = client_start(&clients[started], conf, started, start_ns);
		if (rc)
			client_close(&clients[started]);
		else
			started++;
	}
	if (!rc && conf->on_window)
		tell_window(conf, start_ns);
	for (unsigned int i = 0; i < started; i++) {
		struct client *cl = &clients[i];

		pthread_join(cl->thread, NULL);
		histogram_merge(&out->latency, &cl->result.latency);
		out->all_messages += cl->result.all_messages;
		out->errors += cl->result.errors;
		rc = rc ? rc : cl->error;
		client_close(cl);
	}
	free(clients);
	return rc;
}
