/* SPDX-License-Identifier: MIT */
/*
 * The end of what a reload has removed: sessions go on with their app and their target until these
 * are to be left (leave_by_ns of either), and are then closed.
 */
#ifndef SHUNT_SESSION_DRAIN_H
#define SHUNT_SESSION_DRAIN_H

#include "session.h"

/* Closes those whose time is over, on their worker's thread. Returns how many. */
size_t session_drain(struct session_ctx *ctx, uint64_t now_ns);

#endif
