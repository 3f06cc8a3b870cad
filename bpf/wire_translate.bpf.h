// SPDX-License-Identifier: GPL-2.0-only
/*
 * A packet of a joined leg becomes one of the other leg, and leaves by its device. The end points
 * then talk to each other: nothing is queued here, nothing acknowledged, and what is lost they
 * repeat. TTL, DSCP and ECN stay as they are, and the payload is never looked at.
 */
#ifndef WIRE_TRANSLATE_BPF_H
#define WIRE_TRANSLATE_BPF_H

#include "wire_mtu.bpf.h"
#include "wire_options.bpf.h"
#include "wire_track.bpf.h"

/* A window that is open stays open: a peer that offers less than the other's unit would otherwise
 * seem to offer nothing for ever. */
static __always_inline __be16 translate_window(const struct packet *p, const struct wire_leg *leg)
{
	__u32 window = bpf_ntohs(p->h.tcp.window), out;

	if (p->h.tcp.flags & TCP_FLAG_SYN)
		return p->h.tcp.window;
	out = window << (leg->wscale_from & 15) >> (leg->wscale_to & 15);
	if (window && !out)
		out = 1;
	return bpf_htons(out > 0xFFFF ? 0xFFFF : out);
}

/*
 * Writes the headers back, after the TCP checksum has been told what changed: `rest` in the TCP
 * header, `addresses` in the pseudo-header. IPv4's addresses are balanced by its own checksum, so
 * the sum of a COMPLETE packet stays. IPv6's are balanced by TCP's, but the helper does not know
 * that and takes their difference out of the sum; hence they are stored so that it comes in again.
 */
static __always_inline bool translate_store(struct __sk_buff *skb, struct packet *p, __u32 rest,
					    __u32 addresses)
{
	__u32 check = tcp_offset(p) + offsetof(struct tcp_header, check);

	if (!p->is_ipv6)
		p->h.v4.check = csum_replace(p->h.v4.check, addresses);
	else if (bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr),
				     &p->h.v6.saddr, 32, BPF_F_RECOMPUTE_CSUM))
		return false;
	return !packet_store(skb, p, 0) && !bpf_l4_csum_replace(skb, check, 0, rest, 0) &&
	       !bpf_l4_csum_replace(skb, check, 0, addresses, BPF_F_PSEUDO_HDR);
}

/* A TCP header as it has come. */
struct arrived {
	struct tcp_header tcp;
	__u8 options[TCP_OPTIONS_MAX_BYTES];
};

static __always_inline bool translate(struct __sk_buff *skb, struct packet *p,
				      const struct wire_leg *leg, struct arrived *was)
{
	__u32 n = p->options, addresses, rest;

	barrier_var(n);
	if (n > TCP_OPTIONS_MAX_BYTES)
		return false;
	__builtin_memcpy(was, &p->h.tcp, sizeof(*was));
	/* New less old, as what the checksums take. */
	if (p->is_ipv6)
		addresses =
			bpf_csum_diff((__be32 *)&p->h.v6.saddr, 32, (__be32 *)leg->to.saddr, 32, 0);
	else
		addresses = bpf_csum_diff((__be32 *)&p->h.v4.saddr, 8, NULL, 0,
					  csum_add(leg->to.saddr[3], leg->to.daddr[3]));
	packet_set_tuple(p, &leg->to);
	p->h.tcp.seq = bpf_htonl(bpf_ntohl(p->h.tcp.seq) + leg->seq_delta);
	if (p->h.tcp.flags & TCP_FLAG_ACK)
		p->h.tcp.ack = bpf_htonl(bpf_ntohl(p->h.tcp.ack) + leg->ack_delta);
	p->h.tcp.window = translate_window(p, leg);
	if (n && wire_translate_options(&p->h.options, n, leg))
		return false;
	rest = bpf_csum_diff((__be32 *)was, sizeof(was->tcp) + n, (__be32 *)&p->h.tcp,
			     sizeof(was->tcp) + n, 0);
	return translate_store(skb, p, rest, addresses);
}

