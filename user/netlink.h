/* SPDX-License-Identifier: MIT */
/*
 * rtnetlink(7), as far as this program needs it: which links, addresses and classifiers there are,
 * by which devices the routes to hosts lead, news of changes, and making some. It keeps no state
 * but the socket and logs nothing. An answer of the kernel that does not come within a second is an
 * error.
 *
 * Functions that ask return 0 or -errno; -EINTR: what was to be listed changed meanwhile, ask
 * again.
 */
#ifndef SHUNT_NETLINK_H
#define SHUNT_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "util.h"

struct nlmsghdr;

#define NETLINK_BUFFER_BYTES 32768 /* as much as the kernel puts into one answer */
#define NETLINK_KIND_MAX 16
#define NETLINK_LOOPBACK_IFINDEX 1 /* in every network namespace */

struct netlink {
	int fd; /* -1: not open */
	uint32_t sequence;
	_Alignas(8) char buffer[NETLINK_BUFFER_BYTES];
};

int netlink_open(struct netlink *n) must_check; /* in the calling thread's network namespace */
void netlink_close(struct netlink *n);          /* takes one that is not open */

struct netlink_link {
	uint32_t ifindex;
	uint32_t master; /* 0: none */
	uint16_t type;   /* ARPHRD_* */
	uint8_t state;   /* IF_OPER_* */
	char name[IF_NAMESIZE];
	char kind[NETLINK_KIND_MAX]; /* "bridge", "veth"; empty: a real one */
};
typedef void (*netlink_link_fn)(void *arg, const struct netlink_link *l);
int netlink_links(struct netlink *n, netlink_link_fn each, void *arg) must_check;

struct netlink_address {
	struct addr host; /* a link-local one has its device as scope */
	uint32_t ifindex;
	bool is_for_host_only; /* 127.0.0.1, ::1: nobody else can reach it */
};
typedef void (*netlink_address_fn)(void *arg, const struct netlink_address *a);
int netlink_addresses(struct netlink *n, netlink_address_fn each, void *arg) must_check;

/* The classifiers at a device's ingress, or at its egress. */
struct netlink_filter {
	uint32_t handle;
	uint16_t priority;
};
typedef void (*netlink_filter_fn)(void *arg, const struct netlink_filter *f);
int netlink_filters(struct netlink *n, uint32_t ifindex, bool at_ingress, netlink_filter_fn each,
		    void *arg) must_check;

/*
 * By which devices the routes to hosts lead: one call for each, several for a route with several
 * next hops, NETLINK_LOOPBACK_IFINDEX for an address of this machine, none where no route leads.
 * from: for packets that have this address of ours, which rules may ask for; NULL: for any. mtu:
 * that of the route; 0: it has none, that of the device holds.
 */
typedef void (*netlink_device_fn)(void *arg, uint32_t ifindex, uint32_t mtu);
int netlink_routes(struct netlink *n, const struct addr *to, size_t count, const struct addr *from,
		   netlink_device_fn each, void *arg) must_check;

/*
 * Has the kernel change something. `request` begins with a header that has its type and length;
 * flags are added to those that it has.
 */
int netlink_change(struct netlink *n, struct nlmsghdr *request) must_check;

/* Changes of links, addresses, routes and rules. Returns a non-blocking fd or -errno. */
int netlink_events_open(void) must_check;
/*
 * Reads some of those that have come; there may be more. `each` gets the network that a route has
 * changed to, or NULL when it was another change. -ENOBUFS: some were lost.
 */
typedef void (*netlink_event_fn)(void *arg, const struct addr *network, unsigned int prefix_bits);
int netlink_events_read(int fd, netlink_event_fn each, void *arg) must_check;

#endif
