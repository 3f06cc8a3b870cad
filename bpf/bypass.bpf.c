// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local bypass: what a program of this host sends to the proxy, for another one of this host,
 * goes from socket to socket, around the proxy and around TCP. bypass_watch sees connections being
 * established, and finds out which belong together; bypass_pair, run by userspace, joins two of
 * them to a flow; bypass_send judges each send of an end.
 *
 * Order, without a word from userspace: a receiver reads what was redirected before what is in its
 * TCP queue. So bytes may only be redirected while nothing that came by TCP is unread, or on its
 * way: when all that the sender has ever given to its TCP has been read from the receiver's. Both
 * ends' sequence numbers say so. Passing bytes to TCP is right at any time.
 *
 * Identity: a connection's two ends agree on its addresses, its ports and both initial sequence
 * numbers. Two connections with the same addresses in different namespaces do not.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bypass_closing.bpf.h"
#include "bypass_half.bpf.h"
#include "bypass_maps.bpf.h"

#define AF_INET 2
#define AF_INET6 10
/* A message of one byte takes nearly a kilobyte: what is unread is bounded in messages, too. */
#define BYTES_PER_MESSAGE 256

/* --- pairing --------------------------------------------------------------------------------- */

/* What `from` sends is for `to`. No send looks at it before it has an owner. */
static __always_inline void describe(struct bypass_direction *d, const struct end *from,
				     const struct end *to)
{
	d->receiver = to->cookie;
	d->sock = to->sock;
	d->sent0 = from->sent0;
	d->got0 = to->got0;
}

/*
 * An end that has ended its sending must not be redirected to (leave_half_closed()): it says so and
 * then looks for its slot, and here the slots are said before that is looked at.
 */
static __always_inline bool join(__u32 flow, struct end *c, struct end *s)
{
	struct bypass_direction *up = direction(2 * flow), *down = direction(2 * flow + 1);

	if (!up || !down)
		return false;
	describe(up, c, s);
	describe(down, s, c);
	__sync_lock_test_and_set(&c->slot, 2 * flow);
	__sync_lock_test_and_set(&s->slot, 2 * flow + 1);
	if (READ_ONCE(c->ended) || READ_ONCE(s->ended))
		return false;
	__sync_lock_test_and_set(&up->owner, c->cookie);
	__sync_lock_test_and_set(&down->owner, s->cookie);
	return true;
}

/* Done by whoever learns last who the four are, or by two at once, which does no harm. */
static __always_inline enum bypass_pairing complete(struct bypass_own *a,
						    const struct bypass_own *b, __u64 b_cookie)
{
	__u64 c_cookie = READ_ONCE(a->peer), s_cookie = READ_ONCE(b->peer);
	struct end *c = bpf_map_lookup_elem(&bypass_ends, &c_cookie);
	struct end *s = bpf_map_lookup_elem(&bypass_ends, &s_cookie);
	__u32 flow = READ_ONCE(a->flow);

	if (!c || !s || c->cookie != c_cookie || s->cookie != s_cookie || s->proxy != b_cookie ||
	    __sync_fetch_and_add(&a->other, 0) != b_cookie)
		return BYPASS_BACKEND_UNKNOWN;
	if (!join(flow, c, s))
		return BYPASS_END_ENDED;
	count(BYPASS_FLOWS_PAIRED);
	return BYPASS_PAIRED;
}

SEC("syscall")
int bypass_pair(struct bypass_request *r)
{
	__u64 cookies[2] = { r->own[0], r->own[1] };
	struct bypass_own *a = bpf_map_lookup_elem(&bypass_own, &cookies[0]);
	struct bypass_own *b = bpf_map_lookup_elem(&bypass_own, &cookies[1]);

	r->result = BYPASS_CLIENT_UNKNOWN;
	if (!a || !a->peer)
		return 0;
	r->result = BYPASS_BACKEND_UNKNOWN;
	if (!b)
		return 0;
	a->flow = b->flow = r->flow;
	/* Before the look at the peer: who enters it looks here afterwards. */
	__sync_lock_test_and_set(&a->other, cookies[1]);
	__sync_lock_test_and_set(&b->other, cookies[0]);
	if (READ_ONCE(b->peer))
		r->result = complete(a, b, cookies[1]);
	return 0;
}

