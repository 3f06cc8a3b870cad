// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TCP packet as the wire's programs see it: parsed from an skb with an Ethernet header, changed
 * in a copy of its headers, and written back with right checksums.
 *
 * The kernel keeps a packet's checksum in one of three ways, and a program can't see in which. With
 * CHECKSUM_NONE or UNNECESSARY the field in the header is a whole one. With PARTIAL (sent by a
 * local process or taken from GRO) it holds the sum of the pseudo-header, and the device adds the
 * rest. With COMPLETE the skb also has the sum of all that follows the Ethernet header, which must
 * stay right: it does not change where a field and a checksum that covers it change together. The
 * helpers do their part for each; what is left to do is said where it is done.
 */
#ifndef WIRE_PACKET_BPF_H
#define WIRE_PACKET_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "wire_abi.h"
#include "wire_options.bpf.h"

#define ETH_HLEN 14
#define ETH_ALEN 6
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define TC_ACT_OK 0
#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2
#define AF_INET 2
#define AF_INET6 10

#define IP_MORE_FRAGMENTS 0x2000
#define IP_FRAGMENT_OFFSET 0x1FFF
#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_PSH 0x08
#define TCP_FLAG_ACK 0x10
#define TCP_FLAG_URG 0x20

#define IPPROTO_HOPOPTS 0
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60

/* The fields that matter of struct tcphdr, with the flags as a byte. */
struct tcp_header {
	__be16 source, dest;
	__be32 seq, ack;
	__u8 offset; /* in words, in the upper half */
	__u8 flags;
	__be16 window;
	__sum16 check;
	__be16 urgent;
};

/* As in the packet, without a gap: IPv4 starts later, so that TCP has its place in either family. */
struct headers {
	union {
		struct ipv6hdr v6;
		struct {
			__u8 unused[sizeof(struct ipv6hdr) - sizeof(struct iphdr)];
			struct iphdr v4;
		};
	};
	struct tcp_header tcp;
	struct tcp_options options;
};

struct packet {
	struct headers h;
	struct wire_tuple tuple;
	__u32 options; /* bytes */
	__u32 payload; /* bytes; what GRO has made of many packets is one */
	bool is_ipv6;
	bool is_malformed; /* a length contradicts another: nothing but the tuple is valid */
};

enum packet_kind {
	PACKET_OTHER,
	PACKET_TCP,
	PACKET_FRAGMENT,
	PACKET_OPTIONS,
	PACKET_ICMP,
	PACKET_ICMPV6
};

static __always_inline void mapped_address(__u32 out[4], __be32 address)
{
	out[0] = 0;
	out[1] = 0;
	out[2] = bpf_htonl(0xFFFF);
	out[3] = address;
}

static __always_inline __u32 ip_bytes(const struct packet *p)
{
	return p->is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
}

static __always_inline __u32 tcp_offset(const struct packet *p)
{
	return ETH_HLEN + ip_bytes(p);
}

/* Reads what there is of the headers, options included, at once: each read is a call. */
static __always_inline bool load_headers(struct __sk_buff *skb, void *out, __u32 least, __u32 most)
{
	__u32 n = skb->len - ETH_HLEN;

	barrier_var(n);
	if (n < least)
		return false;
	if (n > most)
		n = most;
	return !bpf_skb_load_bytes(skb, ETH_HLEN, out, n);
}

static __always_inline enum packet_kind packet_parse_v4(struct __sk_buff *skb, struct packet *p)
{
	const struct iphdr *ip = &p->h.v4;

	if (!load_headers(skb, &p->h.v4, sizeof(p->h.v4),
			  sizeof(p->h.v4) + sizeof(p->h.tcp) + TCP_OPTIONS_MAX_BYTES) ||
	    ip->version != 4)
		return PACKET_OTHER;
	if (ip->protocol == IPPROTO_ICMP && ip->ihl == 5)
		return PACKET_ICMP;
	if (ip->protocol != IPPROTO_TCP)
		return PACKET_OTHER;
	if (ip->ihl != 5)
		return PACKET_OPTIONS;
	if (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET))
		return PACKET_FRAGMENT;
	mapped_address(p->tuple.saddr, ip->saddr);
	mapped_address(p->tuple.daddr, ip->daddr);
	return PACKET_TCP;
}

