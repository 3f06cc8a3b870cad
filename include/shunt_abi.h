/* SPDX-License-Identifier: MIT */
/*
 * What bpf/ and user/ share: the records in the BPF maps. Fixed width, no padding that is not
 * named, sizes and offsets asserted, so that both compilers lay them out alike and `bpftool map
 * dump` reads well.
 *
 * A flow has two slots, 2k for the client's socket and 2k + 1 for the backend's; what arrives on
 * slot i is relayed to slot i ^ 1. The record of slot i is about that direction, and about nothing
 * else.
 */
#ifndef SHUNT_ABI_H
#define SHUNT_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#include <stddef.h>
#endif

/* A direction's resume_at when userspace has not (yet) forwarded all that was passed to it. */
#define SHUNT_RESUME_NEVER (~(__u64)0)

enum shunt_mode {
	SHUNT_PASS, /* arriving bytes go to userspace, and count in the socket's receive buffer */
	SHUNT_REDIRECT, /* arriving bytes go to the target */
	SHUNT_BROKEN, /* bytes had to be dropped: nothing may follow them, the flow must be reset */
};

/*
 * One direction of a flow, in the array `directions`. The first half is written by the verdict
 * program alone, under the lock of the direction's source socket; the second by userspace alone.
 * Each has its own cache line.
 */
struct shunt_direction {
	__u64 redirected;  /* bytes that went to the target */
	__u64 passed;      /* bytes that went to userspace */
	__u64 messages;    /* segments redirected, as GRO and coalescing have left them */
	__u64 active_ns;   /* CLOCK_MONOTONIC of the last segment with payload */
	__u32 mode;        /* enum shunt_mode */
	__u32 base;        /* target's write_seq when redirecting began, less `redirected` then */
	__u32 promotions;  /* PASS to REDIRECT */
	__u32 demotions;   /* attempts at redirecting that met a full target */
	__u32 backlog_max; /* most bytes that were redirected and not yet in the target's write
			      queue */
	__u32 reserved[3];

	__u64 resume_at;  /* userspace has forwarded so many passed bytes, and holds none */
	__u32 worker;     /* whose ring hears of this direction */
	__u32 generation; /* of the slot's use: tells an event from one about the slot's last user */
	__u32 reserved_too[12];
};

/* An entry of a worker's ring: this direction passes bytes again, or is broken. */
struct shunt_event {
	__u32 slot;
	__u32 generation;
};

/* What became of a segment, and why; the index into the per-CPU array `counters`. */
enum shunt_counter {
	SHUNT_REDIRECTED,       /* went to the target */
	SHUNT_PASSED_NOT_DRY,   /* to userspace, which still has bytes of this direction */
	SHUNT_PASSED_FULL,      /* to userspace: the target's send buffer or the cap has no room */
	SHUNT_PASSED_NO_TARGET, /* to userspace: the target is not in the map */
	SHUNT_PASSED_UNKNOWN,   /* to userspace: a socket in the map without a slot */
	SHUNT_EVENT_LOST,       /* a ring was full; it is sized so that this can't be */
	SHUNT_DROPPED_FIN,      /* a FIN without payload: there is nothing to relay */
	SHUNT_DROPPED_BROKEN,   /* follows bytes that had to be dropped */
	SHUNT_DROPPED_MISSED,   /* the target left between two looks at it; breaks the direction */
	SHUNT_DROPPED_UNREAD,   /* userspace does not read what is passed; breaks the direction */
	N_SHUNT_COUNTERS
};

#ifndef __VMLINUX_H__
_Static_assert(sizeof(struct shunt_direction) == 128, "two cache lines");
_Static_assert(offsetof(struct shunt_direction, mode) == 32, "no hidden padding");
_Static_assert(offsetof(struct shunt_direction, resume_at) == 64, "userspace's own cache line");
_Static_assert(sizeof(struct shunt_event) == 8, "a ring's size is computed from it");
#endif

#endif