/* --- watching connections ---------------------------------------------------------------------- */

/* barrier_var() keeps the compiler from merging loads of the two branches into one at an offset
 * that varies, which the verifier does not take. */
static __always_inline void read_addresses(struct bpf_sock_ops *ctx, bool connects,
					   struct connection *c)
{
	__u32 *local = c->addr[connects ? 0 : 1], *remote = c->addr[connects ? 1 : 0];

	if (ctx->family == AF_INET) {
		local[2] = remote[2] = bpf_htonl(0xFFFF);
		local[3] = ctx->local_ip4;
		remote[3] = ctx->remote_ip4;
		barrier_var(local);
	} else {
		local[0] = ctx->local_ip6[0];
		local[1] = ctx->local_ip6[1];
		local[2] = ctx->local_ip6[2];
		local[3] = ctx->local_ip6[3];
		remote[0] = ctx->remote_ip6[0];
		remote[1] = ctx->remote_ip6[1];
		remote[2] = ctx->remote_ip6[2];
		remote[3] = ctx->remote_ip6[3];
	}
	c->port[connects ? 0 : 1] = ctx->local_port;
	c->port[connects ? 1 : 0] = bpf_ntohl(ctx->remote_port);
}

static __always_inline bool is_listener(struct bpf_sock_ops *ctx, const struct connection *c)
{
	struct bypass_listener at = { .netns = bpf_get_netns_cookie(ctx), .port = c->port[1] };
	bool is_mapped = !c->addr[1][0] && !c->addr[1][1] && c->addr[1][2] == bpf_htonl(0xFFFF);

	__builtin_memcpy(at.addr, c->addr[1], sizeof(at.addr));
	if (bpf_map_lookup_elem(&bypass_listeners, &at))
		return true;
	__builtin_memset(at.addr, 0, sizeof(at.addr));
	at.is_ipv6 = !is_mapped;
	return bpf_map_lookup_elem(&bypass_listeners, &at);
}

/* The SYN of a connection has come; the context is the request's. */
static __always_inline void on_syn(struct bpf_sock_ops *ctx)
{
	struct connection c = {};
	__u32 one = 1;

	read_addresses(ctx, false, &c);
	if (is_listener(ctx, &c))
		bpf_map_update_elem(&bypass_opening, &c, &one, BPF_ANY);
}

