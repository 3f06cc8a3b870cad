/* SPDX-License-Identifier: MIT */
/*
 * Keeps the flows on the wire that a daemon before this one has left: they have no session and no
 * sockets, only their records in the kernel. Their timeouts, their ends and their last lines in the
 * log go on from here, on the main thread.
 */
#ifndef SHUNT_WIRE_KEEPER_H
#define SHUNT_WIRE_KEEPER_H

#include "loop.h"
#include "wire.h"

struct wire_keeper;

/* A flow, to be shown. */
struct kept_flow {
	const struct wire_flow *identity;
	uint64_t bytes[2]; /* by direction, those before the join included */
	uint64_t age_ns, idle_ns;
	bool half_closed;
};

struct wire_keeper_conf {
	struct wire *wire;
	struct loop *loop;
	bool access_log;
	/* The last one has gone. */
	void (*on_empty)(void *arg);
	void *arg;
};

/* Adopts what there is. 0 or -errno; wire_keeper_close() takes NULL. */
int wire_keeper_open(const struct wire_keeper_conf *conf, struct wire_keeper **out) must_check;
/* The flows go on: what becomes of them is wire_close()'s matter. */
void wire_keeper_close(struct wire_keeper *k);
/* Resets all that are left. reason: for the log. */
void wire_keeper_kill(struct wire_keeper *k, const char *reason);
/* Resets each for which there is a reason. */
void wire_keeper_judge(struct wire_keeper *k,
		       const char *(*why)(void *arg, const struct wire_flow *identity), void *arg);

/* Takes NULL. */
size_t wire_keeper_count(const struct wire_keeper *k);
/* The flow number `at`, counted from 0. False: there is none. */
bool wire_keeper_show(const struct wire_keeper *k, size_t at, struct kept_flow *out);

#endif
