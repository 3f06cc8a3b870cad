/* SPDX-License-Identifier: MIT */
/*
 * What bpf/wire.bpf.c and user/ share: the keys and records of the wire engine's maps, and the
 * request by which userspace has the program join two connections. Fixed width, no padding that is
 * not named, sizes asserted.
 *
 * A flow has the index k. Its two legs are the connections client to proxy (side 0) and proxy to
 * backend (side 1); each has a slot, 2k and 2k + 1. The record of a slot is about the direction in
 * which that leg's peer sends.
 */
#ifndef WIRE_ABI_H
#define WIRE_ABI_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#include <stddef.h>
#endif

#define WIRE_APP_NAME_MAX 64
#define WIRE_TARGET_MAX 64
/* The ring of whoever has adopted a flow; worker w has ring w + 1. */
#define WIRE_RING_KEEPER 0
#define WIRE_RINGS_MAX 257

/*
 * The source and destination of what arrives on a leg, as it stands in its packets: network byte
 * order, an IPv4 address as an IPv4-mapped IPv6 one.
 */
struct wire_tuple {
	__u32 saddr[4], daddr[4];
	__u16 sport, dport;
	__u32 reserved;
};

/* An address that is listened on, as in a wire_tuple; for any of a family :: or ::ffff:0.0.0.0. */
struct wire_listener {
	__u32 addr[4];
	__u16 port;
	__u16 reserved;
};

/*
 * A leg that is joined, keyed by its tuple: what becomes of the packets that arrive on it. Written
 * once, by the join program. Deleted by userspace, or by the program when a new connection uses the
 * tuple of one that has ended: so who deletes looks first whether it still has the slot that he
 * means.
 */
struct wire_leg {
	struct wire_tuple to; /* as which they leave on the other leg */
	__u32 seq_delta;      /* added to seq: other leg's send seq less this leg's receive seq */
	__u32 ack_delta;      /* added to ack and SACK edges */
	__u32 tsval_delta;
	__u32 tsecr_delta;
	__u32 slot;
	__u8 wscale_from; /* what this leg's peer shifts its windows by */
	__u8 wscale_to;   /* what the other leg's peer takes them to be shifted by */
	__u8 is_ipv6;     /* the family of both legs' packets */
	__u8 reserved;
};

/*
 * A leg whose payload is kept away from its socket, keyed by its tuple, in an LRU hash. Written by
 * the program at a SYN to one of `wire_listeners` and at the SYN-ACK to a socket with a
 * `wire_expected`, or by userspace to promote a flow; deleted at the join, or by userspace to
 * give the flow to the stack.
 */
struct wire_hold {
	__u64 since_ns; /* CLOCK_MONOTONIC; older than hold_max_ns, or 0: only ifindex is noted */
	__u32 ifindex;  /* the device that its packets come in by; 0: none has come yet */
	__u32 mss;      /* that the peer has announced; 0: not known */
};

/* How old a hold may become, unless the settings say otherwise. */
#define WIRE_HOLD_MAX_NS (30 * 1000000000ull)

/* To be raised when what stands here gets another meaning: pinned maps are only taken over by a
 * daemon of the same version. */
#define WIRE_ABI_VERSION 1

/* The only entry of `wire_settings`, written by userspace at any time. */
struct wire_settings {
	__u32 park_ifindex;     /* the parking device; 0: there is none, nothing is held */
	__u32 drop_per_million; /* packets of joined legs that are lost on purpose */
	__u64 hold_max_ns;      /* 0: WIRE_HOLD_MAX_NS */
	__u32 version;          /* WIRE_ABI_VERSION; the programs don't look at it */
	__u32 gate;             /* enum wire_gate */
};

/* For tests, in programs with has_gate: has a packet wait where the moment matters, between the
 * look at the joined legs and the one at the held ones. */
enum wire_gate {
	WIRE_GATE_OPEN,
	WIRE_GATE_SHUT,
	WIRE_GATE_REACHED, /* and waited at, for a while: then it opens by itself */
};

/* The states of a direction, as bits. */
enum wire_state {
	WIRE_FIN = 1 << 0,       /* its sender's FIN has passed */
	WIRE_FIN_ACKED = 1 << 1, /* and was acknowledged by the receiver */
	WIRE_RST = 1 << 2, /* its sender has reset the connection, with a number in the window */
};

/*
 * One direction of a joined flow: the record of a slot is about what that leg's peer sends, in the
 * numbers that its packets have when they arrive. The first cache line is written by the program,
 * at times by two CPUs at once: figures may miss a packet then, bytes and state do not. The second
 * is written by userspace alone, ifindex first of all by the join.
 */
struct wire_direction {
	__u64 bytes;           /* of the stream that have passed, by sequence progress: each once */
	__u64 packets;         /* as GRO has left them */
	__u64 retransmissions; /* packets with payload that bring nothing new */
	__u64 active_ns;  /* CLOCK_MONOTONIC (coarse) of the last packet; at first of the join */
	__u64 payload_ns; /* of the last one that brought new payload; 0: none yet */
	__u32 seq_start;  /* the number of the first byte after the join: that of the next one is
			     seq_start + bytes */
	__u32 ack;        /* the highest acknowledgement of its sender */
	__u32 edge;       /* the highest number that its sender has allowed: ack + window */
	__u32 fin_end;    /* the number after its FIN, if WIRE_FIN */
	__u32 state;      /* enum wire_state */
	__u32 reserved;

	__u32 ring;       /* where its flow's end is told */
	__u32 generation; /* of the slot's use */
	__u32 killed;     /* 1: answer each packet with a RST, forward none but RSTs of userspace */
	__u32 ifindex;    /* the device by which its packets leave */
	__u32 mtu;        /* of their route; 0: that of the device */
	__u32 reserved_too[11];
};

