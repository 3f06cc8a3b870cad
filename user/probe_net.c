/* SPDX-License-Identifier: MIT */
#include "probe_net.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "veth.h"

/* What is lost on purpose at a flow's end is only repeated when this is over. */
#define RTO_MIN_MS 5

struct addr probe_net_address(int cable, bool at_proxy, int family)
{
	/* Of RFC 5737 and RFC 3849, for examples. */
	static const char *const texts[2][2][2] = {
		[CLIENT] = { { "192.0.2.2", "2001:db8:1::2" }, { "192.0.2.1", "2001:db8:1::1" } },
		[BACKEND] = { { "198.51.100.2", "2001:db8:2::2" },
			      { "198.51.100.1", "2001:db8:2::1" } },
	};
	struct addr a;

	if (addr_parse_host(texts[cable][at_proxy][family == AF_INET6], &a))
		abort(); /* a constant that is no address */
	return a;
}

static const char *explain(int error)
{
	switch (error) {
	case EPERM:
		return "they are not permitted: it needs CAP_SYS_ADMIN and CAP_NET_ADMIN";
	case EINVAL:
	case ENOSYS:
	case EOPNOTSUPP:
		return "the kernel has none";
	case ENOSPC:
		return "there are as many as may be (user.max_net_namespaces)";
	default:
		return strerror(error);
	}
}

static int make_place(struct probe_net *n, int place, struct netlink *link)
{
	if (unshare(CLONE_NEWNET))
		return -errno;
	n->netns[place] = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return n->netns[place] < 0 ? -errno : netlink_open(link);
}

static int connect_ends(const struct veth_end ends[2], int cable, int family)
{
	struct addr proxy = probe_net_address(cable, true, family);
	struct addr outer = probe_net_address(cable, false, family);
	int rc = veth_connect(&ends[0], &proxy, &outer, RTO_MIN_MS);

	return rc ? rc : veth_connect(&ends[1], &outer, &proxy, RTO_MIN_MS);
}

static int lay_cable(struct probe_net *n, int cable, struct netlink links[])
{
	/* Numbers that no other device has, in any of the places. */
	const struct veth_end ends[2] = {
		{ n->netns[PROXY], &links[PROXY],
		  cable == CLIENT ? PROBE_DEVICE_CLIENT : PROBE_DEVICE_BACKEND,
		  2 + 2 * (uint32_t)cable },
		{ n->netns[cable], &links[cable], "probe_proxy", 3 + 2 * (uint32_t)cable },
	};
	int rc = veth_make(ends);

	if (!rc)
		rc = connect_ends(ends, cable, AF_INET);
	if (!rc && connect_ends(ends, cable, AF_INET6))
		n->has_ipv6 = false;
	return rc;
}

static int make_all(struct probe_net *n, struct netlink links[], char *why, size_t size)
{
	int rc = 0;

	/* The proxy's as the last, which the thread stays in. */
	for (int i = 0; !rc && i < N_PROBE_PLACES; i++)
		rc = make_place(n, i, &links[i]);
	if (rc) {
		snprintf(why, size, "no network namespaces to try it in: %s", explain(-rc));
		return rc;
	}
	for (int cable = 0; !rc && cable < 2; cable++)
		rc = lay_cable(n, cable, links);
	if (rc)
		snprintf(why, size, "no veth devices to try it with: %s", explain(-rc));
	return rc;
}

int probe_net_open(struct probe_net *n, char *why, size_t size)
{
	struct netlink *links = xcalloc(N_PROBE_PLACES, sizeof(*links));
	int rc;

	n->has_ipv6 = true;
	for (int i = 0; i < N_PROBE_PLACES; i++)
		n->netns[i] = links[i].fd = -1;
	rc = make_all(n, links, why, size);
	for (int i = 0; i < N_PROBE_PLACES; i++)
		netlink_close(&links[i]);
	free(links);
	return rc;
}

void probe_net_close(struct probe_net *n)
{
	for (int i = 0; i < N_PROBE_PLACES; i++) {
		if (n->netns[i] >= 0)
			close(n->netns[i]);
		n->netns[i] = -1;
	}
}

int probe_net_enter(const struct probe_net *n, int place)
{
	return setns(n->netns[place], CLONE_NEWNET) ? -errno : 0;
}
