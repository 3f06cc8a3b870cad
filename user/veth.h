/* SPDX-License-Identifier: MIT */
/*
 * Pairs of virtual Ethernet devices (veth(4)), made by rtnetlink: a cable between two network
 * namespaces. Nothing has to be removed: a pair goes with either of its namespaces.
 *
 * Functions return 0 or -errno.
 */
#ifndef SHUNT_VETH_H
#define SHUNT_VETH_H

#include <stdint.h>

#include "addr.h"
#include "netlink.h"
#include "util.h"

/*
 * One end of a pair. The ifindex is chosen by the caller: one that is free in its namespace, and
 * not the other end's, for then the kernel would take its time to start the device.
 */
struct veth_end {
	int netns;            /* an fd of the namespace that it is to be in */
	struct netlink *link; /* opened there */
	const char *name;
	uint32_t ifindex;
};

/* Makes a pair, brings both ends up, and waits until they send what they are given. */
int veth_make(const struct veth_end ends[2]) must_check;

/*
 * An address of this end, usable at once, and a route by this end to the other one's: for
 * connections whose retransmission timeout may be as short as rto_min_ms (0: the kernel's own
 * minimum). -EOPNOTSUPP or -EACCES: no IPv6 here.
 */
int veth_connect(const struct veth_end *end, const struct addr *self, const struct addr *peer,
		 uint32_t rto_min_ms) must_check;

#endif
