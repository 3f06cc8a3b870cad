/* SPDX-License-Identifier: MIT */
#include "session_connect.h"

#include <string.h>
#include <unistd.h>

#include "log.h"
#include "net.h"

/* Until then it would find nobody that TCP itself does not, and most connections are over. */
#define KEEPALIVE_AFTER_NS NSEC_PER_SEC

/* Once for all that come to know it: repeats are counted by the log. */
static void log_unusable(const struct session *s, const struct addr *source, int error)
{
	char text[ADDR_TEXT_MAX];

	log_warning("app \"%s\": connections to its targets can't come from %s: %s",
		    s->app->conf->name, addr_format_host(source, text), strerror(error));
}

/* Nothing may wait for the socket's own first bytes if others are to be sent in its place: by the
 * wire, or around it. */
static bool may_hold_ack(const struct session *s)
{
	return !s->relay.side[BACKEND].is_unix && !s->relay.joiner && !s->relay.bypass;
}

/* From one address; NULL: as the kernel chooses. The fd or -errno. */
static int connect_from(struct session *s, const struct addr *source, bool transparent)
{
	const struct addr *to = &s->endpoint.addr;
	int fd = net_open(to), rc = 0;

	if (fd < 0)
		return fd;
	s->relay.side[BACKEND].is_unix = !addr_is_ip(to);
	if (source) {
		rc = net_bind_source(fd, source, transparent);
		if (rc)
			log_unusable(s, source, -rc);
	}
	if (!rc) {
		relay_prepare(&s->relay, fd);
		s->ack_waits = may_hold_ack(s) && !net_set_quick_ack(fd, false);
		rc = net_start(fd, to);
	}
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

/* Each in its turn, so that all of their ports are used; one that has none left makes way. */
static int connect_from_any(struct session *s)
{
	const struct addr_range_list *sources = &s->app->conf->sources;
	size_t turn = atomic_fetch_add_explicit(&s->app->source_turn, 1, memory_order_relaxed);
	int rc = -EPFNOSUPPORT;

	for (size_t i = 0; i < sources->n; i++) {
		const struct addr *source = &sources->at[(turn + i) % sources->n].host;

		if (source->sa.sa_family != s->endpoint.addr.sa.sa_family)
			continue;
		rc = connect_from(s, source, false);
		if (rc != -EADDRNOTAVAIL)
			break;
	}
	return rc;
}

static int connect_from_client(struct session *s)
{
	struct addr client = s->client;

	if (client.sa.sa_family != s->endpoint.addr.sa.sa_family)
		return -EPFNOSUPPORT;
	addr_set_port(&client, 0);
	return connect_from(s, &client, true);
}

bool session_connect_late(struct session *s)
{
	s->relay.has_header = s->header != NULL;
	if (s->app->conf->transparent)
		relay_refuse_wire(&s->relay, ENGINE_WIRE_TRANSPARENT);
	else if (s->header) /* bytes of it are to pass the sockets before the client's first */
		relay_begin_late(&s->relay, ENGINE_WIRE_HEADER);
	return s->app->conf->transparent || s->header;
}

int session_connect(struct session *s)
{
	if (!addr_is_ip(&s->endpoint.addr))
		return connect_from(s, NULL, false);
	if (s->app->conf->transparent)
		return connect_from_client(s);
	if (s->app->conf->sources.n)
		return connect_from_any(s);
	return connect_from(s, NULL, false);
}

void session_ack(struct session *s)
{
	if (!s->ack_waits)
		return;
	s->ack_waits = false;
	if (net_set_quick_ack(s->relay.side[BACKEND].watch.fd, true))
		log_warning("app \"%s\": a connection to a target is slow to acknowledge: %m",
			    s->app->conf->name);
}

void session_keep_alive_later(struct session *s)
{
	if (s->app->conf->keepalive_ms && !s->relay.side[BACKEND].is_unix)
		s->keepalive_ns = s->ctx->loop->now_ns + KEEPALIVE_AFTER_NS;
}

void session_keep_alive(struct session *s)
{
	if (!s->keepalive_ns || s->keepalive_ns > s->ctx->loop->now_ns)
		return;
	s->keepalive_ns = 0;
	if (s->relay.joined == &engine_wire) /* its ends probe each other */
		return;
	if (net_set_keepalive(s->relay.side[BACKEND].watch.fd, s->app->conf->keepalive_ms))
		log_warning("app \"%s\": a connection to a target has no KeepAlive: %m",
			    s->app->conf->name);
}
