/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Only one end of a flow is on this host. What it sends may go into the write queue of the outlet,
 * the proxy's socket to the other end, so that the proxy need not be woken; what comes from the
 * other end is relayed as ever.
 *
 * Order: bytes may be redirected while the proxy holds none of this direction, that is, when all
 * that the sender has ever given to its TCP has been written to the outlet: the outlet's write_seq
 * says so, less what was redirected there. It only rises, and can't be above the other number, so
 * once they are equal they stay so until the sender passes something to TCP. Of two threads that
 * send at once the second one finds bytes that are counted and not there yet: not equal.
 */
#ifndef BYPASS_HALF_BPF_H
#define BYPASS_HALF_BPF_H

#include "bypass_maps.bpf.h"

/* An skb is charged for more than its bytes. Whatever does not fit would have to wait, in the
 * middle of a message. */
static __always_inline __u32 charge_of(__u32 size)
{
	return size + size / 16 + 4096;
}

static __always_inline enum bypass_mode judge_half(struct bypass_direction *d,
						   const struct tcp_sock *tp, __u32 size)
{
	const struct tcp_sock *out = tcp_sock_at(d->sock);
	__u32 written, queued, room;
	bool is_fit;

	written = READ_ONCE(out->write_seq) - d->got0 - (__u32)d->bytes;
	queued = READ_ONCE(out->inet_conn.icsk_inet.sk.sk_wmem_queued);
	room = READ_ONCE(out->inet_conn.icsk_inet.sk.sk_sndbuf);
	is_fit = !out->inet_conn.icsk_ulp_ops;
	if (cookie_of(out) != d->receiver)
		return BYPASS_GONE;
	if (!is_fit)
		return BYPASS_UNFIT;
	if (written != tp->write_seq - d->sent0)
		return BYPASS_NOT_DRY;
	if (queued >= unread_cap || queued + charge_of(size) > room)
		return BYPASS_FULL;
	if (queued + size > d->unread_max)
		d->unread_max = queued + size;
	return BYPASS_REDIRECTED;
}

static __always_inline bool describe_outlet(struct bypass_direction *d, __u64 cookie, __u32 written)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&bypass_outlets, &cookie);
	struct tcp_sock *tp;

	if (!sk)
		return false;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp) {
		d->sock = (__u64)tp;
		d->got0 = tp->write_seq - written;
		d->receiver = cookie;
	}
	bpf_sk_release(sk);
	return tp;
}

/* Run by userspace, by its worker: so nothing is being written to the outlet. */
SEC("tc")
int bypass_halve(struct __sk_buff *skb)
{
	__u64 cookie = (__u64)skb->cb[1] << 32 | skb->cb[0], end;
	__u64 outlet = (__u64)skb->cb[3] << 32 | skb->cb[2];
	struct bypass_own *own = bpf_map_lookup_elem(&bypass_own, &cookie);
	struct bypass_direction *d = direction(skb->cb[4]);
	struct end *e;

	if (!own || !d)
		return BYPASS_CLIENT_UNKNOWN;
	end = READ_ONCE(own->peer);
	e = bpf_map_lookup_elem(&bypass_ends, &end);
	if (!e || e->cookie != end)
		return BYPASS_CLIENT_UNKNOWN;
	if (!describe_outlet(d, outlet, skb->mark))
		return BYPASS_BACKEND_UNKNOWN;
	d->sent0 = e->sent0;
	d->is_half = 1;
	__sync_lock_test_and_set(&e->slot, skb->cb[4]);
	if (READ_ONCE(e->ended))
		return BYPASS_END_ENDED;
	__sync_lock_test_and_set(&d->owner, end);
	count(BYPASS_FLOWS_HALVED);
	return BYPASS_PAIRED;
}

#endif
