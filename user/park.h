/* SPDX-License-Identifier: MIT */
/*
 * The parking device of the wire: a TAP, to which the TC program (bpf/wire.bpf.c) diverts what
 * must not reach a socket yet. Frames are read from it and kept, by the leg that they came in on,
 * until their flow is joined or given to the stack; then they are written back, and the program,
 * which is at the TAP's ingress too, sends each where it belongs.
 *
 * Bounded: a leg has PARK_LEG_MAX_BYTES, all legs together PARK_MAX_BYTES, each frame
 * PARK_MAX_NS. What is over a bound gives its leg up: `overflow` is called, which must end the
 * hold, and its frames go to the stack.
 *
 * Threads: any worker may read the device when its loop says that there is something, and any may
 * unpark; one mutex keeps the store. The rule that no frame is left behind: a frame is kept only if
 * is_held() says so under that mutex, and who ends a hold does so before he calls park_return().
 */
#ifndef SHUNT_PARK_H
#define SHUNT_PARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"
#include "wire_abi.h"

/* A flow that is promoted has as much under way as its receiver's window: tcp_rmem's 6 MiB. */
#define PARK_LEG_MAX_BYTES (8u << 20)
#define PARK_MAX_BYTES (64u << 20)
#define PARK_MAX_NS (30 * NSEC_PER_SEC)

struct park;

struct park_conf {
	bool (*is_held)(void *arg, const struct wire_tuple *leg);
	/* Must end the hold; called without the mutex. */
	void (*overflow)(void *arg, const struct wire_tuple *leg);
	void *arg;
};

/* Makes the TAP in the current network namespace, and brings it up. 0 or -errno with a phrase in
 * `why`. */
int park_open(const struct park_conf *conf, struct park **out, char *why, size_t size) must_check;
void park_close(struct park *p); /* takes NULL; what is parked is gone (its senders repeat it) */

/* Readable when frames have come. Watch it level-triggered, as park_read() may leave some, and with
 * EPOLLEXCLUSIVE, as one reader is enough. */
int park_fd(const struct park *p);
uint32_t park_ifindex(const struct park *p);

/* Takes what has come from the device, a bounded number of frames. */
void park_read(struct park *p, uint64_t now_ns);
/* Writes back what is parked of a leg. Its hold has been ended before. */
void park_return(struct park *p, const struct wire_tuple *leg);
/* Gives up legs whose frames wait for too long; when to call it next, or UINT64_MAX. */
uint64_t park_expire(struct park *p, uint64_t now_ns);
/* Writes a TCP segment without payload to the device, as if it had come in on a leg. 0 or -errno. */
int park_inject(struct park *p, const struct wire_tuple *leg, bool is_ipv6, uint32_t seq,
		uint32_t ack, uint8_t tcp_flags) must_check;

struct park_figures {
	uint64_t frames, bytes;          /* parked now, with what the store itself needs for them */
	uint64_t parked, returned, lost; /* frames so far; lost: no memory, or the device is down */
	uint64_t overflowed, expired;    /* legs that were given up so far */
};
struct park_figures park_figures(struct park *p);

#endif
