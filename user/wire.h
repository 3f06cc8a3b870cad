/* SPDX-License-Identifier: MIT */
/*
 * The BPF side of the wire engine: loads the TC program (bpf/wire.bpf.c) and pins it with its maps,
 * so that joined flows outlive the daemon; holds, joins and ends flows; finds those of a daemon
 * before. It knows legs and flows by number, no relays. The only module that includes the
 * skeleton; in a build without BPF wire_none.c stands in for it.
 *
 * Threads: a flow belongs to who has taken it; the table of free ones has a mutex. All other
 * functions may be called from any thread.
 */
#ifndef SHUNT_WIRE_H
#define SHUNT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "park.h"
#include "util.h"
#include "wire_abi.h"

/* An entry of a flow that has ended answers late packets for so long, and its record is not used
 * again. */
#define WIRE_LINGER_NS (2 * NSEC_PER_SEC)

struct wire_conf {
	uint32_t flows;          /* capacity; pins of a daemon before keep theirs */
	const char *pin_folder;  /* in a bpffs; NULL: nothing is pinned, flows end with the daemon */
	uint32_t drop_per_million; /* packets that the program loses on purpose: for probe and tests */
};

struct wire;
struct wire_ring;

/*
 * Loads, or takes over what is pinned: then the maps with the flows in them are the old ones and
 * the program is this one's. 0 with *out, or -errno with a phrase for the operator in `why`.
 */
int wire_open(const struct wire_conf *conf, struct wire **out, char *why, size_t size) must_check;
/* Takes NULL. With `leave` the pins stay, and joined flows go on; without it all is removed. */
void wire_close(struct wire *w, bool leave);

/* Removes what a dead daemon has left: pins, links, filters, and so its flows. Flows that there were, or
 * -errno. */
int wire_clear(const char *pin_folder) must_check;

int wire_program_fd(const struct wire *w); /* for wire_devices.h */
struct park *wire_park(const struct wire *w);
uint32_t wire_capacity(const struct wire *w);
uint64_t wire_memory(const struct wire *w);                              /* bytes of kernel memory */
int wire_counters(const struct wire *w, uint64_t out[N_WIRE_COUNTERS]) must_check; /* 0 or -errno */

/* --- before a join --------------------------------------------------------------------------- */

/* From now on, or no longer, payload to this address and port is held from the SYN on. 0 or -errno. */
int wire_listen(struct wire *w, const struct addr *at, bool on) must_check;
/* Before connect(2): what answers to this socket is held from its SYN-ACK on. 0 or -errno. */
int wire_expect(struct wire *w, int fd) must_check;
/* The leg of a connected socket of ours: what comes in on it. False: not TCP over IP. */
bool wire_leg_of(int fd, struct wire_tuple *leg);
/* Holds a leg from now on, to promote its flow later: see wire_settle(). 0 or -errno. */
int wire_hold(struct wire *w, const struct wire_tuple *leg) must_check;
/* What is known of a held leg. False: it is not held. */
bool wire_is_held(struct wire *w, const struct wire_tuple *leg, struct wire_hold *hold);
/* Gives the leg to the stack, and what was parked of it. */
void wire_release(struct wire *w, const struct wire_tuple *leg);
/*
 * Waits until no packet is on its way to a socket that passed the program before the last
 * wire_hold() (an RCU grace period, some ten milliseconds). Not for a worker's thread.
 */
void wire_settle(void);

/* --- flows ----------------------------------------------------------------------------------- */

/* A free flow: its index, or -ENOSPC. */
int64_t wire_take(struct wire *w, uint64_t now_ns) must_check;
/* Its identity, which the owner fills in before the join; in_use and generation are wire.c's. */
struct wire_flow *wire_flow(struct wire *w, uint32_t flow);
/* The record of a leg: what its peer sends. Shared with the program: see wire_abi.h. */
struct wire_direction *wire_direction(struct wire *w, uint32_t flow, int side);

/*
 * Joins two sockets of ours, whose legs are in flow->leg: from then on no packet reaches them, they
 * are silent (TCP_REPAIR, no keepalive), and what is parked has been sent on. WIRE_JOINED, or the refusal with
 * all as it was: still held, if it was. request: what was asked and answered, for explanations.
 */
enum wire_refusal wire_join(struct wire *w, uint32_t flow, const int fds[2], uint32_t ring, bool must_be_held,
			    struct wire_request *request);
/* Resets both ends of a joined flow, each with the right number. */
void wire_kill(struct wire *w, uint32_t flow);
/* The flow has ended: notes it, so that a later daemon does not log it again; it lingers from now on. */
void wire_end(struct wire *w, uint32_t flow, uint64_t now_ns);
/* Removes a flow that has lingered, or was taken and not joined: it is free again. */
void wire_give(struct wire *w, uint32_t flow, uint64_t now_ns);
/* Routes have changed: looks up by which device each joined leg leaves now. Flows that changed. */
size_t wire_reroute(struct wire *w);

/* --- flows of a daemon before ---------------------------------------------------------------- */

/*
 * Calls `each` for every flow that was found at wire_open(), joined or lingering, and makes `ring`
 * its ring. Their local ports are held by bound sockets till wire_give(). Flows.
 */
size_t wire_adopt(struct wire *w, uint32_t ring, void (*each)(void *arg, uint32_t flow), void *arg);

/* --- ends, told by the program --------------------------------------------------------------- */

typedef void (*wire_event_fn)(void *arg, const struct wire_event *event);

int wire_ring_open(struct wire *w, uint32_t ring, wire_event_fn on_event, void *arg,
		   struct wire_ring **out) must_check; /* 0 or -errno */
int wire_ring_fd(const struct wire_ring *r);
void wire_ring_consume(struct wire_ring *r);
void wire_ring_close(struct wire_ring *r); /* takes NULL */

#endif
