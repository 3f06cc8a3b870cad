/* SPDX-License-Identifier: MIT */
/*
 * The network that the wire is probed in: three network namespaces without names, CLIENT, PROXY and
 * BACKEND, and a cable from the proxy's to each of the others. IPv4 and, if there is any, IPv6, and
 * the kernel's own TCP options; but a retransmission does not wait as long as elsewhere.
 *
 * The calling thread is moved there for good: it must be one that ends with the probe. Nothing has
 * to be removed: the network goes with the thread and with the last fd of it.
 */
#ifndef SHUNT_PROBE_NET_H
#define SHUNT_PROBE_NET_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "engine.h"
#include "util.h"

/* After CLIENT and BACKEND, which are also the numbers of the cables. */
#define PROXY 2
#define N_PROBE_PLACES 3

/* The proxy's ends of the cables. */
#define PROBE_DEVICE_CLIENT "probe_client"
#define PROBE_DEVICE_BACKEND "probe_backend"

struct probe_net {
	int netns[N_PROBE_PLACES]; /* -1: none */
	bool has_ipv6;
};

/* Leaves the thread in PROXY. 0, or -errno with a phrase in `why`; probe_net_close() is due in
 * either case. */
int probe_net_open(struct probe_net *n, char *why, size_t size) must_check;
void probe_net_close(struct probe_net *n);

/* What the thread does from now on it does there: sockets stay where they were made. */
int probe_net_enter(const struct probe_net *n, int place) must_check; /* 0 or -errno */

/* An address, without a port, at a cable's end: the proxy's, or that of the client or backend. */
struct addr probe_net_address(int cable, bool at_proxy, int family);

#endif
