// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets of legs that are not joined. Most go to the stack as fast as can be. A leg that is to be
 * joined is held: its payload goes to the parking device, where userspace keeps it, and the socket
 * gets the acknowledgement alone, so that handshakes end, and numbers and timestamps are current.
 * A joined flow has so never had a byte in a socket.
 */
#ifndef WIRE_HOLD_BPF_H
#define WIRE_HOLD_BPF_H

#include "wire_maps.bpf.h"
#include "wire_options.bpf.h"
#include "wire_packet.bpf.h"

/* In front of the ifindex in a parked frame's source address: locally administered. */
#define PARK_MAC_0 0x02
#define PARK_MAC_1 0x53
/* Looks at a shut gate, which take a packet some 100 ms, the most that there can be. */
#define GATE_TURNS (1 << 23)

static __always_inline void hold(struct __sk_buff *skb, struct packet *p,
				 const struct wire_tuple *leg)
{
	struct wire_hold h = { .since_ns = bpf_ktime_get_coarse_ns(), .ifindex = skb->ifindex };

	h.mss = options_mss(&p->h.options, p->options);
	bpf_map_update_elem(&wire_holds, leg, &h, BPF_ANY);
}

/* Is it for a listener whose connections are held from here on? */
static __always_inline bool is_held_early(const struct packet *p)
{
	struct wire_listener l = { .port = p->tuple.dport };
	const __u32 *late;

	__builtin_memcpy(l.addr, p->tuple.daddr, sizeof(l.addr));
	late = bpf_map_lookup_elem(&wire_listeners, &l);
	if (late)
		return !*late;
	l.addr[0] = 0;
	l.addr[1] = 0;
	l.addr[2] = p->is_ipv6 ? 0 : bpf_htonl(0xFFFF);
	l.addr[3] = 0;
	late = bpf_map_lookup_elem(&wire_listeners, &l);
	return late && !*late;
}

