/* SPDX-License-Identifier: MIT */
/*
 * Sessions that are closed for what has become of their app or their target: a reload has removed
 * it (they go on until it is to be left, leave_by_ns of either), it has gone down and OnDown says
 * so, or an operator has disabled it.
 */
#ifndef SHUNT_SESSION_DRAIN_H
#define SHUNT_SESSION_DRAIN_H

#include "session.h"

/* Closes those whose time is over, on their worker's thread. Returns how many. */
size_t session_drain(struct session_ctx *ctx, uint64_t now_ns);

/* Closes those whose backend is disabled, or has been cut since they were connected; who is just
 * connecting to a disabled one is sent to the next. Likewise. */
size_t session_cut(struct session_ctx *ctx);

#endif
