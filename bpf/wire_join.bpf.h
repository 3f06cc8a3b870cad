// SPDX-License-Identifier: GPL-2.0-only
/*
 * wire_join, run by userspace and by nothing else (BPF_PROG_TEST_RUN), joins two connections: it
 * reads the numbers of both sockets, and enters the two legs into wire_flows.
 *
 * Both legs are held before, and still are when their entries are in: so no payload can come
 * between the look at a socket and the join, and a packet goes either to the parking device or on.
 */
#ifndef WIRE_JOIN_BPF_H
#define WIRE_JOIN_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>

#include "wire_hold.bpf.h"
#include "wire_maps.bpf.h"

#define NSEC_PER_USEC 1000
#define NSEC_PER_MSEC 1000000
#define RCV_SHUTDOWN 1
/* Of tcp_sock.ecn_flags. */
#define TCP_ECN_OK 1
#define TCP_ECN_MODE_ACCECN 16
/* As in a TCP_INFO. */
#define TCPI_OPT_TIMESTAMPS 1
#define TCPI_OPT_SACK 2
#define TCPI_OPT_WSCALE 4
#define TCPI_OPT_ECN 8
/* Timestamps in a header, aligned. */
#define TIMESTAMPS_BYTES 12
/* Where the request stands in the frame. */
#define REQUEST_OFFSET (ETH_HLEN + sizeof(struct iphdr))

/* What was read of a socket. */
struct endpoint {
	__u32 snd_nxt, rcv_nxt;
	__u32 snd_wnd, rcv_wnd; /* bytes that the peer still allows, and that we do */
	__u32 ts_recent, clock; /* the peer's last TSval, and ours now */
	__u32 mss_told, mss_offered;
	__u32 mtu; /* of the way to the peer */
	__u32 rx_ifindex, tx_ifindex;
	__u32 options, ecn;
	__u8 snd_wscale, rcv_wscale;
	bool is_dry;
};

/* The TSval that the socket would send now, rounded up: what it has sent is never above that, nor
 * is what it may still send before it is silenced. */
static __always_inline __u32 timestamp_clock(const struct tcp_sock *tp)
{
	__u64 now = bpf_ktime_get_ns();

	if (bpf_core_field_exists(tp->tcp_usec_ts) &&
	    BPF_CORE_READ_BITFIELD_PROBED(tp, tcp_usec_ts))
		return now / NSEC_PER_USEC + 1 + tp->tsoffset;
	return now / NSEC_PER_MSEC + 1 + tp->tsoffset;
}

static __always_inline void read_options(const struct tcp_sock *tp, struct endpoint *e)
{
	const struct tcp_options_received *rx = &tp->rx_opt;

	e->options = e->ecn ? TCPI_OPT_ECN : 0;
	e->mss_told = tp->advmss;
	if (BPF_CORE_READ_BITFIELD_PROBED(rx, tstamp_ok)) {
		e->options |= TCPI_OPT_TIMESTAMPS;
		/* Has been taken off since it was announced. */
		e->mss_told += TIMESTAMPS_BYTES;
	}
	if (BPF_CORE_READ_BITFIELD_PROBED(rx, sack_ok))
		e->options |= TCPI_OPT_SACK;
	if (BPF_CORE_READ_BITFIELD_PROBED(rx, wscale_ok)) {
		e->options |= TCPI_OPT_WSCALE;
		e->snd_wscale = BPF_CORE_READ_BITFIELD_PROBED(rx, snd_wscale);
		e->rcv_wscale = BPF_CORE_READ_BITFIELD_PROBED(rx, rcv_wscale);
	}
	e->ts_recent = rx->ts_recent;
	e->mss_offered = rx->mss_clamp;
}

static __always_inline void read_socket(const struct tcp_sock *tp, struct endpoint *e)
{
	const struct sock *sk = &tp->inet_conn.icsk_inet.sk;

	e->is_dry = tp->rcv_nxt == tp->copied_seq && tp->write_seq == tp->snd_una &&
		    !tp->out_of_order_queue.rb_node && !sk->sk_backlog.len &&
		    !(sk->sk_shutdown & RCV_SHUTDOWN);
	e->snd_nxt = tp->snd_nxt;
	e->rcv_nxt = tp->rcv_nxt;
	e->snd_wnd = tp->snd_wnd;
	e->rcv_wnd = tp->rcv_wup + tp->rcv_wnd - tp->rcv_nxt;
	e->ecn = tp->ecn_flags & (TCP_ECN_OK | TCP_ECN_MODE_ACCECN);
	e->rx_ifindex = sk->sk_rx_dst_ifindex;
	e->tx_ifindex = sk->sk_dst_cache->dev->ifindex; /* NULL reads as 0 */
	/* What the socket has last gone by, of route and router; the device may have changed since.
	 */
	e->mtu = tp->inet_conn.icsk_pmtu_cookie;
	if (e->mtu > sk->sk_dst_cache->dev->mtu)
		e->mtu = sk->sk_dst_cache->dev->mtu;
	e->clock = timestamp_clock(tp);
	read_options(tp, e);
}

static __always_inline bool is_mapped(const struct wire_tuple *t)
{
	return !t->saddr[0] && !t->saddr[1] && t->saddr[2] == bpf_htonl(0xFFFF);
}

/*
 * Looks a leg's socket up as a packet of the leg would. False: there is none, or it is not
 * established. Global, so that it is verified once and for itself: every path through it, times
 * every path through the second call, would take the verifier a quarter of a second.
 */
__noinline bool find_endpoint(struct __sk_buff *skb, const struct wire_tuple *leg,
			      struct endpoint *e)
{
	struct bpf_sock *sk;
	bool found = false;
	struct tcp_sock *tp;

