/* SPDX-License-Identifier: MIT */
/*
 * The wire engine's per-worker part: its flows, the ring on which the program tells of their ends,
 * and the parking device, which any worker empties. engine_wire itself is in engine.h, as all
 * engines.
 */
#ifndef SHUNT_ENGINE_WIRE_H
#define SHUNT_ENGINE_WIRE_H

#include "engine.h"
#include "settler.h"
#include "wire.h"

/* Who a relay is, for those who will see its record in the kernel: asked when it joins. */
typedef void (*wire_describe_fn)(const struct relay *r, struct wire_flow *flow);

struct wire_share_conf {
	struct wire *wire;
	struct settler *settler;   /* NULL: flows that missed their beginning are not promoted */
	wire_describe_fn describe; /* NULL: records have no names */
};

/*
 * Sets pools->wire, for pools->loop; on the worker's thread or before it runs. What conf points to
 * must outlive it. 0 or -errno, and then the engine is off for these pools.
 */
int wire_share_open(const struct wire_share_conf *conf, uint32_t worker,
		    struct relay_pools *pools) must_check;
/* All relays must be gone. Takes pools without a share, too. */
void wire_share_close(struct relay_pools *pools);

/* From now on a joined relay that is released goes on without this process. On the worker's thread.
 */
void wire_share_leave_behind(struct relay_pools *pools);

/* For auto: is this relay worth a promotion, and may it have one? */
bool wire_may_promote(const struct relay *r);
/* Begins to put a relay on the wire that has moved bytes already. */
void wire_promote(struct relay *r);

/* Connections to this address and port are to be held from the SYN on, as wiring.h has said, or not
 * for now. */
void wire_share_listen_late(const struct relay_pools *pools, const struct addr *at, bool late);

/* The index of a relay's flow; -1: it is not on the wire. */
int64_t relay_wire_flow(const struct relay *r);

#endif