static __always_inline enum packet_kind packet_parse_v6(struct __sk_buff *skb, struct packet *p)
{
	const struct ipv6hdr *ip = &p->h.v6;

	if (!load_headers(skb, &p->h.v6, sizeof(p->h.v6),
			  sizeof(p->h.v6) + sizeof(p->h.tcp) + TCP_OPTIONS_MAX_BYTES) ||
	    ip->version != 6)
		return PACKET_OTHER;
	switch (ip->nexthdr) {
	case IPPROTO_TCP:
		break;
	case IPPROTO_ICMPV6:
		return PACKET_ICMPV6;
	case IPPROTO_FRAGMENT:
		return PACKET_FRAGMENT;
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
		return PACKET_OPTIONS;
	default:
		return PACKET_OTHER;
	}
	__builtin_memcpy(p->tuple.saddr, &ip->saddr, sizeof(p->tuple.saddr));
	__builtin_memcpy(p->tuple.daddr, &ip->daddr, sizeof(p->tuple.daddr));
	p->is_ipv6 = true;
	return PACKET_TCP;
}

/* How much of what follows the IP header is TCP: a frame may be padded, and a GSO packet larger
 * than the field can say (BIG TCP), which is 0 then. */
static __always_inline void packet_measure(struct __sk_buff *skb, struct packet *p)
{
	__u32 field = p->is_ipv6 ? bpf_ntohs(p->h.v6.payload_len) : bpf_ntohs(p->h.v4.tot_len);
	__u32 header = (p->h.tcp.offset >> 4) * 4, start = tcp_offset(p), bytes;

	if (!field && skb->gso_size)
		bytes = skb->len - start;
	else
		bytes = p->is_ipv6 ? field : field - sizeof(struct iphdr);
	p->is_malformed = header < sizeof(p->h.tcp) || skb->len < start ||
			  bytes > skb->len - start || header > bytes;
	p->options = header - sizeof(p->h.tcp);
	p->payload = bytes - header;
}

/* *p is zero. */
static __always_inline enum packet_kind packet_parse(struct __sk_buff *skb, struct packet *p)
{
	enum packet_kind kind = PACKET_OTHER;

	if (skb->vlan_present)
		return PACKET_OTHER;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		kind = packet_parse_v4(skb, p);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		kind = packet_parse_v6(skb, p);
	if (kind != PACKET_TCP)
		return kind;
	p->tuple.sport = p->h.tcp.source;
	p->tuple.dport = p->h.tcp.dest;
	packet_measure(skb, p);
	return PACKET_TCP;
}

static __always_inline void tuple_reverse(const struct wire_tuple *t, struct wire_tuple *out)
{
	__builtin_memcpy(out->saddr, t->daddr, sizeof(out->saddr));
	__builtin_memcpy(out->daddr, t->saddr, sizeof(out->daddr));
	out->sport = t->dport;
	out->dport = t->sport;
	out->reserved = 0;
}

/* Addresses and ports into the headers, checksums not. */
static __always_inline void packet_set_tuple(struct packet *p, const struct wire_tuple *t)
{
	p->h.tcp.source = t->sport;
	p->h.tcp.dest = t->dport;
	if (p->is_ipv6) {
		__builtin_memcpy(&p->h.v6.saddr, t->saddr, sizeof(p->h.v6.saddr));
		__builtin_memcpy(&p->h.v6.daddr, t->daddr, sizeof(p->h.v6.daddr));
	} else {
		p->h.v4.saddr = t->saddr[3];
		p->h.v4.daddr = t->daddr[3];
	}
}

/* Both of 16 or 32 bits, in ones' complement. */
static __always_inline __u32 csum_add(__u32 a, __u32 b)
{
	a += b;
	return a + (a < b);
}

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	return ~sum;
}

/* As csum_replace_by_diff() of the kernel. */
static __always_inline __u16 csum_replace(__u16 check, __u32 diff)
{
	return csum_fold(csum_add(diff, (__u16)~check));
}

