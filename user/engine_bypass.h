/* SPDX-License-Identifier: MIT */
/*
 * The local bypass of a relay. It serves no direction by itself: what the ends do not send to each
 * other comes to the proxy's sockets, and is moved by the engine that the direction has. So a relay
 * is on copy or splice, or joined by sockmap, and bypassed at the same time; all that is to be done
 * here is to pair its connections, to count what went around, and to tell what of it is to be told.
 */
#ifndef SHUNT_ENGINE_BYPASS_H
#define SHUNT_ENGINE_BYPASS_H

#include "bypass.h"
#include "engine.h"

/* By its name is told what went around; it has no functions. */
extern const struct engine engine_bypass;

/*
 * Sets pools->bypass, for pools->loop; on the worker's thread or before it runs. `b` must outlive
 * it.
 */
void bypass_share_open(struct bypass *b, uint32_t worker, struct relay_pools *pools);
/* All relays must be gone. Takes pools without a share, too. */
void bypass_share_close(struct relay_pools *pools);

/* For engine.c: each takes a relay that is not bypassed, too. */

/* A socket for the backend was made, and is not connected yet. */
void bypass_prepare(struct relay *r, int fd);
/* Both sides are connected: their other ends are joined now, or as soon as they are known. */
void bypass_begin(struct relay *r);
/*
 * The backend has sent something, so it is established, and if it is of this host, it is known:
 * else it will not be joined. If only one end is of this host, it sends around the proxy half of
 * the way from now on, unless the relay is joined or about to be: then it is true. For a relay that
 * has r->bypass, while nothing is being read or written.
 */
bool bypass_conclude(struct relay *r);
/* Counts what went around. Returns when the last byte did, in CLOCK_MONOTONIC nanoseconds; 0: none.
 */
uint64_t bypass_refresh(struct relay *r);
/* Did the end at this side close without having read all? Then its FIN was to be a RST. */
bool bypass_was_cut(const struct relay *r, int side);
void bypass_leave(struct relay *r);

/* With `off`, whatever is sent from now on comes to the proxy. */
void bypass_switch(struct relay *r, bool off);

/* For the probe and tests: a direction's record. NULL: the relay is not paired. */
const struct bypass_direction *relay_bypass_direction(const struct relay *r, int from);

#endif
