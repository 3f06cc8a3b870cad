/* SPDX-License-Identifier: MIT */
/*
 * The limits of a client's source (sources.h) for a session: asked once, as soon as it is known who
 * the client is, and before a target is bothered. A part of session.c.
 */
#ifndef SHUNT_SESSION_SOURCE_H
#define SHUNT_SESSION_SOURCE_H

#include "session.h"

/* By s->client. False: it is to be closed for the reason in *refused. */
bool session_source_admit(struct session *s, enum close_reason *refused) must_check;
/* At its end: it counts no more; also if it never did. */
void session_source_leave(struct session *s);

#endif
