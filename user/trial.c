/* SPDX-License-Identifier: MIT */
#include "trial.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_bypass.h"
#include "net.h"

#include "engine_sockmap.h"

#define SIDE_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET)

static socklen_t loopback(int family, struct sockaddr_storage *a)
{
	*a = (struct sockaddr_storage){ 0 };
	if (family == AF_INET6) {
		*(struct sockaddr_in6 *)a = (struct sockaddr_in6){
			.sin6_family = AF_INET6,
			.sin6_addr = IN6ADDR_LOOPBACK_INIT,
		};
		return sizeof(struct sockaddr_in6);
	}
	*(struct sockaddr_in *)a = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	return sizeof(struct sockaddr_in);
}

/* The client connects to the relay's listener. 0 or -errno. */
static int announce(const struct trial_conf *conf, const struct sockaddr_storage *a, bool on)
{
	struct addr at;

	if (!conf->bypass || conf->is_remote[CLIENT])
		return 0;
	memcpy(&at, a, sizeof(at));
	return bypass_listen(conf->bypass, &at, on);
}

/* A listener and a connection to it; what fails is left at -1. */
static int connect_through(struct trial *t, const struct trial_conf *conf, int side, int listener,
			   int fds[2])
{
	struct sockaddr_storage a;
	socklen_t len = loopback(conf->family, &a);
	int sndbuf = conf->sndbuf, rc;

	if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &len))
		return -errno;
	fds[0] = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fds[0] < 0)
		return -errno;
	if (sndbuf && setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)))
		return -errno;
	if (side == BACKEND && !conf->is_remote[BACKEND])
		relay_prepare(&t->relay, fds[0]);
	rc = side == CLIENT ? announce(conf, &a, true) : 0;
	if (rc)
		return rc;
	if (connect(fds[0], (struct sockaddr *)&a, len))
		return -errno;
	fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fds[1] < 0)
		return -errno;
	/* Nobody saw it connect. */
	if (side == BACKEND && conf->is_remote[BACKEND])
		relay_prepare(&t->relay, fds[0]);
	return side == CLIENT ? announce(conf, &a, false) : 0;
}

/* The relay's socket is the first, and connects; as a proxy's to the client does not, which matters
 * to the bypass alone. */
static int connect_pair(struct trial *t, const struct trial_conf *conf, int side, int fds[2])
{
	int family = conf->family ? conf->family : AF_INET, rc;
	int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

	fds[0] = fds[1] = -1;
	if (listener < 0)
		return -errno;
	rc = connect_through(t, conf, side, listener, fds);
	close(listener);
	if (conf->bypass && side == CLIENT) {
		int accepted = fds[1];

		fds[1] = fds[0];
		fds[0] = accepted;
	}
	return rc;
}

static void on_side(struct trial *t, int side, uint32_t events)
{
	side_note_events(&t->relay.side[side], events);
	t->again = true;
}

static void on_client_event(struct watch *w, uint32_t events)
{
	on_side(container_of(w, struct trial, relay.side[CLIENT].watch), CLIENT, events);
}

static void on_backend_event(struct watch *w, uint32_t events)
{
	on_side(container_of(w, struct trial, relay.side[BACKEND].watch), BACKEND, events);
}

static void on_wake(struct relay *r)
{
	container_of(r, struct trial, relay)->again = true;
}

int trial_connect(struct trial *t, const struct trial_conf *conf)
{
	relay_init(&t->relay, &t->host->pools, conf->engine, false);
	t->relay.side[CLIENT].watch.ready = on_client_event;
	t->relay.side[BACKEND].watch.ready = on_backend_event;
	t->relay.may_bypass = conf->bypass;
	t->outer[CLIENT] = t->outer[BACKEND] = -1;
	t->again = t->later = false;
	for (int i = 0; i < 2; i++) {
		int fds[2], rc = connect_pair(t, conf, i, fds);

		t->outer[i] = fds[1];
		if (!rc)
			rc = loop_add(&t->host->loop, &t->relay.side[i].watch, fds[0], SIDE_EVENTS);
		if (rc) {
			if (fds[0] >= 0)
				close(fds[0]);
			return rc;
		}
	}
	bypass_begin(&t->relay);
	return 0;
}

/* By RSTs: a port in TIME_WAIT could be one that the daemon is about to listen on. */
void trial_disconnect(struct trial *t)
{
	for (int i = 0; i < 2; i++) {
		int fd = t->relay.side[i].watch.fd;

		loop_remove(&t->host->loop, &t->relay.side[i].watch);
		if (fd >= 0)
			net_reset(fd);
		if (t->outer[i] >= 0)
			net_reset(t->outer[i]);
		t->outer[i] = -1;
	}
	relay_release(&t->relay);
}

int trial_open(struct trial *t, const struct trial_conf *conf)
{
	int rc;

	*t = (struct trial){ .host = conf->host ? conf->host : t };
	if (conf->host)
		return trial_connect(t, conf);
	rc = loop_init(&t->loop);
	relay_init(&t->relay, &t->pools, conf->engine, false);
	t->outer[CLIENT] = t->outer[BACKEND] = -1;
	if (!rc)
		rc = relay_pools_init(&t->pools, conf->max_buffers, 0);
	t->pools.loop = &t->loop;
	t->pools.wake = on_wake;
	if (!rc && conf->sockmap)
		rc = sockmap_share_open(conf->sockmap, 0, &t->pools);
	if (conf->bypass)
		bypass_share_open(conf->bypass, 0, &t->pools);
	return rc ? rc : trial_connect(t, conf);
}

void trial_close(struct trial *t)
{
	trial_disconnect(t);
	if (t->host != t)
		return;
	sockmap_share_close(&t->pools);
	bypass_share_close(&t->pools);
	relay_pools_close(&t->pools);
	loop_close(&t->loop);
}

int trial_pump(struct trial *t)
{
	int rc = 0;

	t->again = t->later = false;
	for (int from = 0; !rc && from < 2; from++) {
		int pumped = relay_pump(&t->relay, from);

		if (pumped < 0)
			rc = pumped;
		if (pumped == PUMP_MORE)
			t->again = true;
		if (pumped == PUMP_LATER)
			t->later = true;
	}
	return rc;
}

int trial_turn(struct trial *t, int max_wait_ms)
{
	int wait = t->again ? 0 : t->later ? MIN(max_wait_ms, PUMP_LATER_MS) : max_wait_ms;
	int rc = loop_turn(&t->loop, wait);

	return rc ? rc : trial_pump(t);
}