/* Answers a packet of a killed flow as its closed peer would. */
static __always_inline int answer_with_reset(struct __sk_buff *skb, struct packet *p,
					     const struct wire_direction *o)
{
	struct wire_tuple back;

	if (!(p->h.tcp.flags & TCP_FLAG_ACK) || (p->h.tcp.flags & TCP_FLAG_RST))
		return TC_ACT_SHOT;
	tuple_reverse(&p->tuple, &back);
	packet_set_tuple(p, &back);
	p->h.tcp.seq = p->h.tcp.ack;
	p->h.tcp.ack = 0;
	p->h.tcp.offset = sizeof(p->h.tcp) / 4 << 4;
	p->h.tcp.flags = TCP_FLAG_RST;
	p->h.tcp.window = 0;
	p->h.tcp.urgent = 0;
	p->options = 0;
	if (!packet_store_bare(skb, p))
		return TC_ACT_SHOT;
	count(WIRE_RST_ANSWERED);
	return bpf_redirect_neigh(READ_ONCE(o->ifindex), NULL, 0, 0);
}

/* Whether one of a million packets was chosen to be lost. */
static __always_inline bool is_lost_for_test(const struct wire_settings *s)
{
	return s->drop_per_million &&
	       ((__u64)bpf_get_prandom_u32() * 1000000 >> 32) < s->drop_per_million;
}

static __always_inline int drop(__u32 why)
{
	count(why);
	return TC_ACT_SHOT;
}

/*
 * What becomes of a packet of a joined leg. An entry that is deleted meanwhile, on another CPU, may
 * be used for another leg at once; it has another slot then, and the packet, which may have got
 * something of both, is lost.
 */
static __always_inline int forward(struct __sk_buff *skb, struct packet *p,
				   const struct wire_leg *leg, const struct wire_settings *s)
{
	__u32 slot = READ_ONCE(leg->slot);
	struct wire_direction *d = direction(slot), *o = direction(slot ^ 1);
	bool from_userspace = skb->ifindex == s->park_ifindex;
	struct arrived was;
	__u32 mtu;

	if (!d || !o || p->is_malformed || p->is_ipv6 != leg->is_ipv6)
		return drop(WIRE_DROPPED_MALFORMED);
	if (READ_ONCE(d->killed) && !(from_userspace && (p->h.tcp.flags & TCP_FLAG_RST)))
		return answer_with_reset(skb, p, o);
	if (is_lost_for_test(s))
		return drop(WIRE_DROPPED_FOR_TEST);
	if (is_too_big(skb, p, d, &mtu))
		return answer_too_big(skb, p, mtu, o);
	if (!translate(skb, p, leg, &was))
		return drop(WIRE_DROPPED_MALFORMED);
	if (READ_ONCE(leg->slot) != slot)
		return drop(WIRE_DROPPED_GONE);
	track(&was.tcp, p->payload, leg, slot, d, o);
	count(WIRE_FORWARDED);
	return bpf_redirect_neigh(READ_ONCE(d->ifindex), NULL, 0, 0);
}

/* Is a connection of this host being begun with a packet's tuple? */
static __always_inline bool is_being_connected(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock *sk = receiver(skb, &p->tuple, p->is_ipv6);
	bool is;

	if (!sk)
		return false;
	is = sk->state == BPF_TCP_SYN_SENT;
	bpf_sk_release(sk);
	return is;
}

/* A SYN on a flow that has ended, or was killed, begins a connection of its own, and so may have
 * this host, whose socket is gone, from the local port that it had: the old one's entries go. */
static __always_inline bool forget_if_reused(struct __sk_buff *skb, const struct packet *p,
					     const struct wire_leg *leg)
{
	__u32 slot = leg->slot;
	struct wire_direction *d = direction(slot), *o = direction(slot ^ 1);
	struct wire_tuple back;
	const struct wire_leg *other;

	if (!d || !o || (!track_has_ended(d, o) && !READ_ONCE(d->killed)))
		return false;
	if (!(p->h.tcp.flags & TCP_FLAG_SYN) && !is_being_connected(skb, p))
		return false;
	tuple_reverse(&leg->to, &back);
	other = bpf_map_lookup_elem(&wire_flows, &back);
	if (other && other->slot == (slot ^ 1))
		bpf_map_delete_elem(&wire_flows, &back);
	bpf_map_delete_elem(&wire_flows, &p->tuple);
	count(WIRE_TO_STACK_REUSED);
	return true;
}

#endif
