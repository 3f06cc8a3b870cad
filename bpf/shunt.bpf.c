// SPDX-License-Identifier: GPL-2.0-only
/*
 * The verdict on every segment that arrives on a socket of a joined flow: to the other socket of
 * the flow (REDIRECT), or to userspace (PASS), which relays it by recv and send. GPL, because the
 * kernel's helpers ask for it.
 *
 * Two things must hold. Order: bytes of one direction take one way at a time. The program flips to
 * REDIRECT only when userspace has forwarded all that was passed to it, and userspace sends only
 * when all that was redirected is in the target's write queue. Bound: a redirected segment is in no
 * socket's accounting until the target's TCP has taken it, so it is redirected only if the target
 * will take it at once, whatever its peer does.
 *
 * Concurrency: the verdicts of one direction run under the lock of its source socket, one after the
 * other, so its record needs no atomics. The two directions of a flow may run on two CPUs, and
 * never touch each other's record. Of the target only counters are read, without its lock; see
 * target_state.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "shunt_abi.h"

/*
 * How far userspace may be behind with what is passed, over the receive buffer that TCP itself goes
 * by: what the fastest sender gets in while the kernel's worker waits some 20 ms for a CPU.
 */
#define UNREAD_MAX_BYTES (64u << 20)
/* What an skb of a few bytes costs in the target's send buffer, above its payload. */
#define SEGMENT_COST_BYTES 2048

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

const volatile __u32 backlog_cap = 1 << 20; /* set by userspace before loading */

/*
 * slot -> socket. Written by userspace, once for each socket; a socket leaves it by itself when it
 * is closed. Read by the verdict, to look at the target and to redirect to it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} sockets SEC(".maps");

/*
 * socket cookie -> slot. Written by userspace: set before the socket enters `sockets`, deleted
 * after it is closed. Read by the verdict, to find out on which socket it runs.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, __u32);
} slots SEC(".maps");

/*
 * slot -> record of the direction that starts there. Mapped into userspace, which resets it before
 * a use and then writes its own half; the verdict writes the other half.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct shunt_direction);
} directions SEC(".maps");

/* The shape of a worker's ring; userspace makes each as large as its worker's slots need. */
struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

/*
 * worker -> its ring of struct shunt_event. Rings are written by the verdict, read by the worker
 * alone: so an event comes to the thread that has the flow without a lock or another thread in
 * between. A direction has one event outstanding at most (userspace resumes it only after reading
 * the last one), so a ring with room for one for each of its worker's slots never overflows.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps");

/* enum shunt_counter -> segments. Written by the verdict, read and summed by userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_SHUNT_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct target {
	__u32 write_seq;
	__u32 queued; /* sk_wmem_queued: what its send buffer holds, overhead included */
	__u32 room;   /* sk_sndbuf */
};

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &what);

	if (n)
		(*n)++;
}

/*
 * Looks at the target without its lock. While a direction redirects, only its own bytes advance the
 * target's write_seq, so an old value makes the backlog look larger than it is, never smaller. It
 * is read before `queued`: a byte that moves from the backlog to the send buffer in between counts
 * twice, not never. Where the base is taken from it, nobody is writing to the target: userspace's
 * last send came before its resume_at.
 */
static __always_inline bool target_state(__u32 slot, struct target *t)
{
	struct bpf_sock *sk = bpf_map_lookup_elem(&sockets, &slot);
	struct tcp_sock *tp;

	if (!sk)
		return false;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp) {
		t->write_seq = READ_ONCE(tp->write_seq);
		t->queued = READ_ONCE(tp->inet_conn.icsk_inet.sk.sk_wmem_queued);
		t->room = READ_ONCE(tp->inet_conn.icsk_inet.sk.sk_sndbuf);
	}
	bpf_sk_release(sk);
	return tp;
}

/*
 * Will the target take all of the backlog and this segment without waiting for its peer? It takes
 * bytes until its send buffer is full; half of it is left for what they cost above their size. A
 * backlog that waited for the peer would also hold up the bytes that are passed to userspace in the
 * other direction: the kernel has one queue for both. And what is in that queue is in no account.
 */
static __always_inline bool target_has_room(const struct target *t, __u32 backlog, __u32 len)
{
	__u32 waiting = backlog + len;

	return waiting <= backlog_cap && t->queued + waiting + SEGMENT_COST_BYTES <= t->room / 2;
}