	if (!leg || !e)
		return false;
	sk = receiver(skb, leg, !is_mapped(leg));
	if (!sk)
		return false;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp && tp->inet_conn.icsk_inet.sk.__sk_common.skc_state == BPF_TCP_ESTABLISHED) {
		read_socket(tp, e);
		found = true;
	}
	bpf_sk_release(sk);
	return found;
}

/* What the hold knows and the socket does not. False: the leg is not held (any more), or it must
 * have been seen, and was not. */
static __always_inline bool add_hold(const struct wire_tuple *leg, bool must_be_seen,
				     struct endpoint *e)
{
	const struct wire_hold *h = bpf_map_lookup_elem(&wire_holds, leg);

	if (!h || !hold_is_valid(h, bpf_ktime_get_ns()))
		return false;
	if (h->ifindex)
		e->rx_ifindex = h->ifindex;
	if (h->mss)
		e->mss_offered = h->mss;
	return h->ifindex || !must_be_seen;
}

/* May a peer send what the way to the other one does not take? */
static __always_inline bool may_exceed(const struct endpoint *from, const struct endpoint *to,
				       bool is_ipv6)
{
	__u32 ip = is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);

	return from->mss_told + sizeof(struct tcp_header) + ip > to->mtu;
}

static __always_inline enum wire_refusal judge(const struct endpoint *a, const struct endpoint *b,
					       bool is_ipv6, bool both_held)
{
	if ((a->options ^ b->options) & TCPI_OPT_TIMESTAMPS)
		return WIRE_TIMESTAMPS;
	if (a->ecn != b->ecn || (a->ecn & TCP_ECN_MODE_ACCECN))
		return WIRE_ECN;
	if (a->mss_told > b->mss_offered || b->mss_told > a->mss_offered)
		return WIRE_MSS;
	if (!a->tx_ifindex || !b->tx_ifindex)
		return WIRE_NO_ROUTE;
	if (may_exceed(a, b, is_ipv6) || may_exceed(b, a, is_ipv6))
		return WIRE_MTU;
	if (!both_held)
		return WIRE_NOT_SEEN;
	if (!a->is_dry || !b->is_dry)
		return WIRE_NOT_DRY;
	return WIRE_JOINED;
}

/* Enters what becomes of the packets that arrive on `from`, and begins its record. */
static __always_inline bool enter_leg(const struct wire_request *r, int side,
				      const struct endpoint *from, const struct endpoint *to)
{
	struct wire_leg leg = {
		.seq_delta = to->snd_nxt - from->rcv_nxt,
		.ack_delta = to->rcv_nxt - from->snd_nxt,
		.tsval_delta = to->clock - from->ts_recent,
		.tsecr_delta = to->ts_recent - from->clock,
		.slot = 2 * r->flow + side,
		.wscale_from = from->snd_wscale,
		.wscale_to = to->rcv_wscale,
		.is_ipv6 = !is_mapped(&r->leg[0]),
	};
	struct wire_direction *d = direction(leg.slot);
	__u32 window = from->snd_wnd > to->rcv_wnd ? from->snd_wnd : to->rcv_wnd;

	if (!d)
		return false;
	d->seq_start = from->rcv_nxt;
	d->ack = from->snd_nxt;
	/* The other peer goes by what we have offered it till it hears of its new one. */
	d->edge = from->snd_nxt + window;
	d->active_ns = bpf_ktime_get_coarse_ns();
	d->ifindex = to->tx_ifindex;
	tuple_reverse(&r->leg[side ^ 1], &leg.to);
	return !bpf_map_update_elem(&wire_flows, &r->leg[side], &leg, BPF_NOEXIST);
}

static __always_inline enum wire_refusal join(struct __sk_buff *skb, struct wire_request *r)
{
	struct endpoint a = {}, b = {};
	enum wire_refusal refusal;
	bool held[2];

	if (!find_endpoint(skb, &r->leg[0], &a) || !find_endpoint(skb, &r->leg[1], &b))
		return WIRE_NO_SOCKET;
	if (is_mapped(&r->leg[0]) != is_mapped(&r->leg[1]))
		return WIRE_FAMILIES;
	held[0] = add_hold(&r->leg[0], r->must_be_seen, &a);
	held[1] = add_hold(&r->leg[1], r->must_be_seen, &b);
	r->rx_ifindex[0] = a.rx_ifindex;
	r->rx_ifindex[1] = b.rx_ifindex;
	r->tx_ifindex[0] = a.tx_ifindex;
	r->tx_ifindex[1] = b.tx_ifindex;
	r->mss_told[0] = a.mss_told;
	r->mss_told[1] = b.mss_told;
	r->mss_offered[0] = a.mss_offered;
	r->mss_offered[1] = b.mss_offered;
	r->options[0] = a.options;
	r->options[1] = b.options;
	r->mtu[0] = a.mtu;
	r->mtu[1] = b.mtu;
	refusal = judge(&a, &b, !is_mapped(&r->leg[0]), held[0] && held[1]);
	if (refusal)
		return refusal;
	if (!enter_leg(r, 0, &a, &b))
		return WIRE_TABLE_FULL;
	if (!enter_leg(r, 1, &b, &a)) {
		bpf_map_delete_elem(&wire_flows, &r->leg[0]);
		return WIRE_TABLE_FULL;
	}
	forget_hold(&r->leg[0]);
	forget_hold(&r->leg[1]);
	return WIRE_JOINED;
}

SEC("tc")
int wire_join(struct __sk_buff *skb)
{
	struct wire_request *r = (void *)(long)skb->data + REQUEST_OFFSET;

	if ((void *)(r + 1) > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	r->refusal = join(skb, r);
	return TC_ACT_OK;
}

#endif