static __always_inline void watch_close(struct bpf_sock_ops *ctx)
{
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* The socket is a local client's or backend's: from now on it is in the map. False: it can't be. */
static __always_inline bool add_end(struct bpf_sock_ops *ctx, __u64 cookie, __u64 proxy)
{
	struct end e = { .cookie = cookie, .proxy = proxy, .slot = SLOT_NONE };
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	/* With TCP Fast Open there are bytes under way already, or about to be. */
	if (!tp || tp->write_seq != tp->snd_una || BPF_CORE_READ_BITFIELD_PROBED(tp, is_mptcp))
		return false;
	e.sock = (__u64)tp;
	e.sent0 = tp->write_seq;
	e.got0 = tp->rcv_nxt;
	if (bpf_map_update_elem(&bypass_ends, &cookie, &e, BPF_NOEXIST))
		return false;
	watch_close(ctx);
	if (!bpf_sock_hash_update(ctx, &bypass_sockets, &cookie, BPF_NOEXIST)) {
		count(BYPASS_ENDS_SEEN);
		return true;
	}
	bpf_map_delete_elem(&bypass_ends, &cookie);
	return false;
}

/* C, or B. */
static __always_inline void on_connected(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct connection c = {};

	read_addresses(ctx, true, &c);
	if (bpf_map_lookup_elem(&bypass_own, &cookie)) {
		watch_close(ctx);
	} else {
		if (bpf_map_delete_elem(&bypass_opening, &c))
			return;
		if (!add_end(ctx, cookie, 0)) {
			count(BYPASS_ENDS_REFUSED);
			return;
		}
	}
	c.seq[0] = ctx->snd_nxt;
	c.seq[1] = ctx->rcv_nxt;
	bpf_map_update_elem(&bypass_met, &c, &cookie, BPF_ANY);
}

/* S is established, and who is connected to it, B, was seen to be so before. */
static __always_inline void meet_backend(struct bpf_sock_ops *ctx, struct bypass_own *b,
					 __u64 b_cookie, __u64 cookie)
{
	struct bypass_own *a;
	__u64 other;

	if (!add_end(ctx, cookie, b_cookie)) {
		count(BYPASS_ENDS_REFUSED);
		return;
	}
	__sync_lock_test_and_set(&b->peer, cookie);
	other = READ_ONCE(b->other);
	a = other ? bpf_map_lookup_elem(&bypass_own, &other) : NULL;
	if (a)
		complete(a, b, b_cookie);
}

/* A, or S. */
static __always_inline void on_accepted(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx), *met, peer;
	struct connection c = {};
	struct bypass_own own = {}, *b;

	read_addresses(ctx, false, &c);
	c.seq[0] = ctx->rcv_nxt;
	c.seq[1] = ctx->snd_nxt;
	met = bpf_map_lookup_elem(&bypass_met, &c);
	if (!met)
		return;
	peer = *met;
	bpf_map_delete_elem(&bypass_met, &c);
	b = bpf_map_lookup_elem(&bypass_own, &peer);
	if (b) {
		meet_backend(ctx, b, peer, cookie);
		return;
	}
	own.peer = peer;
	if (!bpf_map_update_elem(&bypass_own, &cookie, &own, BPF_NOEXIST))
		watch_close(ctx);
}

static __always_inline void on_state(struct bpf_sock_ops *ctx)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct end *e = bpf_map_lookup_elem(&bypass_ends, &cookie);

	if (e && e->slot != SLOT_NONE)
		note_unread(ctx, e);
	if (e && ctx->args[1] == BPF_TCP_FIN_WAIT1)
		leave_half_closed(ctx, e);
	if (ctx->args[1] != BPF_TCP_CLOSE)
		return;
	bpf_map_delete_elem(&bypass_ends, &cookie);
	bpf_map_delete_elem(&bypass_own, &cookie);
}

SEC("sockops")
int bypass_watch(struct bpf_sock_ops *ctx)
{
	if (ctx->family != AF_INET && ctx->family != AF_INET6)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TIMEOUT_INIT:
		on_syn(ctx);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		on_connected(ctx);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		on_accepted(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		on_state(ctx);
		break;
	}
	return 1;
}

/* --- sending ----------------------------------------------------------------------------------- */

/* What there is to know of a receiver, read by its address, without its lock. */
struct receiver {
	__u32 rcv_nxt, copied_seq;
	__u32 unread; /* bytes redirected to it */
	__u64 psock;
	bool is_fit;
};

/* False: the socket that had this address is gone. */
static __always_inline bool read_receiver(const struct bypass_direction *d, struct receiver *r)
{
	const struct tcp_sock *tp = tcp_sock_at(d->sock);

	if (cookie_of(tp) != d->receiver)
		return false;
	r->rcv_nxt = READ_ONCE(tp->rcv_nxt);
	r->copied_seq = READ_ONCE(tp->copied_seq);
	r->psock = psock_of(tp);
	r->unread = unread_in(r->psock);
	r->is_fit = tp->inet_conn.icsk_inet.sk.sk_rcvlowat <= 1 && !tp->inet_conn.icsk_ulp_ops;
	return cookie_of(tp) == d->receiver && r->psock;
}

