/* SPDX-License-Identifier: MIT */
/*
 * Opens a session's socket to its backend: from which local address, and with which options. A part
 * of session.c.
 */
#ifndef SHUNT_SESSION_CONNECT_H
#define SHUNT_SESSION_CONNECT_H

#include "session.h"

/*
 * A socket that connects to s->endpoint: its fd, or -errno. -EPFNOSUPPORT: the app's connections
 * are to come from addresses of which none is of the endpoint's family; that is no fault of its.
 */
int session_connect(struct session *s) must_check;

/*
 * Do its app's conf and its headers want its sockets to be there before it is joined, if ever? Then
 * the wire is told, and gives back what it may be holding already.
 */
bool session_connect_late(struct session *s);

/*
 * Its first bytes are on their way to the backend, or there are none yet. Most clients have sent
 * some by the time their backend answers, and a packet is saved.
 */
void session_ack(struct session *s);

/* It is connected. KeepAlive costs four system calls, and is for connections that last: it is set
 * once this one has, by session_keep_alive(), to be called when the timer fires. */
void session_keep_alive_later(struct session *s);
void session_keep_alive(struct session *s);

#endif
