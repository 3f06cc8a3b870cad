/* SPDX-License-Identifier: MIT */
/*
 * rtnetlink by hand: the requests are few and small. The kernel works off a request within send(2),
 * so its answers are there when that returns; only long lists come piece by piece as they are
 * read. Answers are told from those of an exchange that failed before by their sequence number.
 */
#include "netlink.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX_S 1
#define EVENT_READS_MAX 64 /* datagrams that netlink_events_read() takes, not to hold up the loop */
/* Requests for a route under way at once: their answers must fit into the receive buffer. */
#define ROUTE_BATCH 32
#define ROUTE_REQUEST_MAX_BYTES 96

typedef void (*message_fn)(void *arg, const struct nlmsghdr *m);

/* What is awaited. */
struct answers {
	uint32_t first; /* the sequence number of the first request */
	uint32_t n;     /* of the requests */
	uint32_t left;  /* not yet answered */
	bool is_list;   /* an answer is a list of messages, and its end */
	message_fn on_message;
	void *arg;
	int error; /* that ended the last request which failed; 0: none */
	bool was_interrupted;
};

/* --- messages -------------------------------------------------------------------------------- */

/* The attributes from `from` to `end` by type, NULL for what is not there. */
static void parse_attributes(const struct rtattr *out[], size_t n, const void *from,
			     const void *end)
{
	const char *p = from;

	for (size_t i = 0; i < n; i++)
		out[i] = NULL;
	while ((const char *)end - p >= (ptrdiff_t)sizeof(struct rtattr)) {
		const struct rtattr *a = (const void *)p;
		size_t left = (size_t)((const char *)end - p);
		unsigned int type = a->rta_type & (unsigned int)NLA_TYPE_MASK;

		if (a->rta_len < sizeof(*a) || a->rta_len > left)
			return;
		if (type < n)
			out[type] = a;
		p += MIN(RTA_ALIGN(a->rta_len), left);
	}
}

static const void *end_of(const struct nlmsghdr *m)
{
	return (const char *)m + m->nlmsg_len;
}

static void parse_message(const struct rtattr *out[], size_t n, const struct nlmsghdr *m,
			  size_t header_bytes)
{
	parse_attributes(out, n, (const char *)NLMSG_DATA(m) + NLMSG_ALIGN(header_bytes),
			 end_of(m));
}

static size_t payload_bytes(const struct rtattr *a)
{
	return a->rta_len - RTA_LENGTH(0);
}

static uint32_t get_u32(const struct rtattr *a)
{
	uint32_t value = 0;

	if (a && payload_bytes(a) >= sizeof(value))
		memcpy(&value, RTA_DATA(a), sizeof(value));
	return value;
}

static void get_text(const struct rtattr *a, char *out, size_t size)
{
	size_t len = a ? strnlen(RTA_DATA(a), payload_bytes(a)) : 0;

	len = MIN(len, size - 1);
	if (len)
		memcpy(out, RTA_DATA(a), len);
	out[len] = '\0';
}

/* False: no address of this family. Without an attribute the address is that of the default route. */
static bool get_address(const struct rtattr *a, int family, struct addr *out)
{
	memset(out, 0, sizeof(*out));
	if (family != AF_INET && family != AF_INET6)
		return false;
	out->sa.sa_family = (sa_family_t)family;
	if (a && family == AF_INET && payload_bytes(a) == sizeof(out->in.sin_addr))
		memcpy(&out->in.sin_addr, RTA_DATA(a), sizeof(out->in.sin_addr));
	else if (a && family == AF_INET6 && payload_bytes(a) == sizeof(out->in6.sin6_addr))
		memcpy(&out->in6.sin6_addr, RTA_DATA(a), sizeof(out->in6.sin6_addr));
	else
		return !a;
	return true;
}

