/* SPDX-License-Identifier: MIT */
/*
 * Addresses come without a route to their network (IFA_F_NOPREFIXROUTE), and the route to the peer
 * is made here: only a route of one's own can have metrics. The network is still there for what
 * looks at it (arp_ignore, of which a new namespace gets the host's).
 */
#include "veth.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>

#define MESSAGE_MAX_BYTES 512
#define PREFIX_BITS_V4 24
#define PREFIX_BITS_V6 64
/* The kernel looks once a second, unless it takes one to be urgent. */
#define CARRIER_MAX_NS (1500 * NSEC_PER_MSEC)
#define CARRIER_LOOK_NS (200 * NSEC_PER_USEC)

/* --- messages -------------------------------------------------------------------------------- */

struct message {
	struct nlmsghdr head;
	char body[MESSAGE_MAX_BYTES];
};

/* Room for len bytes at the message's end. */
static void *message_grow(struct message *m, size_t len)
{
	char *at = (char *)m + m->head.nlmsg_len;

	if (m->head.nlmsg_len + NLMSG_ALIGN(len) > sizeof(*m))
		abort(); /* all that is put is of a known size */
	memset(at, 0, NLMSG_ALIGN(len));
	m->head.nlmsg_len += (uint32_t)NLMSG_ALIGN(len);
	return at;
}

static void *message_begin(struct message *m, uint16_t type, uint16_t flags, size_t header_bytes)
{
	m->head = (struct nlmsghdr){
		.nlmsg_len = NLMSG_HDRLEN,
		.nlmsg_type = type,
		.nlmsg_flags = flags,
	};
	return message_grow(m, header_bytes);
}

static void put(struct message *m, uint16_t type, const void *data, size_t len)
{
	struct rtattr *a = message_grow(m, RTA_LENGTH(len));

	*a = (struct rtattr){ .rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(len) };
	memcpy(RTA_DATA(a), data, len);
}

static void put_u32(struct message *m, uint16_t type, uint32_t value)
{
	put(m, type, &value, sizeof(value));
}

static void put_text(struct message *m, uint16_t type, const char *text)
{
	put(m, type, text, strlen(text) + 1);
}

static void put_host(struct message *m, uint16_t type, const struct addr *a)
{
	if (a->sa.sa_family == AF_INET6)
		put(m, type, &a->in6.sin6_addr, sizeof(a->in6.sin6_addr));
	else
		put(m, type, &a->in.sin_addr, sizeof(a->in.sin_addr));
}

/* What is put until nest_end() is inside. */
static struct rtattr *nest_begin(struct message *m, uint16_t type)
{
	struct rtattr *a = message_grow(m, RTA_LENGTH(0));

	a->rta_type = type;
	return a;
}

static void nest_end(struct message *m, struct rtattr *a)
{
	a->rta_len = (uint16_t)((char *)m + m->head.nlmsg_len - (char *)a);
}

/* --- the pair -------------------------------------------------------------------------------- */

static int make_pair(const struct veth_end ends[2])
{
	struct rtattr *info, *data, *peer;
	struct ifinfomsg *link;
	struct message m;

	link = message_begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*link));
	link->ifi_index = (int)ends[0].ifindex;
	put_text(&m, IFLA_IFNAME, ends[0].name);
	info = nest_begin(&m, IFLA_LINKINFO);
	put_text(&m, IFLA_INFO_KIND, "veth");
	data = nest_begin(&m, IFLA_INFO_DATA);
	peer = nest_begin(&m, VETH_INFO_PEER);
	link = message_grow(&m, sizeof(*link));
	link->ifi_index = (int)ends[1].ifindex;
	put_text(&m, IFLA_IFNAME, ends[1].name);
	put_u32(&m, IFLA_NET_NS_FD, (uint32_t)ends[1].netns);
	nest_end(&m, peer);
	nest_end(&m, data);
	nest_end(&m, info);
	return netlink_change(ends[0].link, &m.head);
}

static int bring_up(const struct veth_end *end)
{
	struct ifinfomsg *link;
	struct message m;

	link = message_begin(&m, RTM_NEWLINK, 0, sizeof(*link));
	link->ifi_index = (int)end->ifindex;
	link->ifi_flags = link->ifi_change = IFF_UP;
	return netlink_change(end->link, &m.head);
}

struct search {
	uint32_t ifindex;
	bool sends;
};

static void on_link(void *arg, const struct netlink_link *l)
{
	struct search *s = arg;

	if (l->ifindex == s->ifindex)
		s->sends = l->state == IF_OPER_UP;
}

/*
 * That the carrier has come is worked off by a kernel thread. Before, a device may drop what it is
 * given, and IPv6 does not speak on it. Whoever changes a device after that waits for the thread.
 */
static int wait_until_it_sends(const struct veth_end *end)
{
	const struct timespec pause = { .tv_nsec = CARRIER_LOOK_NS };
	uint64_t give_up_ns = clock_ns() + CARRIER_MAX_NS;
	struct search s = { .ifindex = end->ifindex };

	for (;;) {
		int rc = netlink_links(end->link, on_link, &s);

		if (rc && rc != -EINTR)
			return rc;
		if (s.sends)
			return 0;
		if (clock_ns() > give_up_ns)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
}

int veth_make(const struct veth_end ends[2])
{
	int rc = make_pair(ends);

	for (int i = 0; !rc && i < 2; i++)
		rc = bring_up(&ends[i]);
	for (int i = 0; !rc && i < 2; i++)
		rc = wait_until_it_sends(&ends[i]);
	return rc;
}

/* --- addresses and routes -------------------------------------------------------------------- */

static int add_address(const struct veth_end *end, const struct addr *self)
{
	bool is_ipv6 = self->sa.sa_family == AF_INET6;
	struct ifaddrmsg *address;
	struct message m;

	address = message_begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*address));
	address->ifa_family = (uint8_t)self->sa.sa_family;
	address->ifa_prefixlen = is_ipv6 ? PREFIX_BITS_V6 : PREFIX_BITS_V4;
	address->ifa_index = end->ifindex;
	put_host(&m, IFA_LOCAL, self);
	put_host(&m, IFA_ADDRESS, self);
	/* Nobody else is on this cable who could have it already. */
	put_u32(&m, IFA_FLAGS, IFA_F_NOPREFIXROUTE | (is_ipv6 ? IFA_F_NODAD : 0));
	return netlink_change(end->link, &m.head);
}

static int add_route(const struct veth_end *end, const struct addr *peer, uint32_t rto_min_ms)
{
	bool is_ipv6 = peer->sa.sa_family == AF_INET6;
	struct rtattr *metrics;
	struct rtmsg *route;
	struct message m;

	route = message_begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*route));
	*route = (struct rtmsg){
		.rtm_family = (uint8_t)peer->sa.sa_family,
		.rtm_dst_len = is_ipv6 ? 128 : 32,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC,
		.rtm_scope = RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};
	put_host(&m, RTA_DST, peer);
	put_u32(&m, RTA_OIF, end->ifindex);
	if (rto_min_ms) {
		metrics = nest_begin(&m, RTA_METRICS);
		put_u32(&m, RTAX_LOCK, 1u << RTAX_RTO_MIN); /* without it the metric is ignored */
		put_u32(&m, RTAX_RTO_MIN, rto_min_ms);
		nest_end(&m, metrics);
	}
	return netlink_change(end->link, &m.head);
}

int veth_connect(const struct veth_end *end, const struct addr *self, const struct addr *peer,
		 uint32_t rto_min_ms)
{
	int rc = add_address(end, self);

	return rc ? rc : add_route(end, peer, rto_min_ms);
}
