/* SPDX-License-Identifier: MIT */
/* What the parts of the wire engine share: its worker's state, and what it keeps about a relay. */
#ifndef SHUNT_ENGINE_WIRE_SHARE_H
#define SHUNT_ENGINE_WIRE_SHARE_H

#include "engine_wire.h"

struct wire_share {
	struct wire *wire;
	struct relay_pools *pools;
	wire_describe_fn describe;
	uint32_t ring_index;
	struct relay **relays; /* by flow; NULL: not this worker's */
	struct wire_ring *ring;
	struct watch ring_watch, park_watch;
	/* Ended flows, in the order of their ends: see WIRE_LINGER_NS. */
	struct list lingering;
	struct timer linger;
	/* Promotions, from the look for their packets to the join. */
	struct settler_desk settler; /* not opened: no promotions */
	struct list promoting;
	struct timer look;
	bool leave_behind;
};

/* What a relay has of the wire, from prepare() on or while it is promoted. */
struct joint {
	struct wire_tuple client;  /* its leg, which is held */
	struct wire_tuple backend; /* likewise, of a promotion */
	struct relay *relay;       /* of a promotion; NULL: it has ended meanwhile */
	struct settling settling;
	uint64_t give_up_ns;
	bool is_promotion;
	bool is_settling;    /* or settled: its legs are held; before, they are watched */
	uint32_t client_mss; /* that the client has announced; 0: not known */
	uint32_t flow;       /* once it has joined */
	uint64_t counted[2]; /* of the records' bytes, what is in direction.bytes */
	struct list link;    /* in promoting; once its relay has left it, in lingering */
	uint64_t linger_until_ns;
};

/* Joins a relay whose legs are held: as engine.join(). */
int wire_join_relay(struct relay *r, enum engine_reason *why_not);
/* The timer wire_share.look: sees how far the promotions are. */
void wire_promotions_look(struct timer *t);

#endif
