/* SPDX-License-Identifier: MIT */
/*
 * The servers of a load: threads that share nothing but the counter, each with its own listening
 * socket and epoll set. An echo connection's bytes that could not be sent yet wait in its buffer,
 * which is never added to, so a client that does not read stops its own sending.
 */
#include "load.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net.h"

#define EVENTS_PER_TURN 64

struct server {
	int epoll_fd, listener;
	bool echo;
	atomic_uint_fast64_t *received;
};

struct served {
	int fd;
	size_t from, to;
	char buffer[65536];
};

static int watch(int epoll_fd, int fd, uint32_t events, void *data)
{
	struct epoll_event e = { .events = events, .data.ptr = data };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void count(const struct server *s, ssize_t n)
{
	if (s->received)
		atomic_fetch_add_explicit(s->received, (uint_fast64_t)n, memory_order_relaxed);
}

/* 0: to be continued; -1: it is over. So is sink_advance(). */
static int echo_advance(const struct server *s, struct served *c)
{
	for (;;) {
		ssize_t n;

		while (c->from < c->to) {
			n = send(c->fd, c->buffer + c->from, c->to - c->from, MSG_NOSIGNAL);
			if (n < 0)
				return errno == EAGAIN ? 0 : -1;
			c->from += (size_t)n;
		}
		n = recv(c->fd, c->buffer, sizeof(c->buffer), 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		count(s, n);
		c->from = 0;
		c->to = (size_t)n;
	}
}

/* One read, and then the next connection: a stream that never runs dry holds up no other. */
static int sink_advance(const struct server *s, struct served *c)
{
	ssize_t n = recv(c->fd, c->buffer, sizeof(c->buffer), 0);

	if (n <= 0)
		return n < 0 && errno == EAGAIN ? 0 : -1;
	count(s, n);
	return 0;
}

static void accept_all(const struct server *s)
{
	uint32_t events = s->echo ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN;
	struct addr peer;
	int fd;

	/* epoll holds what the loop lets go, and hands it back with each event. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	while ((fd = net_accept(s->listener, &peer)) >= 0) {
		struct served *c = malloc(sizeof(*c));

		if (c) {
			c->fd = fd;
			c->from = c->to = 0;
		}
		if (!c || watch(s->epoll_fd, fd, events, c)) {
			free(c);
			close(fd);
		}
	}
}

static void *server_run(void *arg)
{
	struct server *s = arg;
	struct epoll_event events[EVENTS_PER_TURN];

	for (;;) {
		int n = epoll_wait(s->epoll_fd, events, EVENTS_PER_TURN, -1);

		for (int i = 0; i < n; i++) {
			struct served *c = events[i].data.ptr;

			if (!c) {
				accept_all(s);
			} else if ((s->echo ? echo_advance(s, c) : sink_advance(s, c)) < 0) {
				close(c->fd);
				free(c);
			}
		}
	}
	return NULL;
}

static int server_open(struct server *s, const struct load_server_conf *conf, bool shared)
{
	int rc;

	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return -errno;
	s->listener = net_bind(&conf->at, 0, shared);
	if (s->listener < 0)
		return s->listener;
	rc = net_listen(s->listener, NET_BACKLOG);
	if (!rc && watch(s->epoll_fd, s->listener, EPOLLIN, NULL))
		rc = -errno;
	return rc;
}

static void server_free(struct server *s)
{
	if (s->listener >= 0)
		close(s->listener);
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	free(s);
}

int load_serve(const struct load_server_conf *conf)
{
	for (unsigned int i = 0; i < conf->threads; i++) {
		struct server *s = xcalloc(1, sizeof(*s));
		pthread_t thread;
		int rc;

		*s = (struct server){ -1, -1, conf->echo, conf->received };
		rc = server_open(s, conf, i > 0);
		if (!rc)
			rc = -pthread_create(&thread, NULL, server_run, s);
		if (rc) {
			server_free(s);
			return rc;
		}
		pthread_detach(thread);
	}
	return 0;
}
