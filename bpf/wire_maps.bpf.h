// SPDX-License-Identifier: GPL-2.0-only
/*
 * The maps of the wire's programs; include/wire_abi.h has their keys and values. All of them are
 * pinned and outlive the daemon that has made them. Their sizes are userspace's business, which
 * sets them before loading.
 */
#ifndef WIRE_MAPS_BPF_H
#define WIRE_MAPS_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "wire_abi.h"

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))

/* What arrives on a joined leg -> what becomes of it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, struct wire_tuple);
	__type(value, struct wire_leg);
} wire_flows SEC(".maps");

/*
 * What arrives on a leg whose payload is kept away from its socket -> since when, and what is known
 * of it. When it is full the hold that was not used for the longest time goes: that leg's bytes
 * then reach its socket, as without the wire.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2);
	__type(key, struct wire_tuple);
	__type(value, struct wire_hold);
} wire_holds SEC(".maps");

/* Address and port whose connections are held from their SYN on -> 1: but not for now. Written by
 * userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, struct wire_listener);
	__type(value, __u32);
} wire_listeners SEC(".maps");

/* A socket of ours that connects, whose leg is to be held from the SYN-ACK on -> unused. Written by
 * userspace; goes with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} wire_expected SEC(".maps");

/* Slot -> record of the direction that starts there. Mapped into userspace, which clears it before
 * a join and then writes its own half. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct wire_direction);
} wire_directions SEC(".maps");

/* Flow -> who it is, for the next daemon. Mapped into userspace, and nothing to the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wire_flow);
} wire_identities SEC(".maps");

/* 0 -> what holds for all flows. Mapped into userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wire_settings);
} wire_settings SEC(".maps");

/* The shape of a ring; userspace makes each as large as its flows need. */
struct wire_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};

/* Worker + 1, or WIRE_RING_KEEPER -> its ring of struct wire_event. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, WIRE_RINGS_MAX);
	__type(key, __u32);
	__array(values, struct wire_ring);
} wire_rings SEC(".maps");

/* enum wire_counter -> packets. Read and summed by userspace. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_WIRE_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} wire_counters SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&wire_counters, &what);

	if (n)
		(*n)++;
}

static __always_inline const struct wire_settings *settings(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&wire_settings, &only);
}

static __always_inline struct wire_direction *direction(__u32 slot)
{
	return bpf_map_lookup_elem(&wire_directions, &slot);
}

/* It may be watched only. `since` may be a little later than `now`, where one is of the coarse
 * clock. */
static __always_inline bool hold_is_valid(const struct wire_hold *hold, __u64 now)
{
	const struct wire_settings *s = settings();
	__u64 max = s && s->hold_max_ns ? s->hold_max_ns : WIRE_HOLD_MAX_NS;

	return hold->since_ns && (__s64)(now - hold->since_ns) <= (__s64)max;
}

#endif