/*
 * Who a flow is, by index: what a daemon needs to adopt it, and a person to read the map. Written
 * by userspace alone: when it joins, and in_use at last; zeroed when the flow is over.
 */
struct wire_flow {
	__u32 in_use; /* 1: joined or lingering */
	__u32 generation;
	struct wire_tuple leg[2]; /* the keys of its legs */
	__u64 opened_ns;          /* CLOCK_MONOTONIC of the accept */
	__u64 joined_ns;
	__u64 ended_ns;        /* its end was told and logged, it lingers; 0: it is alive */
	__u64 bytes_before[2]; /* that the sockets moved before the join, by direction */
	__u32 idle_timeout_ms, half_close_timeout_ms; /* 0: none */
	char app[WIRE_APP_NAME_MAX];
	char target[WIRE_TARGET_MAX]; /* as the config names it */
};

/* An entry of a ring: a FIN of a flow is acknowledged, or it was reset. */
struct wire_event {
	__u32 flow;
	__u32 generation;
	__u32 state[2]; /* of the two directions */
};

/*
 * Why two connections could not be joined; 0: they are. In the order in which it is looked for:
 * what can't change comes first, so that asking again after WIRE_NOT_DRY makes sense.
 */
enum wire_refusal {
	WIRE_JOINED,
	WIRE_NO_SOCKET,  /* a leg's socket was not found, or is not established */
	WIRE_FAMILIES,   /* one leg is IPv4, the other IPv6 */
	WIRE_TIMESTAMPS, /* one leg has agreed on them, the other has not */
	WIRE_ECN,        /* likewise; or a leg has agreed on accurate ECN, which counts by leg */
	WIRE_MSS,        /* a peer takes only smaller segments than the other one was told */
	WIRE_NO_ROUTE,   /* a socket has no cached route to send by */
	WIRE_MTU,        /* a peer was told segments that the way to the other one does not take */
	WIRE_NOT_SEEN, /* a leg is not held, or its packets come in by a device without the program */
	WIRE_NOT_DRY,    /* a socket holds bytes, or some are not acknowledged: ask again */
	WIRE_TABLE_FULL, /* the map of legs; or one of these is in it still */
	N_WIRE_REFUSALS
};

/*
 * The data of a BPF_PROG_TEST_RUN of wire_join: first 14 + 20 bytes that are not used (the kernel
 * wants a frame), then this. The answer comes back in the same place.
 */
struct wire_request {
	/* question */
	struct wire_tuple leg[2]; /* side 0: the client's, side 1: the backend's */
	__u32 flow;               /* index, for the slots */
	__u32 must_be_seen; /* 1: WIRE_NOT_SEEN unless a packet of each leg has come since it is
			       held */
	/* answer */
	__u32 refusal;        /* enum wire_refusal */
	__u32 rx_ifindex[2];  /* where the legs' packets come in; 0: not known */
	__u32 tx_ifindex[2];  /* where the sockets send */
	__u32 mss_told[2];    /* what the proxy has announced on the leg */
	__u32 mss_offered[2]; /* what the peer has announced, or an upper bound of what it takes */
	__u32 options[2];     /* TCPI_OPT_* of the legs */
	__u32 mtu[2];         /* of the ways to the peers, as far as this host knows them */
	__u32 reserved;
};

/* What became of a packet, and why; the index into the per-CPU array `wire_counters`. */
enum wire_counter {
	WIRE_FORWARDED,
	WIRE_ICMP_FORWARDED,    /* an ICMP error about a joined flow, translated */
	WIRE_PARKED,            /* payload of a held leg, to the parking device */
	WIRE_PARK_FAILED,       /* the parking device did not take it: to the stack, whole */
	WIRE_UNPARKED_TO_STACK, /* came back from the parking device, its leg is not joined */
	WIRE_RST_ANSWERED,      /* packet of a killed flow, answered with a RST */
	WIRE_TOO_BIG_ANSWERED,  /* for the way on: its sender is told by ICMP to make it smaller */
	WIRE_TO_STACK_FRAGMENT, /* of an IP packet; whose it is, is not known */
	WIRE_TO_STACK_OPTIONS,  /* IP options or IPv6 extension headers before TCP */
	WIRE_TO_STACK_REUSED,   /* SYN or SYN-ACK on a leg that has ended: its entry went */
	WIRE_DROPPED_MALFORMED, /* of a joined leg: a TCP header that does not hold what it says */
	WIRE_DROPPED_GONE,      /* its leg was removed while it was translated */
	WIRE_DROPPED_FOR_TEST,  /* by the probe's and the tests' knob */
	WIRE_EVENT_LOST,        /* a ring was full; ends are found by looking, too */
	N_WIRE_COUNTERS
};

#ifndef __VMLINUX_H__
_Static_assert(sizeof(struct wire_tuple) == 40, "no hidden padding");
_Static_assert(sizeof(struct wire_listener) == 20, "no hidden padding");
_Static_assert(sizeof(struct wire_leg) == 64, "one cache line");
_Static_assert(sizeof(struct wire_hold) == 16, "no hidden padding");
_Static_assert(sizeof(struct wire_settings) == 24, "no hidden padding");
_Static_assert(sizeof(struct wire_direction) == 128, "two cache lines");
_Static_assert(offsetof(struct wire_direction, ring) == 64, "userspace's own cache line");
_Static_assert(sizeof(struct wire_flow) == 264, "no hidden padding");
_Static_assert(sizeof(struct wire_event) == 16, "no hidden padding");
_Static_assert(sizeof(struct wire_request) == 144, "no hidden padding");
#endif

#endif
