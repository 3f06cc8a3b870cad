/* SPDX-License-Identifier: MIT */
/* The one line that a connection leaves in the log. A part of session.c. */
#ifndef SHUNT_SESSION_LOG_H
#define SHUNT_SESSION_LOG_H

#include "session.h"

/* While it still has its state, and its counters are up to date. */
void session_log_close(const struct session *s, enum close_reason reason);

#endif
