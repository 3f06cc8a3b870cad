/* SPDX-License-Identifier: MIT */
/*
 * Places and waiting for them: an app has MaxConnections, and each of its targets has; a session
 * counts in both while it is connecting or connected. One that finds no place waits in its app's
 * queue with nothing but the client's socket, and starts over when it is called: it looks at all
 * targets then, so waiting for the app and for a target is the same. A part of session.c, which
 * decides what comes next.
 */
#ifndef SHUNT_SESSION_QUEUE_H
#define SHUNT_SESSION_QUEUE_H

#include "session.h"

/* Takes the place in the app, unless it has it. False: there is none, or others wait for it. */
bool session_queue_enter_app(struct session *s) must_check;

/*
 * No place was to be had: gives back those that it has, and waits, at the head of the queue if it
 * has been called and else at the end. False: it may not, for the reason in *refused.
 */
bool session_queue_wait(struct session *s, enum close_reason *refused) must_check;

/* It has its places: waits no longer; takes one that does not wait, too. */
void session_queue_leave(struct session *s);
/* At its end: no longer waits, and gives its places to those who do. */
void session_queue_end(struct session *s);

/* A place may have come free. */
void session_queue_kick(struct session *s);

/* On its worker's thread: those that wait, for a header or a place, do so for the app's new
 * generation, its limits and its targets. */
void session_queue_follow(struct session_ctx *ctx, struct app *now);

#endif
