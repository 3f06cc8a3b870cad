/* SPDX-License-Identifier: MIT */
/*
 * A relay between two loopback connections, both of this process, with a loop of its own: what the
 * probe and the unit tests try an engine by. Whoever has the trial plays client and backend by the
 * outer sockets and lets the relay run by trial_turn().
 */
#ifndef SHUNT_TRIAL_H
#define SHUNT_TRIAL_H

#include "bypass.h"
#include "engine.h"
#include "sockmap.h"

struct trial;

struct trial_conf {
	struct trial *host; /* whose loop and pools are used; NULL: its own */
	const struct engine *engine;
	struct sockmap *sockmap; /* NULL: none. Worker 0's share is the trial's */
	struct bypass *bypass;   /* NULL: none. The same; the outer sockets are then its ends, */
	bool is_remote[2];       /* but for those of these sides, which it is not told of */
	int family;              /* AF_INET (0, too) or AF_INET6 */
	int sndbuf;              /* SO_SNDBUF of the relay's sockets; 0: the kernel's own */
	size_t max_buffers;      /* for the copy engine */
};

struct trial {
	struct loop loop;
	struct relay_pools pools;
	struct trial *host; /* itself, or the one whose loop and pools it uses */
	struct relay relay;
	int outer[2]; /* non-blocking; outer[i] is connected to the relay's side[i] */
	bool again, later;
};

/* 0 or -errno; trial_close() takes it in either case. */
int trial_open(struct trial *t, const struct trial_conf *conf) must_check;
void trial_close(struct trial *t);
/* New connections for the same relay, as trial_open() made them: 0 or -errno. The old ones must be
 * gone. */
int trial_connect(struct trial *t, const struct trial_conf *conf) must_check;
void trial_disconnect(struct trial *t);

/* Moves what can be moved. 0 or -errno, as trial_turn(). */
int trial_pump(struct trial *t) must_check;

/*
 * One turn of the relay's loop, which waits for at most max_wait_ms when there is nothing to do. 0,
 * or -errno of the relay (relay.failed_side): then it must be closed.
 */
int trial_turn(struct trial *t, int max_wait_ms) must_check;

#endif
