// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets of joined legs that are too large for the way on: bpf_redirect_neigh asks for no MTU, and
 * a device drops them without a word. So they are judged here, and their sender is told as a router
 * would tell him, by an ICMP error in the name of the address that he has sent to. It quotes what
 * he has sent, before anything is translated.
 */
#ifndef WIRE_MTU_BPF_H
#define WIRE_MTU_BPF_H

#include "wire_icmp.bpf.h"
#include "wire_maps.bpf.h"
#include "wire_packet.bpf.h"

#define ICMP_FRAGMENTATION_NEEDED 4 /* code of ICMP_UNREACHABLE */
#define ICMPV6_TOO_BIG 2
#define IP_DONT_FRAGMENT 0x4000
#define IP_TOS_INTERNETWORK_CONTROL 0xC0
#define ICMP_TTL 64
#define MTU_UNKNOWN 0xFFFFFFFF

/* RFC 792, RFC 1191; quoted is what Linux and others look at. */
struct too_big_v4 {
	struct iphdr ip;
	struct icmp_header icmp;
	struct iphdr quoted_ip;
	struct tcp_header tcp;
};

/* RFC 4443, 3.2. */
struct too_big_v6 {
	struct ipv6hdr ip;
	struct icmp_header icmp;
	struct ipv6hdr quoted_ip;
	struct tcp_header tcp;
};

/* What a packet takes of an MTU; of one that GRO has made of many, each of these. */
static __always_inline __u32 size_of(const struct __sk_buff *skb, const struct packet *p)
{
	__u32 payload = p->payload, segment = skb->gso_size;

	if (segment && segment < payload)
		payload = segment;
	return ip_bytes(p) + sizeof(p->h.tcp) + p->options + payload;
}

/* Of a direction: of the device by which its packets leave, as it is now, or of its route. */
static __always_inline __u32 direction_mtu(struct __sk_buff *skb, const struct wire_direction *d)
{
	__u32 mtu = 0, of_route = READ_ONCE(d->mtu);

	if (bpf_check_mtu(skb, READ_ONCE(d->ifindex), &mtu, 0, 0) < 0)
		mtu = MTU_UNKNOWN; /* the device has gone */
	return of_route && of_route < mtu ? of_route : mtu;
}

/*
 * A checksum for the quoted TCP header, which is all that follows the addresses there. If the
 * packet is PARTIAL the device will yet write the sum of that, and of what stands here, into this
 * very place: half of what is lacking, so that what it writes is what stands here. It is a number
 * that nobody looks at; but the checksum of the ICMP message covers it.
 */
static __always_inline __sum16 quoted_check(const struct tcp_header *tcp)
{
	struct tcp_header without = *tcp;
	__u32 half;

	without.check = 0;
	/* In ones' complement 0xFFFF is 0, and makes an odd number even. */
	half = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&without, sizeof(without), 0));
	half = (half & 1 ? half + 0xFFFF : half) / 2;
	return half ? half : 0xFFFF;
}

/* The packet's own headers are written anew behind the new ones: cut off are options and payload,
 * and with them what GRO has made, and the sum of a COMPLETE one. */
static __always_inline int answer(struct __sk_buff *skb, const struct packet *p,
				  const void *message, __u32 bytes, __u32 ifindex)
{
	__u32 quoted = ip_bytes(p) + sizeof(struct tcp_header);

	if (bpf_skb_change_tail(skb, ETH_HLEN + quoted, 0) ||
	    bpf_skb_adjust_room(skb, bytes - quoted, BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, message, bytes, 0))
		return TC_ACT_SHOT;
	return bpf_redirect_neigh(ifindex, NULL, 0, 0);
}

__noinline int wire_too_big_v4(struct __sk_buff *skb, const struct packet *p, __u32 mtu,
			       __u32 ifindex)
{
	struct too_big_v4 m = {};

	if (!skb || !p)
		return TC_ACT_SHOT;
	m.ip.version = 4;
	m.ip.ihl = sizeof(m.ip) / 4;
	m.ip.tos = IP_TOS_INTERNETWORK_CONTROL;
	m.ip.tot_len = bpf_htons(sizeof(m));
	m.ip.frag_off = bpf_htons(IP_DONT_FRAGMENT);
	m.ip.ttl = ICMP_TTL;
	m.ip.protocol = IPPROTO_ICMP;
	m.ip.saddr = p->h.v4.daddr;
	m.ip.daddr = p->h.v4.saddr;
	m.ip.check = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&m.ip, sizeof(m.ip), 0));
	m.icmp.type = ICMP_UNREACHABLE;
	m.icmp.code = ICMP_FRAGMENTATION_NEEDED;
	m.icmp.rest = bpf_htonl(mtu);
	m.quoted_ip = p->h.v4;
	m.tcp = p->h.tcp;
	m.tcp.check = quoted_check(&m.tcp);
	m.icmp.check =
		csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&m.icmp, sizeof(m) - sizeof(m.ip), 0));
	return answer(skb, p, &m, sizeof(m), ifindex);
}

__noinline int wire_too_big_v6(struct __sk_buff *skb, const struct packet *p, __u32 mtu,
			       __u32 ifindex)
{
	const __u32 bytes = sizeof(struct too_big_v6) - sizeof(struct ipv6hdr);
	struct too_big_v6 m = {};
	__u32 pseudo;

	if (!skb || !p)
		return TC_ACT_SHOT;
	m.ip.version = 6;
	m.ip.payload_len = bpf_htons(bytes);
	m.ip.nexthdr = IPPROTO_ICMPV6;
	m.ip.hop_limit = ICMP_TTL;
	__builtin_memcpy(&m.ip.saddr, &p->h.v6.daddr, sizeof(m.ip.saddr));
	__builtin_memcpy(&m.ip.daddr, &p->h.v6.saddr, sizeof(m.ip.daddr));
	m.icmp.type = ICMPV6_TOO_BIG;
	m.icmp.rest = bpf_htonl(mtu);
	m.quoted_ip = p->h.v6;
	m.tcp = p->h.tcp;
	m.tcp.check = quoted_check(&m.tcp);
	pseudo = bpf_csum_diff(NULL, 0, (__be32 *)&m.ip.saddr, 32,
			       bpf_htons(bytes) + bpf_htons(IPPROTO_ICMPV6));
	m.icmp.check = csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&m.icmp, bytes, pseudo));
	return answer(skb, p, &m, sizeof(m), ifindex);
}

static __always_inline bool is_too_big(struct __sk_buff *skb, const struct packet *p,
				       const struct wire_direction *d, __u32 *mtu)
{
	if (!p->payload)
		return false;
	*mtu = direction_mtu(skb, d);
	return size_of(skb, p) > *mtu;
}

/* o: the direction that leads to its sender. */
static __always_inline int answer_too_big(struct __sk_buff *skb, struct packet *p, __u32 mtu,
					  const struct wire_direction *o)
{
	count(WIRE_TOO_BIG_ANSWERED);
	return p->is_ipv6 ? wire_too_big_v6(skb, p, mtu, READ_ONCE(o->ifindex))
			  : wire_too_big_v4(skb, p, mtu, READ_ONCE(o->ifindex));
}

#endif
