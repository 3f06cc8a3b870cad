// SPDX-License-Identifier: GPL-2.0-only
/*
 * ICMP errors about packets of a joined flow (no route, too big, time exceeded) quote a packet that
 * this host has sent and nobody here knows any more. The quote becomes the packet that its real
 * sender had sent, and the error goes there, in the name of the router that it came from.
 *
 * The quote of a packet to a peer is what arrives from it, reversed: so it is that peer's leg that
 * says who the real sender is, what his addresses are, and what to add to his sequence number.
 */
#ifndef WIRE_ICMP_BPF_H
#define WIRE_ICMP_BPF_H

#include "wire_maps.bpf.h"
#include "wire_packet.bpf.h"

#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_PARAMETER_PROBLEM 4

struct icmp_header {
	__u8 type, code;
	__sum16 check;
	__be32 rest;
};

/* What an error must quote of TCP. */
struct quoted_tcp {
	__be16 source, dest;
	__be32 seq;
};

struct icmp_v4 {
	struct iphdr ip;
	struct icmp_header icmp;
	struct iphdr quoted_ip;
	struct quoted_tcp tcp;
};

struct icmp_v6 {
	struct ipv6hdr ip;
	struct icmp_header icmp;
	struct ipv6hdr quoted_ip;
	struct quoted_tcp tcp;
};

static __always_inline const struct wire_leg *quoted_leg(struct wire_tuple *t,
							 const struct quoted_tcp *tcp)
{
	t->sport = tcp->dest;
	t->dport = tcp->source;
	return bpf_map_lookup_elem(&wire_flows, t);
}

/* The answer is what the checksum must be told of the change: new less old. */
static __always_inline __u32 quote_sender(struct quoted_tcp *tcp, const struct wire_leg *leg)
{
	__u32 old = bpf_csum_diff((__be32 *)tcp, sizeof(*tcp), NULL, 0, 0);

	tcp->source = leg->to.dport;
	tcp->dest = leg->to.sport;
	tcp->seq = bpf_htonl(bpf_ntohl(tcp->seq) + leg->ack_delta);
	return bpf_csum_diff(NULL, 0, (__be32 *)tcp, sizeof(*tcp), old);
}

static __always_inline int send_error(const struct wire_leg *leg)
{
	const struct wire_direction *d = direction(leg->slot);

	if (!d)
		return TC_ACT_SHOT;
	count(WIRE_ICMP_FORWARDED);
	return bpf_redirect_neigh(READ_ONCE(d->ifindex), NULL, 0, 0);
}

/*
 * Every sum in an error changes together with what it covers, so that of a COMPLETE packet stays,
 * and PARTIAL is not used for ICMP: what is written here is right in each case.
 */
__noinline int wire_icmp_v4(struct __sk_buff *skb)
{
	struct wire_tuple t = {};
	const struct wire_leg *leg;
	struct icmp_v4 p;
	__u32 addresses;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &p, sizeof(p)) ||
	    (p.ip.frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)) ||
	    (p.icmp.type != ICMP_UNREACHABLE && p.icmp.type != ICMP_TIME_EXCEEDED &&
	     p.icmp.type != ICMP_PARAMETER_PROBLEM) ||
	    p.quoted_ip.version != 4 || p.quoted_ip.ihl != 5 ||
	    p.quoted_ip.protocol != IPPROTO_TCP ||
	    (p.quoted_ip.frag_off & bpf_htons(IP_FRAGMENT_OFFSET)))
		return TC_ACT_UNSPEC;
	mapped_address(t.saddr, p.quoted_ip.daddr);
	mapped_address(t.daddr, p.quoted_ip.saddr);
	leg = quoted_leg(&t, &p.tcp);
	if (!leg || leg->is_ipv6)
		return TC_ACT_UNSPEC;
	addresses = bpf_csum_diff(&p.quoted_ip.saddr, 8, NULL, 0,
				  csum_add(leg->to.saddr[3], leg->to.daddr[3]));
	p.quoted_ip.check = csum_replace(p.quoted_ip.check, addresses);
	p.quoted_ip.saddr = leg->to.daddr[3];
	p.quoted_ip.daddr = leg->to.saddr[3];
	/* The quoted IP header sums up to the same as before. */
	p.icmp.check = csum_replace(p.icmp.check, quote_sender(&p.tcp, leg));
	p.ip.check = csum_replace(p.ip.check, csum_add(~p.ip.daddr, leg->to.daddr[3]));
	p.ip.daddr = leg->to.daddr[3];
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &p, sizeof(p), 0))
		return TC_ACT_SHOT;
	return send_error(leg);
}

__noinline int wire_icmp_v6(struct __sk_buff *skb)
{
	struct wire_tuple t = {};
	const struct wire_leg *leg;
	struct icmp_v6 p;
	__u32 diff;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &p, sizeof(p)) || p.icmp.type < ICMPV6_UNREACHABLE ||
	    p.icmp.type > ICMPV6_PARAMETER_PROBLEM || p.quoted_ip.version != 6 ||
	    p.quoted_ip.nexthdr != IPPROTO_TCP)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(t.saddr, &p.quoted_ip.daddr, sizeof(t.saddr));
	__builtin_memcpy(t.daddr, &p.quoted_ip.saddr, sizeof(t.daddr));
	leg = quoted_leg(&t, &p.tcp);
	if (!leg || !leg->is_ipv6)
		return TC_ACT_UNSPEC;
	diff = quote_sender(&p.tcp, leg);
	diff = bpf_csum_diff((__be32 *)&p.quoted_ip.saddr, 32, (__be32 *)leg->to.saddr, 32, diff);
	diff = bpf_csum_diff((__be32 *)&p.ip.daddr, 16, (__be32 *)leg->to.daddr, 16, diff);
	p.icmp.check = csum_replace(p.icmp.check, diff);
	__builtin_memcpy(&p.quoted_ip.saddr, leg->to.daddr, sizeof(p.quoted_ip.saddr));
	__builtin_memcpy(&p.quoted_ip.daddr, leg->to.saddr, sizeof(p.quoted_ip.daddr));
	__builtin_memcpy(&p.ip.daddr, leg->to.daddr, sizeof(p.ip.daddr));
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &p, sizeof(p), 0))
		return TC_ACT_SHOT;
	return send_error(leg);
}

#endif