/* The place behind the attribute that was put. */
static char *put_attribute(char *at, unsigned short type, const void *data, size_t len)
{
	struct rtattr a = { .rta_len = (unsigned short)RTA_LENGTH(len), .rta_type = type };

	memcpy(at, &a, sizeof(a));
	memcpy(at + RTA_LENGTH(0), data, len);
	return at + RTA_SPACE(len);
}

static bool has_header(const struct nlmsghdr *m, unsigned short type, size_t header_bytes)
{
	return m->nlmsg_type == type && m->nlmsg_len >= NLMSG_LENGTH(header_bytes);
}

/* --- asking ---------------------------------------------------------------------------------- */

int netlink_open(struct netlink *n)
{
	struct timeval limit = { .tv_sec = ANSWER_MAX_S };
	int rc;

	n->sequence = 0;
	n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (n->fd < 0)
		return -errno;
	if (!setsockopt(n->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return 0;
	rc = -errno;
	netlink_close(n);
	return rc;
}

void netlink_close(struct netlink *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

static void take_message(struct answers *a, const struct nlmsghdr *m)
{
	int error = 0;

	if (m->nlmsg_seq - a->first >= a->n)
		return;
	a->was_interrupted |= m->nlmsg_flags & NLM_F_DUMP_INTR;
	/* Both begin with the error. A list that fails under way has it at its end. */
	if (m->nlmsg_type == NLMSG_ERROR || m->nlmsg_type == NLMSG_DONE) {
		if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(error)))
			memcpy(&error, NLMSG_DATA(m), sizeof(error));
		a->error = error ? error : a->error;
		a->left--;
		return;
	}
	a->on_message(a->arg, m);
	if (!a->is_list)
		a->left--;
}

/* The messages of one datagram. */
static void walk(const char *p, size_t len, message_fn each, void *arg)
{
	while (len >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *m = (const void *)p;
		size_t step = NLMSG_ALIGN(m->nlmsg_len);

		if (m->nlmsg_len < sizeof(*m) || m->nlmsg_len > len)
			return;
		each(arg, m);
		step = MIN(step, len);
		p += step;
		len -= step;
	}
}

static void on_answer(void *arg, const struct nlmsghdr *m)
{
	take_message(arg, m);
}

static int receive(struct netlink *n, struct answers *a)
{
	while (a->left) {
		/* MSG_TRUNC: the whole length, also of what did not fit. */
		ssize_t len = recv(n->fd, n->buffer, sizeof(n->buffer), MSG_TRUNC);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if ((size_t)len > sizeof(n->buffer))
			return -EMSGSIZE;
		walk(n->buffer, (size_t)len, on_answer, a);
	}
	return 0;
}

/* Asks for a list. `request` begins with a header without type and sequence number. */
static int ask_for_list(struct netlink *n, struct nlmsghdr *request, unsigned short type,
			message_fn on_message, void *arg)
{
	struct answers a = { .first = ++n->sequence, .n = 1, .left = 1, .is_list = true };
	int rc;

	a.on_message = on_message;
	a.arg = arg;
	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = a.first;
	if (send(n->fd, request, request->nlmsg_len, 0) < 0)
		return -errno;
	rc = receive(n, &a);
	if (!rc)
		rc = a.error;
	return !rc && a.was_interrupted ? -EINTR : rc;
}

/* --- links, addresses, filters --------------------------------------------------------------- */

/* Who gets what the messages say. */
struct receiver {
	union {
		netlink_link_fn link;
		netlink_address_fn address;
		netlink_filter_fn filter;
		netlink_device_fn device;
		netlink_event_fn event;
	};
	void *arg;
};

static void on_link(void *arg, const struct nlmsghdr *m)
{
	const struct rtattr *at[IFLA_LINKINFO + 1], *info[IFLA_INFO_KIND + 1];
	const struct ifinfomsg *header = NLMSG_DATA(m);
	const struct receiver *to = arg;
	struct netlink_link link = { 0 };

	if (!has_header(m, RTM_NEWLINK, sizeof(*header)))
		return;
	parse_message(at, ARRAY_SIZE(at), m, sizeof(*header));
	link.ifindex = (uint32_t)header->ifi_index;
	link.type = header->ifi_type;
	link.state = at[IFLA_OPERSTATE] ? *(const uint8_t *)RTA_DATA(at[IFLA_OPERSTATE]) : 0;
	link.master = get_u32(at[IFLA_MASTER]);
	get_text(at[IFLA_IFNAME], link.name, sizeof(link.name));
	if (at[IFLA_LINKINFO]) {
		const char *inside = RTA_DATA(at[IFLA_LINKINFO]);

		parse_attributes(info, ARRAY_SIZE(info), inside,
				 inside + payload_bytes(at[IFLA_LINKINFO]));
		get_text(info[IFLA_INFO_KIND], link.kind, sizeof(link.kind));
	}
	to->link(to->arg, &link);
}

int netlink_links(struct netlink *n, netlink_link_fn each, void *arg)
{
	struct receiver to = { .link = each, .arg = arg };
	uint32_t without = RTEXT_FILTER_SKIP_STATS;
	struct {
		struct nlmsghdr head;
		struct ifinfomsg link;
		char attributes[RTA_SPACE(sizeof(without))];
	} request = { .head.nlmsg_len = sizeof(request) };

	put_attribute(request.attributes, IFLA_EXT_MASK, &without, sizeof(without));
	return ask_for_list(n, &request.head, RTM_GETLINK, on_link, &to);
}

static void on_address(void *arg, const struct nlmsghdr *m)
{
	const struct ifaddrmsg *header = NLMSG_DATA(m);
	const struct rtattr *at[IFA_LOCAL + 1];
	const struct receiver *to = arg;
	struct netlink_address a = { 0 };

	if (!has_header(m, RTM_NEWADDR, sizeof(*header)))
		return;
	parse_message(at, ARRAY_SIZE(at), m, sizeof(*header));
	a.ifindex = header->ifa_index;
	a.is_for_host_only = header->ifa_scope == RT_SCOPE_HOST;
	/* On a point-to-point device IFA_ADDRESS is the other end's. */
	if (!get_address(at[at[IFA_LOCAL] ? IFA_LOCAL : IFA_ADDRESS], header->ifa_family, &a.host))
		return;
	if (header->ifa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a.host.in6.sin6_addr))
		a.host.in6.sin6_scope_id = a.ifindex;
	to->address(to->arg, &a);
}

