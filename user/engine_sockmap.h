/* SPDX-License-Identifier: MIT */
/*
 * The sockmap engine's per-worker part: the worker's slots and the ring on which the kernel tells
 * what becomes of the relays in them. engine_sockmap itself is in engine.h, as all engines.
 */
#ifndef SHUNT_ENGINE_SOCKMAP_H
#define SHUNT_ENGINE_SOCKMAP_H

#include "engine.h"
#include "sockmap.h"

/*
 * Sets pools->sockmap, for pools->loop; on the worker's thread or before it runs. `m` must outlive
 * it. 0 or -errno, and then the engine is off for these pools.
 */
int sockmap_share_open(struct sockmap *m, uint32_t worker, struct relay_pools *pools) must_check;
/* All relays must be gone. Takes pools without a share, too. */
void sockmap_share_close(struct relay_pools *pools);

/* The free slots and the relays of a share, for tests and status. */
uint32_t sockmap_share_in_use(const struct relay_pools *pools);

/* For the probe: what the kernel's record says of a joined relay's direction. NULL: not joined. */
const struct shunt_direction *relay_sockmap_direction(const struct relay *r, int from);

#endif
