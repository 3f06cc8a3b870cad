/* SPDX-License-Identifier: MIT */
#include "health_check.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

static void on_timeout(struct timer *t);
static void on_event(struct watch *w, uint32_t events);

void health_check_init(struct health_check *c, struct loop *loop,
		       void (*done)(struct health_check *c, const struct check_outcome *o))
{
	*c = (struct health_check){
		.loop = loop,
		.watch = { .fd = -1, .ready = on_event },
		.done = done,
	};
	timer_init(&c->timeout, on_timeout);
}

bool health_check_under_way(const struct health_check *c)
{
	return c->watch.fd >= 0;
}

void health_check_abandon(struct health_check *c)
{
	int fd = c->watch.fd;

	timer_disarm(&c->loop->timers, &c->timeout);
	if (fd < 0)
		return;
	loop_forget(c->loop, &c->watch);
	net_reset(fd);
}

static void end(struct health_check *c, enum check_result result, int error)
{
	struct check_outcome o = { result, error, clock_ns() - c->began_ns };

	health_check_abandon(c);
	c->done(c, &o);
}

static enum check_result result_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return CHECK_REFUSED;
	case ECONNRESET:
	case EPIPE:
		return CHECK_RESET;
	case ETIMEDOUT:
		return CHECK_TIMEOUT;
	default:
		return CHECK_UNREACHABLE;
	}
}

static void fail(struct health_check *c, int error)
{
	end(c, result_of(error), error);
}

/* --- the conversation ------------------------------------------------------------------------ */

/* A new socket always has room for all of it. False: it has ended. */
static bool send_header(struct health_check *c)
{
	struct addr own = { 0 }, peer = { 0 };
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
	uint8_t data[PROXY_HEADER_MAX_BYTES];
	size_t len;
	ssize_t n;

	if (c->header == PROXY_HEADER_NONE || c->header_sent)
		return true;
	if (getsockname(c->watch.fd, &own.sa, &own_len) ||
	    getpeername(c->watch.fd, &peer.sa, &peer_len)) {
		fail(c, errno);
		return false;
	}
	len = proxy_header_write_own(data, c->header, &own, &peer);
	n = send(c->watch.fd, data, len, MSG_NOSIGNAL);
	if (n != (ssize_t)len) {
		fail(c, n < 0 ? errno : ENOBUFS);
		return false;
	}
	c->header_sent = true;
	return true;
}

