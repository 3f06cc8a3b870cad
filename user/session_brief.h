/* SPDX-License-Identifier: MIT */
/*
 * Which of auto's sessions begin off the wire, since their app's connections are over before
 * joining one would pay (brevity.h). A part of session.c.
 */
#ifndef SHUNT_SESSION_BRIEF_H
#define SHUNT_SESSION_BRIEF_H

#include "session.h"

/* Is it to begin on copy, though it might be joined before its first byte? Then the wire is told,
 * and gives back what it may be holding already. */
bool session_brief_late(struct session *s);
/* It ends, whether it was connected or not, and its bytes have been counted. */
void session_brief_note(struct session *s);

#endif
