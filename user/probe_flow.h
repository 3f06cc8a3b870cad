/* SPDX-License-Identifier: MIT */
/*
 * A flow on the wire to try it by: its two ends, and the relay between them, each in its place of a
 * probe_net and played by one thread, since a socket belongs to the namespace that it was made in.
 * The engine is just as in the daemon. One flow at a time.
 *
 * Functions return 0, or -errno with what they found in the result; none waits for ever.
 */
#ifndef SHUNT_PROBE_FLOW_H
#define SHUNT_PROBE_FLOW_H

#include "engine_wire.h"
#include "probe_check.h"
#include "probe_net.h"

/* What each end sends as soon as it can, long before the proxy has joined the connections. */
#define PROBE_FLOW_AT_ONCE_BYTES 5000

struct probe_flow {
	const struct probe_net *net;
	struct wire *wire;
	struct probe_result *result; /* of the check that runs */
	struct probe_patience patience;
	struct loop loop;
	struct relay_pools pools;

	struct relay relay;
	struct watch outer[2]; /* the sockets of client and backend */
	bool has_relay;
	bool is_woken; /* something has happened to the relay */
	int failure;   /* of the relay, -errno */
	/* Of the stream from each side: bytes that it has sent, and the other one received. */
	size_t sent[2], received[2];
	uint32_t segments[2]; /* that the proxy's sockets had sent when they were joined */
};

/* What flows need, in the proxy's place; from now on they have PROBE_MAX_MS. net and wire must be
 * set. 0 or -errno; probe_flow_fini() takes it in either case. */
int probe_flow_init(struct probe_flow *f) must_check;
void probe_flow_fini(struct probe_flow *f); /* takes one with epoll_fd -1, too */

/* A flow whose connections are joined. probe_flow_close() is due in either case, and takes none. */
int probe_flow_open(struct probe_flow *f, int family) must_check;
void probe_flow_close(struct probe_flow *f);
/* Closes what is the proxy's of it. */
void probe_flow_leave(struct probe_flow *f);

/* The stream from this side, until the other one has `total` bytes of it; sent in chunks, of which
 * small ones make many packets. */
int probe_flow_relay(struct probe_flow *f, int from, size_t total, size_t chunk) must_check;
/* This side ends its stream, and the other one sees the end. */
int probe_flow_end(struct probe_flow *f, int from) must_check;
/* This side resets its connection, and the other one and the engine see a RST. */
int probe_flow_reset(struct probe_flow *f, int from) must_check;
/* Both sides have ended: the engine hears of it. */
int probe_flow_expect_done(struct probe_flow *f) must_check;
/* The proxy's sockets have neither got nor sent anything since the join, not even a bare ACK. */
int probe_flow_expect_silence(struct probe_flow *f) must_check;

#endif
