/* SPDX-License-Identifier: MIT */
/*
 * By which devices IP packets come in: those for addresses that are listened on, and those of
 * hosts that connections go to. It looks at links, addresses and routes as they are now, and
 * marks the devices; what is to be done with them is the caller's business.
 */
#ifndef SHUNT_INGRESS_H
#define SHUNT_INGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr_set.h"
#include "netlink.h"
#include "util.h"

struct ingress_device {
	struct netlink_link link;
	bool is_wanted;
};

/* The devices that there are, by ifindex. A zeroed one is empty. */
struct ingress {
	struct ingress_device *devices;
	size_t n, capacity;
};

struct ingress_wish {
	struct addr_set *listens, *targets;
	char *const *names; /* of devices; n_names > 0: these, and no others */
	size_t n_names;
};

/*
 * Of a bridge's port or a bond's slave the master is marked, where IP packets come in. An address
 * that listens is marked where it is; one of the loopback (a virtual address, which packets reach
 * by any device) everywhere. wish NULL: none is marked. 0 or -errno. ingress_free() is due in
 * either case.
 */
int ingress_look(struct ingress *in, struct netlink *n, const struct ingress_wish *wish) must_check;
void ingress_free(struct ingress *in);

struct ingress_device *ingress_find(const struct ingress *in, uint32_t ifindex);
struct ingress_device *ingress_find_name(const struct ingress *in, const char *name);
/* Why a TC program there would not see IP packets in Ethernet frames; NULL: it does. */
const char *ingress_unfit(const struct netlink_link *l);

#endif