/* A sender with SO_ZEROCOPY waits for a word that only TCP gives. */
static __always_inline bool is_fit_sender(const struct tcp_sock *tp)
{
	unsigned long flags = tp->inet_conn.icsk_inet.sk.__sk_common.skc_flags;
	__u32 zerocopy = bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY);

	return !(flags >> zerocopy & 1) && !tp->inet_conn.icsk_ulp_ops;
}

/*
 * May these bytes be redirected? Nothing else sends on this socket now, so its write_seq stands
 * still; the receiver's numbers only rise, and can't be beyond it. A FIN that has come counts as
 * one more. So if they are equal, they stay so until this sender passes something to TCP.
 */
static __always_inline enum bypass_mode judge(struct bypass_direction *d, const struct tcp_sock *tp,
					      __u32 size)
{
	struct receiver r = {};

	if (!read_receiver(d, &r))
		return BYPASS_GONE;
	if (!r.is_fit)
		return BYPASS_UNFIT;
	if (r.copied_seq != r.rcv_nxt || tp->write_seq - d->sent0 != r.rcv_nxt - d->got0)
		return BYPASS_NOT_DRY;
	if (!r.unread)
		d->in_queue = 0;
	if (r.unread >= unread_cap || d->in_queue >= unread_cap / BYTES_PER_MESSAGE)
		return BYPASS_FULL;
	d->psock = r.psock;
	d->in_queue++;
	if (r.unread + size > d->unread_max)
		d->unread_max = r.unread + size;
	return BYPASS_REDIRECTED;
}

static __always_inline enum bypass_mode judge_any(struct bypass_direction *d,
						  const struct tcp_sock *tp, __u32 size,
						  bool is_half)
{
	if (READ_ONCE(d->off))
		return BYPASS_OFF;
	if (!is_fit_sender(tp))
		return BYPASS_UNFIT;
	return is_half ? judge_half(d, tp, size) : judge(d, tp, size);
}

static __always_inline void note_redirected(struct bypass_direction *d, __u32 size)
{
	d->bytes += size;
	d->messages++;
	d->active_ns = bpf_ktime_get_coarse_ns();
}

/* False: it is not there; then the helper says SK_DROP, and nothing has changed. */
static __always_inline bool redirect(struct sk_msg_md *msg, __u64 receiver, bool is_half)
{
	if (is_half)
		return bpf_msg_redirect_hash(msg, &bypass_outlets, &receiver, 0) == SK_PASS;
	return bpf_msg_redirect_hash(msg, &bypass_sockets, &receiver, BPF_F_INGRESS) == SK_PASS;
}

SEC("sk_msg")
int bypass_send(struct sk_msg_md *msg)
{
	struct bpf_sock *sk = msg->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	__u64 cookie, receiver;
	struct bypass_direction *d;
	const struct end *e;
	enum bypass_mode mode;
	bool is_half;

	if (!tp)
		return SK_PASS;
	cookie = tp->inet_conn.icsk_inet.sk.__sk_common.skc_cookie.counter;
	e = bpf_map_lookup_elem(&bypass_ends, &cookie);
	if (!e)
		return SK_PASS;
	d = direction(READ_ONCE(e->slot));
	if (!d || READ_ONCE(d->owner) != cookie)
		return SK_PASS;
	receiver = d->receiver;
	is_half = READ_ONCE(d->is_half);
	mode = judge_any(d, tp, msg->size, is_half);
	/* The slot may have been given to another flow meanwhile; then what was read may be of
	 * both. */
	if (__sync_fetch_and_add(&d->owner, 0) != cookie)
		return SK_PASS;
	if (READ_ONCE(d->ended)) /* see leave_half_closed() */
		mode = BYPASS_ENDED;
	if (mode == BYPASS_REDIRECTED && !redirect(msg, receiver, is_half))
		mode = BYPASS_GONE;
	/* Before it is there, which it is once the program has returned: see bypass_half.bpf.h. */
	if (mode == BYPASS_REDIRECTED)
		note_redirected(d, msg->size);
	d->mode = mode;
	count(BYPASS_MESSAGES + mode);
	return SK_PASS;
}

char _license[] SEC("license") = "GPL";