/* Writes the TCP header with its options, and IPv4's before it. */
static __always_inline long packet_store(struct __sk_buff *skb, struct packet *p, __u64 flags)
{
	__u32 n = p->options;

	barrier_var(n);
	if (n > TCP_OPTIONS_MAX_BYTES)
		return -1;
	if (p->is_ipv6)
		return bpf_skb_store_bytes(skb, ETH_HLEN + sizeof(p->h.v6), &p->h.tcp,
					   sizeof(p->h.tcp) + n, flags);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &p->h.v4, sizeof(p->h.v4) + sizeof(p->h.tcp) + n,
				   flags);
}

/*
 * Makes the packet a segment without payload, as its headers in *p say; lengths and checksums are
 * set here. All is computed anew, since the payload's part of a checksum is not known.
 */
static __always_inline bool packet_store_bare(struct __sk_buff *skb, struct packet *p)
{
	__u32 n = p->options, pseudo, sum;
	__u16 bytes, partial;

	barrier_var(n);
	if (n > TCP_OPTIONS_MAX_BYTES)
		return false;
	bytes = sizeof(p->h.tcp) + n;
	pseudo = bpf_htons(IPPROTO_TCP) + bpf_htons(bytes);
	if (p->is_ipv6) {
		p->h.v6.payload_len = bpf_htons(bytes);
		pseudo = bpf_csum_diff(NULL, 0, (__be32 *)&p->h.v6.saddr, 32, pseudo);
	} else {
		p->h.v4.tot_len = bpf_htons(sizeof(p->h.v4) + bytes);
		p->h.v4.check = 0;
		p->h.v4.check =
			csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&p->h.v4, sizeof(p->h.v4), 0));
		pseudo = bpf_csum_diff(NULL, 0, (__be32 *)&p->h.v4.saddr, 8, pseudo);
	}
	p->h.tcp.check = 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&p->h.tcp, sizeof(p->h.tcp) + n, 0);
	partial = ~csum_fold(pseudo);
	p->h.tcp.check = partial;
	if (bpf_skb_change_tail(skb, tcp_offset(p) + bytes, 0) ||
	    packet_store(skb, p, BPF_F_RECOMPUTE_CSUM))
		return false;
	if (p->is_ipv6 &&
	    bpf_skb_store_bytes(skb, ETH_HLEN, &p->h.v6, sizeof(p->h.v6), BPF_F_RECOMPUTE_CSUM))
		return false;
	/* What is in the field now is right for PARTIAL, for which the helper does nothing. For the
	 * others it makes it the whole sum: ~(difference + ~partial) = ~(pseudo + sum). */
	bpf_l4_csum_replace(skb, tcp_offset(p) + offsetof(struct tcp_header, check), 0,
			    csum_add(csum_add(pseudo, sum), partial), 0);
	/* Only for COMPLETE (which a packet is no more if something was cut off): the field does
	 * not change with what it covers here, as the helper supposes. */
	bpf_csum_update(skb, csum_add(csum_fold(csum_add(pseudo, sum)), (__u16)~partial));
	return true;
}

/* The socket that would get a packet with this tuple, for bpf_sk_release(), or NULL. */
static __always_inline struct bpf_sock *receiver(struct __sk_buff *skb, const struct wire_tuple *t,
						 bool is_ipv6)
{
	struct bpf_sock_tuple at = {};

	if (is_ipv6) {
		__builtin_memcpy(at.ipv6.saddr, t->saddr, sizeof(at.ipv6.saddr));
		__builtin_memcpy(at.ipv6.daddr, t->daddr, sizeof(at.ipv6.daddr));
		at.ipv6.sport = t->sport;
		at.ipv6.dport = t->dport;
		return bpf_skc_lookup_tcp(skb, &at, sizeof(at.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	at.ipv4.saddr = t->saddr[3];
	at.ipv4.daddr = t->daddr[3];
	at.ipv4.sport = t->sport;
	at.ipv4.dport = t->dport;
	return bpf_skc_lookup_tcp(skb, &at, sizeof(at.ipv4), BPF_F_CURRENT_NETNS, 0);
}

#endif
