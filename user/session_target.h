/* SPDX-License-Identifier: MIT */
/*
 * Where a session goes: the next address of its backend, then another backend, each once; and what
 * is learnt there about them. A part of session.c, which opens the sockets.
 */
#ifndef SHUNT_SESSION_TARGET_H
#define SHUNT_SESSION_TARGET_H

#include "session.h"

enum target_search {
	TARGET_FOUND,
	TARGET_NONE, /* all have been tried */
	TARGET_FULL, /* what could be tried is at its MaxConnections */
};

/*
 * The next place to connect to, in s->endpoint: another address of this backend, then another
 * backend. What is marked down comes only when nothing else is left, for a mark can be wrong.
 */
enum target_search session_target_next(struct session *s) must_check;

/* Have operators taken all backends of its app out? */
bool session_target_none_enabled(const struct session *s);

/* How the attempt at s->endpoint went: marks it down (error: a positive errno) or up, and logs it
 * if that is news. */
void session_target_failed(struct session *s, int error);
void session_target_answered(struct session *s);

/* Its load at the backend ends; whoever waits for that is still to be told. */
void session_target_leave(struct session *s);
/* Forgets which have been tried, and leaves the one that it is at. */
void session_target_start_over(struct session *s);

#endif