int netlink_addresses(struct netlink *n, netlink_address_fn each, void *arg)
{
	struct receiver to = { .address = each, .arg = arg };
	struct {
		struct nlmsghdr head;
		struct ifaddrmsg address;
	} request = { .head.nlmsg_len = sizeof(request) };

	return ask_for_list(n, &request.head, RTM_GETADDR, on_address, &to);
}

static void on_filter(void *arg, const struct nlmsghdr *m)
{
	const struct tcmsg *header = NLMSG_DATA(m);
	const struct receiver *to = arg;
	struct netlink_filter f;

	if (!has_header(m, RTM_NEWTFILTER, sizeof(*header)))
		return;
	f.handle = header->tcm_handle;
	f.priority = (uint16_t)(TC_H_MAJ(header->tcm_info) >> 16);
	to->filter(to->arg, &f);
}

int netlink_filters(struct netlink *n, uint32_t ifindex, bool at_ingress, netlink_filter_fn each,
		    void *arg)
{
	struct receiver to = { .filter = each, .arg = arg };
	struct {
		struct nlmsghdr head;
		struct tcmsg filter;
	} request = {
		.head.nlmsg_len = sizeof(request),
		.filter = {
			.tcm_ifindex = (int)ifindex,
			.tcm_parent = TC_H_MAKE(TC_H_CLSACT,
						at_ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS),
		},
	};

	return ask_for_list(n, &request.head, RTM_GETTFILTER, on_filter, &to);
}

/* --- routes ---------------------------------------------------------------------------------- */

