/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What becomes of an end's socket when it is closed, or shut for sending. Both run under the
 * socket's lock, before the FIN leaves.
 */
#ifndef BYPASS_CLOSING_BPF_H
#define BYPASS_CLOSING_BPF_H

#include "bypass_maps.bpf.h"

/*
 * The socket of an end is closing, by close() and not by shutdown() if it is out of the map
 * already. With TCP alone that would be a RST if there are unread bytes. TCP does not know of those
 * that were redirected; the proxy will, before it sees the FIN. The sk_psock is freed only after a
 * grace period, and names its socket.
 */
static __always_inline void note_unread(struct bpf_sock_ops *ctx, const struct end *e)
{
	struct bypass_direction *own, *d;
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	struct sk_psock *psock;
	__u32 slot = e->slot;

	own = direction(slot);
	d = direction(slot ^ 1);
	if (!tp || !own || !d || own->owner != e->cookie || d->receiver != e->cookie ||
	    tp->inet_conn.icsk_inet.sk.sk_user_data)
		return;
	psock = (struct sk_psock *)d->psock;
	if (psock && BPF_CORE_READ(psock, sk) == (struct sock *)tp &&
	    BPF_CORE_READ(psock, msg_tot_len))
		d->cut = 1;
}

/* Is the receiver of this direction sending, or in another call that takes its lock? */
static __always_inline bool is_sending(const struct bypass_direction *d)
{
	const struct tcp_sock *tp = tcp_sock_at(d->sock);
	bool owned = READ_ONCE(tp->inet_conn.icsk_inet.sk.sk_lock.owned);

	return owned && cookie_of(tp) == d->receiver;
}

static __always_inline int is_pending(const struct timer_list *t)
{
	return t->entry.pprev ? 1 : 0;
}

/* Is there something redirected to this socket, in its queue or on its way? */
static __always_inline bool may_have_more(const struct tcp_sock *tp)
{
	const struct sock *sk = &tp->inet_conn.icsk_inet.sk;
	int refs = READ_ONCE(sk->__sk_common.skc_refcnt.refs.counter);

	return refs > 2 + is_pending(&sk->sk_timer) +
			       is_pending(&tp->inet_conn.icsk_retransmit_timer) +
			       is_pending(&tp->inet_conn.icsk_delack_timer) ||
	       unread_in(psock_of(tp));
}

/* Is there nothing redirected to this end, and won't there be? */
static __always_inline bool may_leave(const struct tcp_sock *tp, const struct end *e)
{
	struct bypass_direction *own, *d;
	__u32 slot = READ_ONCE(e->slot);

	if (slot == SLOT_NONE)
		return true;
	own = direction(slot);
	d = direction(slot ^ 1);
	if (!own || !d)
		return false;
	if (own->is_half && own->owner == e->cookie)
		return true;
	if (d->receiver != e->cookie)
		return false;
	__sync_lock_test_and_set(&d->ended, 1);
	if (is_sending(own) || may_have_more(tp))
		return false;
	d->psock = 0;
	return true;
}

/*
 * The socket of an end is shut for sending, and stays open for receiving: it leaves the map of
 * sockets, so that its recvmsg() is TCP's own again. The map's returns EAGAIN, from a blocking
 * socket, too, when it is woken for nothing, as by the acknowledgement of the FIN.
 *
 * With the map goes what is queued in the sk_psock, so nothing may be there, and nothing on its
 * way. Who sends to this end sees `ended`, with its own lock held, or has begun before: then it
 * still holds that lock, or else a reference to this socket, until the bytes are in the queue.
 * Apart from those, there is one reference of the file's, one of the sk_psock's and one of each
 * timer that runs. If it can't be told, all stays as it was.
 */
static __always_inline void leave_half_closed(struct bpf_sock_ops *ctx, struct end *e)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	__u64 cookie = e->cookie;

	if (!tp || !tp->inet_conn.icsk_inet.sk.sk_user_data)
		return;
	__sync_lock_test_and_set(&e->ended, 1);
	if (may_leave(tp, e) && !bpf_map_delete_elem(&bypass_sockets, &cookie))
		count(BYPASS_ENDS_LEFT);
}

#endif