/* Would the stack deliver it here? What it routes to somebody else must not be touched. */
static __always_inline bool is_for_this_host(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_fib_lookup fib = { .ifindex = skb->ifindex, .l4_protocol = IPPROTO_TCP };
	long answer;

	if (p->is_ipv6) {
		fib.family = AF_INET6;
		__builtin_memcpy(fib.ipv6_src, p->tuple.saddr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, p->tuple.daddr, sizeof(fib.ipv6_dst));
	} else {
		fib.family = AF_INET;
		fib.ipv4_src = p->tuple.saddr[3];
		fib.ipv4_dst = p->tuple.daddr[3];
	}
	answer = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	return answer == BPF_FIB_LKUP_RET_NOT_FWDED || answer == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/*
 * Does this SYN begin a connection? One on a connection that is there already (whoever sends it,
 * perhaps blindly) is nothing to the stack but a reason to answer, and must not have its payload
 * held.
 */
static __always_inline bool begins_connection(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock *sk = receiver(skb, &p->tuple, p->is_ipv6);
	__u32 state;

	if (!sk)
		return true;
	state = sk->state;
	bpf_sk_release(sk);
	return state == BPF_TCP_LISTEN || state == BPF_TCP_NEW_SYN_RECV ||
	       state == BPF_TCP_TIME_WAIT;
}

/* A backend's answer that comes again later, or late, is for a socket that has had it. */
static __always_inline void hold_if_expected(struct __sk_buff *skb, struct packet *p,
					     const struct wire_tuple *leg)
{
	struct bpf_sock *sk = receiver(skb, &p->tuple, p->is_ipv6);
	bool is_expected;

	if (!sk)
		return;
	is_expected = sk->state == BPF_TCP_SYN_SENT &&
		      bpf_sk_storage_get(&wire_expected, sk, NULL, 0);
	bpf_sk_release(sk);
	if (is_expected)
		hold(skb, p, leg);
}

static __always_inline void forget_hold(const struct wire_tuple *t)
{
	bpf_map_delete_elem(&wire_holds, t);
}

/* A copy to the parking device, with the ifindex in its source address: for the way back. */
static __always_inline bool send_to_park(struct __sk_buff *skb, __u32 park_ifindex)
{
	__u32 ifindex = skb->ifindex;
	__u8 was[ETH_ALEN], mac[ETH_ALEN] = { PARK_MAC_0,    PARK_MAC_1,   ifindex >> 24,
					      ifindex >> 16, ifindex >> 8, ifindex };
	bool sent;

	if (!park_ifindex || bpf_skb_load_bytes(skb, ETH_ALEN, was, sizeof(was)) ||
	    bpf_skb_store_bytes(skb, ETH_ALEN, mac, sizeof(mac), 0))
		return false;
	sent = !bpf_clone_redirect(skb, park_ifindex, 0);
	bpf_skb_store_bytes(skb, ETH_ALEN, was, sizeof(was), 0);
	return sent;
}

/* Payload of a held leg. If it can't be parked the leg is the stack's from here on: a byte that the
 * socket lacks would be one that it gets from nobody. */
static __always_inline int park(struct __sk_buff *skb, struct packet *p,
				const struct wire_tuple *leg, const struct wire_settings *s)
{
	if (!send_to_park(skb, s->park_ifindex)) {
		forget_hold(leg);
		count(WIRE_PARK_FAILED);
		return TC_ACT_UNSPEC;
	}
	count(WIRE_PARKED);
	p->h.tcp.flags &= ~(TCP_FLAG_FIN | TCP_FLAG_PSH | TCP_FLAG_URG);
	p->h.tcp.urgent = 0;
	p->payload = 0;
	return packet_store_bare(skb, p) ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

/* Back from the parking device: in by the device that it came from, as if for the first time. */
static __always_inline int unpark(struct __sk_buff *skb)
{
	__u8 mac[ETH_ALEN];

	if (bpf_skb_load_bytes(skb, ETH_ALEN, mac, sizeof(mac)) || mac[0] != PARK_MAC_0 ||
	    mac[1] != PARK_MAC_1)
		return TC_ACT_SHOT;
	count(WIRE_UNPARKED_TO_STACK);
	return bpf_redirect((__u32)mac[2] << 24 | (__u32)mac[3] << 16 | (__u32)mac[4] << 8 | mac[5],
			    BPF_F_INGRESS);
}

/* For tests, which set it before loading; without it the verifier leaves all of it out. */
const volatile __u32 has_gate = 0;

static long is_gate_open(__u32 turn, void *unused)
{
	const struct wire_settings *s = settings();

	(void)turn;
	(void)unused;
	return !s || READ_ONCE(s->gate) == WIRE_GATE_OPEN;
}

static __always_inline void wait_at_gate(const struct wire_settings *s)
{
	__u32 *gate = (__u32 *)&s->gate;

	if (READ_ONCE(s->gate) != WIRE_GATE_SHUT ||
	    __sync_val_compare_and_swap(gate, WIRE_GATE_SHUT, WIRE_GATE_REACHED) != WIRE_GATE_SHUT)
		return;
	bpf_loop(GATE_TURNS, is_gate_open, NULL, 0);
	__sync_val_compare_and_swap(gate, WIRE_GATE_REACHED, WIRE_GATE_OPEN);
}

/* Is there something that must not be lost? */
static __always_inline bool carries_bytes(const struct packet *p)
{
	return !p->is_malformed && (p->payload || (p->h.tcp.flags & TCP_FLAG_FIN));
}

/* A packet whose leg is not joined. Global, as find_endpoint() is: what comes after it must not be
 * verified for each path through it. */
__noinline int pass_or_park(struct __sk_buff *skb, struct packet *p)
{
	const struct wire_settings *s = settings();
	struct wire_tuple leg; /* before 6.2 a key can't be in what a function was given */
	struct wire_hold *h;
	__u8 flags;

	if (!s || !p)
		return TC_ACT_UNSPEC;
	flags = p->h.tcp.flags;
	leg = p->tuple;
	if (s->park_ifindex && skb->ifindex == s->park_ifindex)
		return unpark(skb);
	if (p->is_malformed)
		return TC_ACT_UNSPEC;
	if (flags & TCP_FLAG_SYN) {
		if (flags & TCP_FLAG_ACK)
			hold_if_expected(skb, p, &leg);
		else if (is_held_early(p) && is_for_this_host(skb, p) && begins_connection(skb, p))
			hold(skb, p, &leg);
		return TC_ACT_UNSPEC;
	}
	if (has_gate)
		wait_at_gate(s);
	h = bpf_map_lookup_elem(&wire_holds, &leg);
	if (!h)
		return TC_ACT_UNSPEC;
	if (flags & TCP_FLAG_RST) {
		forget_hold(&leg);
		return TC_ACT_UNSPEC;
	}
	if (!h->ifindex)
		h->ifindex = skb->ifindex;
	if (!carries_bytes(p) || !hold_is_valid(h, bpf_ktime_get_coarse_ns()))
		return TC_ACT_UNSPEC;
	return park(skb, p, &leg, s);
}

#endif
