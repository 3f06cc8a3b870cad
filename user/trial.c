/* SPDX-License-Identifier: MIT */
#include "trial.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* A listener and a connection to it; what fails is left at -1. */
static int connect_through(int listener, int family, int sndbuf, int fds[2])
{
	struct sockaddr_storage a;
	socklen_t len = loopback(family, &a);

	if (bind(listener, (struct sockaddr *)&a, len) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &len))
		return -errno;
	fds[0] = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fds[0] < 0)
		return -errno;
	if (sndbuf && setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)))
		return -errno;
	if (connect(fds[0], (struct sockaddr *)&a, len))
		return -errno;
	fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return fds[1] < 0 ? -errno : 0;
}

static int connect_pair(int family, int sndbuf, int fds[2])
{
	int listener, rc;

	fds[0] = fds[1] = -1;
	listener = socket(family ? family : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (listener < 0)
		return -errno;
	rc = connect_through(listener, family, sndbuf, fds);
	close(listener);
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
	t->outer[CLIENT] = t->outer[BACKEND] = -1;
	t->again = t->later = false;
	for (int i = 0; i < 2; i++) {
		int fds[2], rc = connect_pair(conf->family, conf->sndbuf, fds);

		t->outer[i] = fds[1];
		if (!rc)
			rc = loop_add(&t->host->loop, &t->relay.side[i].watch, fds[0], SIDE_EVENTS);
		if (rc) {
			if (fds[0] >= 0)
				close(fds[0]);
			return rc;
		}
	}
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
	return rc ? rc : trial_connect(t, conf);
}

void trial_close(struct trial *t)
{
	trial_disconnect(t);
	if (t->host != t)
		return;
	sockmap_share_close(&t->pools);
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