static __always_inline void tell(const struct shunt_direction *d, __u32 slot)
{
	struct shunt_event event = { slot, d->generation };
	__u32 worker = d->worker;
	void *ring = bpf_map_lookup_elem(&rings, &worker);

	if (!ring || bpf_ringbuf_output(ring, &event, sizeof(event), 0))
		count(SHUNT_EVENT_LOST);
}

static __always_inline int break_off(struct shunt_direction *d, __u32 slot, __u32 why)
{
	d->mode = SHUNT_BROKEN;
	tell(d, slot);
	count(why);
	return SK_DROP;
}

/*
 * Passed bytes count in the receive buffer, so TCP's window holds the sender back. But while bytes
 * of the other direction are still in the queue that both share, passed ones have to stand behind
 * them, and count nowhere until the kernel's worker has run. That is short (see target_has_room);
 * if it lasts, something is wrong, and the flow has to go before it takes the memory of the host.
 */
static __always_inline bool unread_is_bounded(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
	__u32 unread;

	if (!tp)
		return true;
	unread = READ_ONCE(tp->rcv_nxt) - READ_ONCE(tp->copied_seq);
	return unread <= READ_ONCE(tp->inet_conn.icsk_inet.sk.sk_rcvbuf) + UNREAD_MAX_BYTES;
}

static __always_inline int pass(struct __sk_buff *skb, struct shunt_direction *d, __u32 slot,
				__u32 why)
{
	if (!unread_is_bounded(skb))
		return break_off(d, slot, SHUNT_DROPPED_UNREAD);
	d->passed += skb->len;
	count(why);
	return SK_PASS;
}

static __always_inline int demote(struct __sk_buff *skb, struct shunt_direction *d, __u32 slot,
				  __u32 why)
{
	int verdict;

	d->mode = SHUNT_PASS;
	d->demotions++;
	verdict = pass(skb, d, slot, why);
	if (verdict == SK_PASS)
		tell(d, slot);
	return verdict;
}

static __always_inline int redirect(struct __sk_buff *skb, struct shunt_direction *d, __u32 slot,
				    __u32 backlog)
{
	d->redirected += skb->len;
	d->messages++;
	if (backlog + skb->len > d->backlog_max)
		d->backlog_max = backlog + skb->len;
	if (bpf_sk_redirect_map(skb, &sockets, slot ^ 1, 0) != SK_PASS)
		return break_off(d, slot, SHUNT_DROPPED_MISSED);
	count(SHUNT_REDIRECTED);
	return SK_PASS;
}

static __always_inline int judge(struct __sk_buff *skb, struct shunt_direction *d, __u32 slot)
{
	struct target t;
	__u32 backlog;

	d->active_ns = bpf_ktime_get_ns();
	if (d->mode == SHUNT_BROKEN) {
		count(SHUNT_DROPPED_BROKEN);
		return SK_DROP;
	}
	if (d->mode == SHUNT_PASS && d->passed != READ_ONCE(d->resume_at))
		return pass(skb, d, slot, SHUNT_PASSED_NOT_DRY);
	if (!target_state(slot ^ 1, &t))
		return demote(skb, d, slot, SHUNT_PASSED_NO_TARGET);
	if (d->mode == SHUNT_PASS)
		d->base = t.write_seq - (__u32)d->redirected;
	backlog = d->base + (__u32)d->redirected - t.write_seq;
	if (!target_has_room(&t, backlog, skb->len))
		return demote(skb, d, slot, SHUNT_PASSED_FULL);
	if (d->mode == SHUNT_PASS)
		d->promotions++;
	d->mode = SHUNT_REDIRECT;
	return redirect(skb, d, slot, backlog);
}

SEC("sk_skb")
int shunt_verdict(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct shunt_direction *d;
	__u32 *entry, slot;

	/* Redirected, it would be a send of nothing, which the kernel takes for a broken pipe. */
	if (!skb->len) {
		count(SHUNT_DROPPED_FIN);
		return SK_DROP;
	}
	entry = bpf_map_lookup_elem(&slots, &cookie);
	if (!entry) {
		count(SHUNT_PASSED_UNKNOWN);
		return SK_PASS;
	}
	slot = *entry;
	d = bpf_map_lookup_elem(&directions, &slot);
	if (!d) {
		count(SHUNT_PASSED_UNKNOWN);
		return SK_PASS;
	}
	return judge(skb, d, slot);
}

char _license[] SEC("license") = "GPL";
