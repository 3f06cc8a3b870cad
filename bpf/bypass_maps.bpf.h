/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The local bypass's maps, what is in them, and the reading of sockets by their addresses. A socket
 * that is read so may be gone, or be another one: its cookie is compared after all else is read.
 */
#ifndef BYPASS_MAPS_BPF_H
#define BYPASS_MAPS_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bypass_abi.h"

#define SLOT_NONE (~0u)
/* The low bits of sk_user_data are flags. */
#define SK_USER_DATA_MASK (~7ull)

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

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

/* Bytes that a receiver may have unread, or an outlet unsent. Set by userspace before loading. */
const volatile __u32 unread_cap = 1 << 20;

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

/* cookie -> outlet. Written by userspace; a socket leaves it by itself when it is closed. It has no
 * program: what the proxy sends goes as ever. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, __u64);
} bypass_outlets SEC(".maps");

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

#endif
