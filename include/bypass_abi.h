/* SPDX-License-Identifier: MIT */
/*
 * What bpf/bypass.bpf.c and user/ share. A flow that may be bypassed has four sockets: the client's
 * (C) and the backend's (S), which belong to programs of this host, and the proxy's own two, A to
 * the client and B to the backend. Sockets are named by their cookies, which the kernel never gives
 * twice, in no namespace.
 *
 * A flow has two slots, 2k for what C sends and 2k + 1 for what S sends.
 *
 * If only one of the ends is on this host, what it sends goes to the proxy's socket to the other
 * one, the outlet: half a flow, with one slot.
 */
#ifndef BYPASS_ABI_H
#define BYPASS_ABI_H

#ifndef __VMLINUX_H__
#include <linux/bpf.h>
#include <linux/types.h>
#include <stddef.h>
#endif

/* Where the program is told that a proxy's socket listens. IPv4 as ::ffff:a.b.c.d. */
struct bypass_listener {
	__u64 netns;   /* cookie of the namespace */
	__u32 addr[4]; /* network byte order; all zeros: any address of the family */
	__u16 port;    /* host byte order */
	__u16 is_ipv6; /* of a wildcard */
	__u32 reserved;
};

/* What the sending end's program made of the last bytes. */
enum bypass_mode {
	BYPASS_SILENT,     /* nothing was sent yet */
	BYPASS_REDIRECTED, /* they went to the receiver, or the outlet */
	/* They went to the proxy: */
	BYPASS_NOT_DRY, /* earlier ones that did are not read yet, or the receiver's end has come */
	BYPASS_FULL,    /* the receiver has too much that it has not read, or the outlet unsent */
	BYPASS_OFF,     /* userspace said so */
	BYPASS_UNFIT,   /* an end uses MSG_ZEROCOPY, SO_RCVLOWAT or a ULP such as TLS */
	BYPASS_GONE,    /* the receiver is closed */
	BYPASS_ENDED,   /* the receiver has ended its own sending, and left the map */
	N_BYPASS_MODES
};

/*
 * One direction of a flow, in the array `bypass_directions`. The first cache line is written when
 * the flow is paired, the second by the program that runs when the direction's sender sends, under
 * that socket's lock, and by the one that sees the sender close; userspace only clears them before
 * a use, and writes what it is named for.
 */
struct bypass_direction {
	__u64 owner;    /* cookie of the sender; 0: the slot is not in use */
	__u64 receiver; /* cookie of the receiver, or of the outlet */
	__u64 sock;     /* address of its tcp_sock */
	__u32 sent0;    /* the sender's write_seq when its connection was established */
	__u32 got0;     /* the receiver's rcv_nxt then; or the outlet's write_seq, without what was
			   redirected, before the first byte */
	__u32 off;      /* userspace: everything goes to the proxy */
	__u32 ended;    /* the receiver has shut its sending half: likewise, from now on */
	__u32 is_half;  /* the receiver is an outlet */
	__u32 reserved[5];

	__u64 bytes;      /* redirected */
	__u64 messages;   /* redirected */
	__u64 active_ns;  /* CLOCK_MONOTONIC_COARSE of the last one */
	__u64 psock;      /* address of the receiver's sk_psock, as last seen */
	__u32 mode;       /* enum bypass_mode */
	__u32 in_queue;   /* messages redirected since the receiver had read all, at most */
	__u32 unread_max; /* most bytes that the receiver had not read, or the outlet not sent */
	__u32 cut;        /* the receiver was closed with redirected bytes that it had not read */
	__u32 reserved_too[4];
};

/* A socket of the proxy's, in the map `bypass_own`. */
struct bypass_own {
	__u64 peer;  /* cookie of the other end of its connection; 0: not (yet) seen here */
	__u64 other; /* cookie of the flow's other socket; 0: not paired */
	__u32 flow;
	__u32 reserved;
};

/* What bypass_pair is asked, and answers. */
struct bypass_request {
	__u64 own[2]; /* cookies of A and B */
	__u32 flow;   /* has the slots 2 * flow and 2 * flow + 1 */
	__u32 result; /* enum bypass_pairing */
};

/*
 * bypass_halve is asked by the context of a BPF_PROG_TEST_RUN, and answers by its return value,
 * enum bypass_pairing: `mark` has how many bytes the proxy has written to the outlet, modulo 2^32,
 * and `cb` this.
 */
struct bypass_half {
	__u64 own[2]; /* cookies of the proxy's socket to this end, and of the outlet */
	__u32 slot;
} __attribute__((packed, aligned(4)));

enum bypass_pairing {
	BYPASS_PAIRED,
	BYPASS_BACKEND_UNKNOWN, /* S is not on this host, or about to be established: then it pairs
				   them */
	BYPASS_END_ENDED,       /* C or S has ended its sending already */
	BYPASS_CLIENT_UNKNOWN,  /* C is not on this host, or not in the cgroup */
};

/* What became of a message, enum bypass_mode, and what else is counted; the index into the per-CPU
 * array `bypass_counters`. */
enum bypass_counter {
	BYPASS_MESSAGES,                   /* + enum bypass_mode */
	BYPASS_ENDS_SEEN = N_BYPASS_MODES, /* sockets of local clients and backends */
	BYPASS_ENDS_REFUSED, /* that the maps had no room for, or the kernel refused */
	BYPASS_ENDS_LEFT,    /* that went on without, after they had ended their sending */
	BYPASS_FLOWS_PAIRED,
	BYPASS_FLOWS_HALVED, /* that were begun with one end on this host */
	N_BYPASS_COUNTERS
};

#ifndef __VMLINUX_H__
_Static_assert(sizeof(struct bypass_listener) == 32, "no hidden padding in a key");
_Static_assert(sizeof(struct bypass_half) == sizeof(((struct __sk_buff *)0)->cb), "it is there");
_Static_assert(sizeof(struct bypass_direction) == 128, "two cache lines");
_Static_assert(offsetof(struct bypass_direction, bytes) == 64, "a writer each");
#endif

#endif
