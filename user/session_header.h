/* SPDX-License-Identifier: MIT */
/*
 * A session's PROXY headers (proxy_header.h): the one that comes before its client's first byte,
 * and the one that its backend gets first. A part of session.c.
 */
#ifndef SHUNT_SESSION_HEADER_H
#define SHUNT_SESSION_HEADER_H

#include "session.h"

struct session_header;

/* Are the session's connections to begin with one? */
bool session_header_is_awaited(const struct session *s);
bool session_header_is_to_be_sent(const struct session *s);

/* What the two need, if there is one and it is not there yet. 0 or -ENOMEM. */
int session_header_open(struct session *s) must_check;
/* Both sides are connected, or it has ended. */
void session_header_close(struct session *s);

/* May the client, as it is known by its connection, say who it speaks for? */
bool session_header_is_trusted(const struct session *s);
/*
 * Reads what there is of the header, and not a byte of what follows it. 0: it is whole, and
 * s->client is who it names; -EAGAIN: more of it is to come; -EPROTO: the session is to be closed
 * for *why.
 */
int session_header_read(struct session *s, enum close_reason *why) must_check;

/* Sends it, or what is left of it. 0, -EAGAIN when more room is needed, or -errno. */
int session_header_send(struct session *s, int fd) must_check;
/* The backend that has got it is not the one: the next one gets it from its beginning. */
void session_header_rewind(struct session *s);

#endif