static uint32_t route_mtu(const struct rtattr *metrics)
{
	const struct rtattr *at[RTAX_MTU + 1] = { 0 };
	const char *from = metrics ? RTA_DATA(metrics) : NULL;

	if (metrics)
		parse_attributes(at, ARRAY_SIZE(at), from, from + payload_bytes(metrics));
	return get_u32(at[RTAX_MTU]);
}

static void on_next_hops(const struct receiver *to, const struct rtattr *list, uint32_t mtu)
{
	const char *p = RTA_DATA(list), *end = p + payload_bytes(list);

	while (end - p >= (ptrdiff_t)sizeof(struct rtnexthop)) {
		const struct rtnexthop *hop = (const void *)p;
		ptrdiff_t step = (ptrdiff_t)NLMSG_ALIGN(hop->rtnh_len);

		if (hop->rtnh_len < sizeof(*hop) || step > end - p)
			return;
		to->device(to->arg, (uint32_t)hop->rtnh_ifindex, mtu);
		p += step;
	}
}

static void on_route(void *arg, const struct nlmsghdr *m)
{
	const struct rtattr *at[RTA_MULTIPATH + 1];
	const struct rtmsg *header = NLMSG_DATA(m);
	const struct receiver *to = arg;
	uint32_t mtu;

	if (!has_header(m, RTM_NEWROUTE, sizeof(*header)))
		return;
	parse_message(at, ARRAY_SIZE(at), m, sizeof(*header));
	mtu = route_mtu(at[RTA_METRICS]);
	/* Of an address of ours the route names the device that has it, not the one it is reached
	 * by. */
	if (header->rtm_type == RTN_LOCAL)
		to->device(to->arg, NETLINK_LOOPBACK_IFINDEX, mtu);
	else if (header->rtm_type == RTN_UNICAST && at[RTA_MULTIPATH])
		on_next_hops(to, at[RTA_MULTIPATH], mtu);
	else if (header->rtm_type == RTN_UNICAST && at[RTA_OIF])
		to->device(to->arg, get_u32(at[RTA_OIF]), mtu);
}

static size_t host_bytes(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 ? sizeof(a->in6.sin6_addr) : sizeof(a->in.sin_addr);
}

static char *put_host(char *at, unsigned short type, const struct addr *a)
{
	const void *host = a->sa.sa_family == AF_INET6 ? (const void *)&a->in6.sin6_addr
						       : &a->in.sin_addr;

	return put_attribute(at, type, host, host_bytes(a));
}

/* RTM_F_FIB_MATCH: the route itself, with all its next hops, not the one that the next packet
 * takes. */
static size_t put_route_request(char *at, const struct addr *to, const struct addr *from,
				uint32_t sequence)
{
	struct {
		struct nlmsghdr head;
		struct rtmsg route;
		char attributes[2 * RTA_SPACE(sizeof(to->in6.sin6_addr)) +
				RTA_SPACE(sizeof(uint32_t))];
	} request = {
		.head = { .nlmsg_type = RTM_GETROUTE,
			  .nlmsg_flags = NLM_F_REQUEST,
			  .nlmsg_seq = sequence },
		.route = { .rtm_family = (unsigned char)to->sa.sa_family,
			   .rtm_dst_len = (unsigned char)(host_bytes(to) * 8),
			   .rtm_flags = RTM_F_FIB_MATCH },
	};
	char *end = put_host(request.attributes, RTA_DST, to);

	_Static_assert(sizeof(request) <= ROUTE_REQUEST_MAX_BYTES, "room is reckoned by that");
	if (from) {
		request.route.rtm_src_len = (unsigned char)(host_bytes(from) * 8);
		end = put_host(end, RTA_SRC, from);
	}
	if (to->sa.sa_family == AF_INET6 && to->in6.sin6_scope_id)
		end = put_attribute(end, RTA_OIF, &to->in6.sin6_scope_id, sizeof(uint32_t));
	request.head.nlmsg_len = (uint32_t)(end - (char *)&request);
	memcpy(at, &request, request.head.nlmsg_len);
	return NLMSG_ALIGN(request.head.nlmsg_len);
}

