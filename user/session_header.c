/* SPDX-License-Identifier: MIT */
#include "session_header.h"

#include <sys/socket.h>

#define SKIP_BYTES 4096 /* at a time, of what is not looked at */

struct session_header {
	struct addr to;   /* where the client has connected to; AF_UNSPEC: its socket knows */
	uint32_t unread;  /* bytes of the accepted header that are still to be read */
	bool is_accepted; /* its addresses are known */
	uint8_t sent, len;
	uint8_t bytes[PROXY_HEADER_MAX_BYTES]; /* what the backend gets, once it is made */
};

bool session_header_is_awaited(const struct session *s)
{
	return s->app->conf->proxy_protocol.accept == PROXY_ACCEPT_ON;
}

bool session_header_is_to_be_sent(const struct session *s)
{
	return s->app->conf->proxy_protocol.send != PROXY_HEADER_NONE;
}

int session_header_open(struct session *s)
{
	if (s->header || !app_conf_has_header(s->app->conf))
		return 0;
	s->header = calloc(1, sizeof(*s->header));
	return s->header ? 0 : -ENOMEM;
}

void session_header_close(struct session *s)
{
	free(s->header);
	s->header = NULL;
}

bool session_header_is_trusted(const struct session *s)
{
	const struct addr_range_list *trusted = &s->app->conf->proxy_protocol.trusted;

	/* Who may connect to a unix socket, its permissions have said. */
	if (!addr_is_ip(&s->client))
		return true;
	return addr_ranges_have(trusted->at, trusted->n, &s->client);
}

/* --- the client's ---------------------------------------------------------------------------- */

static int refuse(enum close_reason *why, enum close_reason reason)
{
	*why = reason;
	return -EPROTO;
}

/* Looks at the addresses without reading them: what follows is not known to be the header's yet. */
static int accept_addresses(struct session *s, enum close_reason *why)
{
	const struct side *client = &s->relay.side[CLIENT];
	uint8_t data[PROXY_HEADER_MAX_BYTES];
	struct proxy_header found;
	ssize_t n;

	do
		n = recv(client->watch.fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : refuse(why, CLOSE_CLIENT_RESET);
	if (!n)
		return refuse(why, CLOSE_HEADER_MISSING);
	switch (proxy_header_parse(data, (size_t)n, &found)) {
	case PROXY_HEADER_WHOLE:
		break;
	case PROXY_HEADER_PARTIAL:
		/* After a FIN, which is behind all that was looked at, there is no more of it. */
		return client->hangup ? refuse(why, CLOSE_HEADER_MALFORMED) : -EAGAIN;
	case PROXY_HEADER_MISSING:
		return refuse(why, CLOSE_HEADER_MISSING);
	default:
		return refuse(why, CLOSE_HEADER_MALFORMED);
	}
	if (addr_is_ip(&found.from)) {
		s->client = found.from;
		s->header->to = found.to;
	}
	s->header->unread = (uint32_t)found.len;
	s->header->is_accepted = true;
	return 0;
}

static int skip(struct session *s, enum close_reason *why)
{
	struct session_header *h = s->header;
	uint8_t data[SKIP_BYTES];

	while (h->unread) {
		ssize_t n = recv(s->relay.side[CLIENT].watch.fd, data, MIN(h->unread, sizeof(data)),
				 MSG_DONTWAIT);

		if (n > 0)
			h->unread -= (uint32_t)n;
		else if (!n)
			return refuse(why, CLOSE_HEADER_MALFORMED);
		else if (errno == EAGAIN)
			return -EAGAIN;
		else if (errno != EINTR)
			return refuse(why, CLOSE_CLIENT_RESET);
	}
	return 0;
}

int session_header_read(struct session *s, enum close_reason *why)
{
	int rc = s->header->is_accepted ? 0 : accept_addresses(s, why);

	return rc ? rc : skip(s, why);
}

/* --- the backend's --------------------------------------------------------------------------- */

/* 0 or -errno. */
static int make(struct session *s)
{
	struct session_header *h = s->header;
	socklen_t len = sizeof(h->to);

	if (!addr_is_ip(&h->to) && getsockname(s->relay.side[CLIENT].watch.fd, &h->to.sa, &len))
		return -errno;
	h->len = (uint8_t)proxy_header_write(h->bytes, s->app->conf->proxy_protocol.send,
					     &s->client, &h->to);
	return 0;
}

int session_header_send(struct session *s, int fd)
{
	struct session_header *h = s->header;
	int rc;

	if (!session_header_is_to_be_sent(s))
		return 0;
	rc = h->len ? 0 : make(s);
	while (!rc && h->sent < h->len) {
		ssize_t n = send(fd, h->bytes + h->sent, (size_t)(h->len - h->sent),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			h->sent = (uint8_t)(h->sent + n);
		else if (errno != EINTR)
			rc = -errno;
	}
	return rc;
}

void session_header_rewind(struct session *s)
{
	if (s->header)
		s->header->sent = 0;
}
