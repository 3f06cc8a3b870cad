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

#include "bypass_abi.h"

#define AF_INET 2
#define AF_INET6 10
/* The low bits of sk_user_data are flags. */
#define SK_USER_DATA_MASK (~7ull)
/* A message of one byte takes nearly a kilobyte: what is unread is bounded in messages, too. */
#define BYTES_PER_MESSAGE 256
#define SLOT_NONE (~0u)

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

const volatile __u32 unread_cap = 1 << 20; /* set by userspace before loading */

/* A connection as both of its ends know it. */
struct connection {
	__u32 addr[2][4]; /* of who connects and who accepts; IPv4 as ::ffff:a.b.c.d */
	__u16 port[2];    /* host byte order */
	__u32 seq[2];     /* of the first byte of each */
};

/*
 * A socket of a local client or backend. The kernel may use an entry of a map anew for another key
 * while it is looked at, so an entry has its key again, or what else tells whose it is, and that is
 * compared after all else is read.
 */
struct end {
	__u64 cookie; /* its key */
	__u64 proxy;  /* cookie of B, if it is S */
	__u64 sock;   /* address of its tcp_sock */
	__u32 sent0;  /* write_seq at its establishment */
	__u32 got0;   /* rcv_nxt then */
	__u32 slot;   /* of its direction; SLOT_NONE: not paired */
	__u32 ended;  /* it has shut its sending half */
};

/* cookie -> socket of a local client or backend. Written by bypass_watch; a socket leaves it by
 * itself when it is closed. What is sent on one of them, bypass_send judges. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, __u64);
} bypass_sockets SEC(".maps");

/* cookie -> end. Written by bypass_watch from establishment to close, and by pairing. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, struct end);
} bypass_ends SEC(".maps");

/* cookie -> own. A's are written by bypass_watch when they are established, B's by userspace before
 * it connects; removed by either when the socket is closed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, struct bypass_own);
} bypass_own SEC(".maps");

/* Where the proxy listens for apps that are bypassed -> 1. Written by userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bypass_listener);
	__type(value, __u32);
} bypass_listeners SEC(".maps");

/* A connection (without sequence numbers) whose SYN has come to such a listener -> 1: tells C that
 * it is connecting to the proxy. Short-lived, so the oldest may be pushed out. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct connection);
	__type(value, __u32);
} bypass_opening SEC(".maps");

/* A connection of which the first end is established -> its cookie: tells the second one who that
 * is. The end that connects always comes first. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct connection);
	__type(value, __u64);
} bypass_met SEC(".maps");

/* slot -> direction. Mapped into userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bypass_direction);
} bypass_directions SEC(".maps");

/* enum bypass_counter -> how many. Written here, read and summed by userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_BYPASS_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} bypass_counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&bypass_counters, &what);

	if (n)
		(*n)++;
}

static __always_inline struct bypass_direction *direction(__u32 slot)
{
	return bpf_map_lookup_elem(&bypass_directions, &slot);
}

/* The kernel's: plain loads from an address that may be nobody's any more, where they read as 0. */
extern void *bpf_rdonly_cast(const void *address, __u32 type_id) __ksym;

static __always_inline const struct tcp_sock *tcp_sock_at(__u64 address)
{
	return bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct tcp_sock));
}

static __always_inline __u64 cookie_of(const struct tcp_sock *tp)
{
	return READ_ONCE(tp->inet_conn.icsk_inet.sk.__sk_common.skc_cookie.counter);
}

static __always_inline __u64 psock_of(const struct tcp_sock *tp)
{
	return (__u64)tp->inet_conn.icsk_inet.sk.sk_user_data & SK_USER_DATA_MASK;
}

/* Bytes redirected to a socket and not read. */
static __always_inline __u32 unread_in(__u64 psock)
{
	const struct sk_psock *p =
		bpf_rdonly_cast((void *)psock, bpf_core_type_id_kernel(struct sk_psock));

	return READ_ONCE(p->msg_tot_len);
}

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

	/* With TCP Fast Open there are bytes under way already. */
	if (!tp || tp->write_seq != tp->snd_nxt || BPF_CORE_READ_BITFIELD_PROBED(tp, is_mptcp))
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
	struct bypass_direction *own, *d;
	__u64 cookie = e->cookie;
	__u32 slot;

	if (!tp || !tp->inet_conn.icsk_inet.sk.sk_user_data)
		return;
	__sync_lock_test_and_set(&e->ended, 1);
	slot = READ_ONCE(e->slot);
	if (slot != SLOT_NONE) {
		own = direction(slot);
		d = direction(slot ^ 1);
		if (!own || !d || d->receiver != cookie)
			return;
		__sync_lock_test_and_set(&d->ended, 1);
		if (is_sending(own) || may_have_more(tp))
			return;
		d->psock = 0;
	}
	if (!bpf_map_delete_elem(&bypass_sockets, &cookie))
		count(BYPASS_ENDS_LEFT);
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

	if (READ_ONCE(d->off))
		return BYPASS_OFF;
	if (!read_receiver(d, &r))
		return BYPASS_GONE;
	if (!r.is_fit || !is_fit_sender(tp))
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

static __always_inline void note_redirected(struct bypass_direction *d, __u32 size)
{
	d->bytes += size;
	d->messages++;
	d->active_ns = bpf_ktime_get_coarse_ns();
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
	mode = judge(d, tp, msg->size);
	/* The slot may have been given to another flow meanwhile; then what was read may be of
	 * both. */
	if (__sync_fetch_and_add(&d->owner, 0) != cookie)
		return SK_PASS;
	if (READ_ONCE(d->ended)) /* see leave_half_closed() */
		mode = BYPASS_ENDED;
	/* Not found, it says SK_DROP, and nothing has changed. */
	if (mode == BYPASS_REDIRECTED &&
	    bpf_msg_redirect_hash(msg, &bypass_sockets, &receiver, BPF_F_INGRESS) != SK_PASS)
		mode = BYPASS_GONE;
	if (mode == BYPASS_REDIRECTED)
		note_redirected(d, msg->size);
	d->mode = mode;
	count(BYPASS_MESSAGES + mode);
	return SK_PASS;
}

char _license[] SEC("license") = "GPL";