int netlink_routes(struct netlink *n, const struct addr *to, size_t count, const struct addr *from,
		   netlink_device_fn each, void *arg)
{
	struct receiver receiver = { .device = each, .arg = arg };

	for (size_t done = 0; done < count;) {
		uint32_t batch = (uint32_t)MIN(count - done, ROUTE_BATCH);
		struct answers a = { .first = n->sequence + 1, .n = batch, .left = batch };
		size_t len = 0;
		int rc;

		_Static_assert(ROUTE_BATCH * ROUTE_REQUEST_MAX_BYTES <= NETLINK_BUFFER_BYTES,
			       "the requests are made where the answers will be");
		a.on_message = on_route;
		a.arg = &receiver;
		for (uint32_t i = 0; i < batch; i++)
			len += put_route_request(n->buffer + len, &to[done++], from, ++n->sequence);
		if (send(n->fd, n->buffer, len, 0) < 0)
			return -errno;
		rc = receive(n, &a); /* a host without a route is an error of its request alone */
		if (rc)
			return rc;
	}
	return 0;
}

/* --- changes --------------------------------------------------------------------------------- */

/* The only answer is the error, which take_message() notes. */
static void on_no_message(void *arg, const struct nlmsghdr *m)
{
	(void)arg;
	(void)m;
}

int netlink_change(struct netlink *n, struct nlmsghdr *request)
{
	struct answers a = { .first = ++n->sequence, .n = 1, .left = 1 };
	int rc;

	a.on_message = on_no_message;
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = a.first;
	if (send(n->fd, request, request->nlmsg_len, 0) < 0)
		return -errno;
	rc = receive(n, &a);
	return rc ? rc : a.error;
}

/* --- events ---------------------------------------------------------------------------------- */

/*
 * Bound to a port that the kernel chooses: what is sent to all is not sent to who seems to have
 * caused it, which is port 0 where the kernel did, and so a socket without a port.
 */
static int subscribe(int fd)
{
	static const int groups[] = {
		RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP,
	};
	const struct sockaddr_nl any = { .nl_family = AF_NETLINK };

	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)))
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(int)))
			return -errno;
	return 0;
}

int netlink_events_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE), rc;

	if (fd < 0)
		return -errno;
	rc = subscribe(fd);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static void on_event(void *arg, const struct nlmsghdr *m)
{
	bool is_route = has_header(m, RTM_NEWROUTE, sizeof(struct rtmsg)) ||
			has_header(m, RTM_DELROUTE, sizeof(struct rtmsg));
	const struct rtattr *at[RTA_DST + 1];
	const struct rtmsg *route = NLMSG_DATA(m);
	const struct receiver *to = arg;
	struct addr network;

	if (is_route) {
		parse_message(at, ARRAY_SIZE(at), m, sizeof(*route));
		if (get_address(at[RTA_DST], route->rtm_family, &network))
			to->event(to->arg, &network, route->rtm_dst_len);
		return;
	}
	/* The state of a port in its bridge, which no route depends on. */
	if (has_header(m, RTM_NEWLINK, sizeof(struct ifinfomsg)) &&
	    ((const struct ifinfomsg *)NLMSG_DATA(m))->ifi_family == AF_BRIDGE)
		return;
	to->event(to->arg, NULL, 0);
}

int netlink_events_read(int fd, netlink_event_fn each, void *arg)
{
	struct receiver to = { .event = each, .arg = arg };
	_Alignas(8) char buffer[NETLINK_BUFFER_BYTES];

	for (int i = 0; i < EVENT_READS_MAX; i++) {
		ssize_t len = recv(fd, buffer, sizeof(buffer), 0);

		if (len < 0 && errno == EAGAIN)
			break;
		if (len < 0)
			return -errno;
		walk(buffer, (size_t)len, on_event, &to);
	}
	return 0;
}
