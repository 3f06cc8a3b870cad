/* SPDX-License-Identifier: MIT */
/*
 * The BPF side of the wire engine: loads the TC program (bpf/wire.bpf.c) and pins it with its maps,
 * so that joined flows outlive the daemon; holds, joins and ends flows; finds those of a daemon
 * before. It knows legs and flows by number, no relays. Its parts are wire_maps.c (the only module
 * that includes the skeleton), wire_adopted.c, wire_leg.c and park.c; in a build without BPF
 * wire_none.c stands in for it.
 *
 * Threads: a flow belongs to who has taken it; a mutex keeps the table of free ones, and joining
 * and giving apart. All other functions may be called from any thread, and act in its network
 * namespace, which must be the one of wire_open().
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
	uint32_t flows;         /* capacity, > 0; pins of a daemon before keep theirs */
	const char *pin_folder; /* in a bpffs; NULL: nothing is pinned, flows end with the daemon */
	uint32_t drop_per_million; /* see wire_lose(); from the start */
};

struct wire;
struct wire_ring;

/*
 * Loads, or takes over what is pinned: then the maps with the flows in them are the old ones and
 * the program is this one's. 0 with *out, or -errno with a phrase for the operator in `why`.
 */
int wire_open(const struct wire_conf *conf, struct wire **out, char *why, size_t size) must_check;
/*
 * Takes NULL. With `leave` the pins stay, and joined flows go on; without it all is removed.
 * Sockets of joined flows may be closed before or after. wire_devices_close() comes first, with the
 * same `leave`.
 */
void wire_close(struct wire *w, bool leave);

/*
 * Removes what a dead daemon has left: pins, links, filters, and so its flows. Flows that there
 * were, or -errno (-EBUSY: a daemon that is alive has them).
 */
int wire_clear(const char *pin_folder) must_check;

int wire_program_fd(const struct wire *w);         /* for wire_devices.h */
const char *wire_pin_folder(const struct wire *w); /* likewise; NULL: nothing is pinned */
struct park *wire_park(const struct wire *w);
uint32_t wire_capacity(const struct wire *w);
uint64_t wire_memory(const struct wire *w); /* bytes of kernel memory, used or not */
/* As in `shunt status` and the metrics; by enum wire_counter. */
extern const char *const wire_counter_names[N_WIRE_COUNTERS];
int wire_counters(const struct wire *w, uint64_t out[N_WIRE_COUNTERS]) must_check; /* 0 or -errno */
/* For probe and tests: from now on the program loses so many of a million packets of joined legs. */
void wire_lose(struct wire *w, uint32_t per_million);

/* --- before a join --------------------------------------------------------------------------- */

/* From now on, or no longer, payload to this address (or a wildcard) and port is held from the SYN
 * on. 0 or -errno. */
int wire_listen(struct wire *w, const struct addr *at, bool on) must_check;
/* What is held by wire_listen() is, until this is said anew, only held by wire_hold(). 0 or -errno
 * (-ENOENT: it was not held). */
int wire_listen_late(struct wire *w, const struct addr *at, bool late) must_check;
/* Before connect(2): what answers to this socket is held from its SYN-ACK on. 0 or -errno. */
int wire_expect(struct wire *w, int fd) must_check;
/* The leg of a connected socket of ours: what comes in on it. False: not TCP over IP. */
bool wire_leg_of(int fd, struct wire_tuple *leg);
/* Looks from now on whether a leg's packets come by the program, and holds nothing. 0 or -errno. */
int wire_watch(struct wire *w, const struct wire_tuple *leg) must_check;
/* One has come since, or since the leg is held. */
bool wire_is_seen(const struct wire *w, const struct wire_tuple *leg);
/* Holds a leg from now on, to promote its flow later: see settler.h. If it was seen, it still is.
 * 0 or -errno. */
int wire_hold(struct wire *w, const struct wire_tuple *leg) must_check;
/* What is known of a held leg; `hold` may be NULL. False: it is not held (any more). */
bool wire_is_held(struct wire *w, const struct wire_tuple *leg, struct wire_hold *hold);
/* Gives the leg to the stack, and what was parked of it. */
void wire_release(struct wire *w, const struct wire_tuple *leg);

/* --- flows ----------------------------------------------------------------------------------- */

/* A free flow: its index, or -ENOSPC. */
int64_t wire_take(struct wire *w, uint64_t now_ns) must_check;
/* Its identity, which the owner fills in before the join; in_use and generation are wire.c's. */
struct wire_flow *wire_flow(struct wire *w, uint32_t flow);
/* The record of a leg: what its peer sends. Shared with the program: see wire_abi.h. */
struct wire_direction *wire_direction(struct wire *w, uint32_t flow, int side);

/*
 * Joins two sockets of ours, whose legs are in wire_flow()->leg and held: from then on no packet
 * reaches them, they are silent (TCP_REPAIR, no keepalive), and what is parked has been sent on.
 * must_be_seen: only if a packet of each leg has come since it is held, so that it is known that
 * they come by the program. WIRE_JOINED, or the refusal with all as it was: still held, if it was.
 * request: what was asked and answered, for explanations.
 */
enum wire_refusal wire_join(struct wire *w, uint32_t flow, const int fds[2], uint32_t ring,
			    bool must_be_seen, struct wire_request *request);
/* Resets both ends of a joined flow, each with the number that it expects. Its end is told. */
void wire_kill(struct wire *w, uint32_t flow);
/* The flow has ended: notes it, so that a later daemon does not log it again; it lingers from now
 * on, for WIRE_LINGER_NS. */
void wire_end(struct wire *w, uint32_t flow, uint64_t now_ns);
/*
 * Removes a flow that has lingered, or was taken and not joined: it is free again. Until it ends
 * its socket to the backend has to stay open, for the local port; if a connection gets that port
 * while the flow lingers, the program makes way for it.
 */
void wire_give(struct wire *w, uint32_t flow, uint64_t now_ns);
/* Routes have changed: looks up by which device each joined leg leaves now, and what its route's
 * MTU is. Legs that changed. */
size_t wire_reroute(struct wire *w);

/* --- flows of a daemon before ---------------------------------------------------------------- */

/*
 * Calls `each` for every flow that was found at wire_open(), joined or lingering, having made
 * `ring` its ring. What was told to the daemon before is not told again: its state says whether it
 * has ended. Their local ports are held by sockets till wire_give(). Flows.
 */
size_t wire_adopt(struct wire *w, uint32_t ring, void (*each)(void *arg, uint32_t flow), void *arg);

/* --- ends, told by the program --------------------------------------------------------------- */

typedef void (*wire_event_fn)(void *arg, const struct wire_event *event);

int wire_ring_open(struct wire *w, uint32_t ring, wire_event_fn on_event, void *arg,
		   struct wire_ring **out) must_check; /* 0 or -errno */
int wire_ring_fd(const struct wire_ring *r);
/* False: there were so many that others may have found no room; what they would have told, the
 * states of the ring's flows say. */
bool wire_ring_consume(struct wire_ring *r);
void wire_ring_close(struct wire_ring *r); /* takes NULL */

#endif