/* False: it has ended, or waits for room. */
static bool send_rest(struct health_check *c)
{
	const struct health_bytes *bytes = &c->conf->send;

	while (c->n_sent < bytes->n) {
		ssize_t n = send(c->watch.fd, bytes->data + c->n_sent, bytes->n - c->n_sent,
				 MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			fail(c, errno);
		if (n < 0)
			return false;
		c->n_sent += (size_t)n;
	}
	return true;
}

/*
 * Goes on looking for the wanted bytes, of which `matched` are the end of what came before, and
 * returns how many are now: wanted->n when they have been found. (Knuth, Morris, Pratt, "Fast
 * Pattern Matching in Strings", 1977.)
 */
static size_t match(const struct health_bytes *wanted, size_t matched, const uint8_t *data,
		    size_t n)
{
	size_t back[HEALTH_BYTES_MAX + 1] = { 0 }; /* of so many matched, the longest end that is
						      a beginning, too */

	for (size_t i = 1, k = 0; i < wanted->n; back[++i] = k) {
		while (k && wanted->data[k] != wanted->data[i])
			k = back[k];
		k += wanted->data[k] == wanted->data[i];
	}
	for (size_t i = 0; i < n && matched < wanted->n; i++) {
		while (matched && wanted->data[matched] != data[i])
			matched = back[matched];
		matched += wanted->data[matched] == data[i];
	}
	return matched;
}

/* Reads what is there; ends when the answer is right, or can't be any more. */
static void read_answer(struct health_check *c)
{
	uint8_t data[4096];

	for (;;) {
		ssize_t n = recv(c->watch.fd, data, sizeof(data), 0);

		if (n < 0) {
			if (errno != EAGAIN)
				fail(c, errno);
			return;
		}
		c->n_answer += (size_t)n;
		c->matched = match(&c->conf->expect, c->matched, data, (size_t)n);
		if (c->matched == c->conf->expect.n) {
			end(c, CHECK_PASSED, 0);
			return;
		}
		if (!n || c->n_answer >= HEALTH_ANSWER_MAX_BYTES) {
			end(c, c->n_answer ? CHECK_MISMATCH : CHECK_CLOSED, 0);
			return;
		}
	}
}

/* Edge-triggered, and each step goes on until the kernel says "later": no event is waited for that
 * has been. */
static void go_on(struct health_check *c, uint32_t events)
{
	int error = events & (EPOLLERR | EPOLLHUP) ? net_error(c->watch.fd) : 0;

	if (error) {
		fail(c, error);
		return;
	}
	if (!(events & EPOLLOUT) && !c->n_sent)
		return; /* not connected yet */
	if (!send_header(c) || !send_rest(c))
		return;
	if (c->conf->expect.n)
		read_answer(c);
	else
		end(c, CHECK_PASSED, 0);
}

static void on_event(struct watch *w, uint32_t events)
{
	go_on(container_of(w, struct health_check, watch), events);
}

/*
 * The thread may be late, too: what has come by now counts. So a busy daemon never takes a good
 * address down.
 */
static void on_timeout(struct timer *t)
{
	struct health_check *c = container_of(t, struct health_check, timeout);
	struct pollfd p = { .fd = c->watch.fd, .events = POLLIN | POLLOUT };

	if (poll(&p, 1, 0) > 0)
		go_on(c, (uint32_t)(unsigned short)p.revents); /* EPOLL bits are those of poll(2) */
	if (health_check_under_way(c))
		end(c, c->n_answer ? CHECK_MISMATCH : CHECK_TIMEOUT, ETIMEDOUT);
}
_Static_assert(POLLOUT == EPOLLOUT && POLLERR == EPOLLERR && POLLHUP == EPOLLHUP, "as it says");

/* From one address; NULL: as the kernel chooses. The fd or -errno. */
static int connect_from(const struct addr *source, const struct addr *to)
{
	int fd = net_open(to), rc;

	if (fd < 0)
		return fd;
	rc = source ? net_bind_source(fd, source, false) : 0;
	if (!rc)
		rc = net_start(fd, to);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* As connections do, but for the turns: a check asks whether they get through. */
static int connect_from_any(const struct addr_range_list *sources, const struct addr *to)
{
	int rc = -EPFNOSUPPORT;

	if (!sources || !sources->n || !addr_is_ip(to))
		return connect_from(NULL, to);
	for (size_t i = 0; i < sources->n; i++) {
		const struct addr *source = &sources->at[i].host;

		if (source->sa.sa_family != to->sa.sa_family)
			continue;
		rc = connect_from(source, to);
		if (rc != -EADDRNOTAVAIL)
			break;
	}
	return rc;
}

int health_check_start(struct health_check *c, const struct addr *at,
		       const struct health_conf *conf)
{
	int fd, rc;

	c->conf = conf;
	c->began_ns = clock_ns();
	c->n_sent = c->n_answer = c->matched = 0;
	c->header_sent = false;
	fd = connect_from_any(c->sources, at);
	if (fd < 0 && !net_is_shortage(-fd)) {
		struct check_outcome o = { result_of(-fd), -fd, clock_ns() - c->began_ns };

		c->done(c, &o);
		return 0;
	}
	if (fd < 0)
		return fd;
	rc = loop_add(c->loop, &c->watch, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	if (rc) {
		close(fd);
		return rc;
	}
	timer_arm(&c->loop->timers, &c->timeout, c->began_ns + conf->timeout_ms * NSEC_PER_MSEC);
	return 0;
}
