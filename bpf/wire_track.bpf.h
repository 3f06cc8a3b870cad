// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the wire remembers of a joined flow: the records of its two directions, and that it has
 * ended.
 *
 * Packets can be forged by somebody who knows the addresses but not the numbers, and a packet can
 * come late. So a number counts only if its sender could have used it, given what the receiver
 * allows. Each field has one writer direction, but a direction may run on two CPUs at once: bytes
 * and state are changed atomically, the rest may miss a packet.
 */
#ifndef WIRE_TRACK_BPF_H
#define WIRE_TRACK_BPF_H

#include "wire_maps.bpf.h"
#include "wire_packet.bpf.h"

/* How far beyond what is allowed a number may be: by one segment (a probe of a closed window). */
#define TRACK_SLACK_BYTES 65536
/* More CPUs do not take packets of one direction at a time. */
#define TRACK_RETRIES 4

/* Is a not after b, as sequence numbers? */
static __always_inline bool seq_le(__u32 a, __u32 b)
{
	return (__s32)(a - b) <= 0;
}

static __always_inline void track_bytes(struct wire_direction *d, __u32 end, __u64 now)
{
	for (int i = 0; i < TRACK_RETRIES; i++) {
		__u64 bytes = READ_ONCE(d->bytes);
		__s32 new = end - (d->seq_start + (__u32)bytes);

		if (new <= 0 || __sync_val_compare_and_swap(&d->bytes, bytes, bytes + new) == bytes)
			break;
	}
	d->payload_ns = now;
}

/* Sets a bit. Was it this packet that has set it? */
static __always_inline bool track_set(struct wire_direction *d, __u32 bit)
{
	return !(READ_ONCE(d->state) & bit) && !(__sync_fetch_and_or(&d->state, bit) & bit);
}

/* d: the direction of the packet; o: the other one, whose acknowledgements bound it. True: it is
 * the RST that ends the flow. */
static __always_inline bool track_sequence(const struct tcp_header *tcp, __u32 payload,
					   const struct wire_leg *leg, struct wire_direction *d,
					   struct wire_direction *o, __u64 now)
{
	__u32 seq = bpf_ntohl(tcp->seq), end = seq + payload;
	__u32 allowed = READ_ONCE(o->edge) - leg->seq_delta + TRACK_SLACK_BYTES;
	__u32 next = d->seq_start + (__u32)READ_ONCE(d->bytes);
	bool is_first;

	if (!seq_le(end, allowed))
		return false;
	if (payload && seq_le(end, next))
		d->retransmissions++;
	else if (payload)
		track_bytes(d, end, now);
	if ((tcp->flags & TCP_FLAG_FIN) && seq_le(next, end) && !(d->state & WIRE_FIN)) {
		WRITE_ONCE(d->fin_end, end + 1);
		track_set(d, WIRE_FIN);
	}
	/* Its receiver believes one that has the number that comes next, and answers any other with
	 * what that would be (RFC 5961, 3.2). It is what has been acknowledged, or, if that is
	 * under way, what was sent. */
	if (READ_ONCE(d->state) & WIRE_FIN)
		next = READ_ONCE(d->fin_end);
	if (!(tcp->flags & TCP_FLAG_RST) ||
	    (seq != READ_ONCE(o->ack) - leg->seq_delta && seq != next))
		return false;
	/* Looked at before: of two that come at once, one at least is told. */
	is_first = !(READ_ONCE(o->state) & WIRE_RST);
	return track_set(d, WIRE_RST) && is_first;
}

/* True: it is the acknowledgement of the other direction's FIN. */
static __always_inline bool track_ack(const struct tcp_header *tcp, const struct wire_leg *leg,
				      struct wire_direction *d, struct wire_direction *o)
{
	__u32 ack = bpf_ntohl(tcp->ack), window = bpf_ntohs(tcp->window);
	__u32 of_other = ack + leg->ack_delta; /* in the numbers of the other direction */
	__u32 next = o->seq_start + (__u32)READ_ONCE(o->bytes);

	if (!(tcp->flags & TCP_FLAG_ACK) || !seq_le(d->ack, ack) ||
	    !seq_le(of_other, next + TRACK_SLACK_BYTES))
		return false;
	if (!(tcp->flags & TCP_FLAG_SYN))
		window <<= leg->wscale_from;
	WRITE_ONCE(d->ack, ack);
	if (!seq_le(ack + window, d->edge))
		WRITE_ONCE(d->edge, ack + window);
	return (READ_ONCE(o->state) & WIRE_FIN) && of_other == READ_ONCE(o->fin_end) &&
	       track_set(o, WIRE_FIN_ACKED);
}

static __always_inline bool track_has_ended(const struct wire_direction *d,
					    const struct wire_direction *o)
{
	__u32 a = READ_ONCE(d->state), b = READ_ONCE(o->state);

	return (a & b & WIRE_FIN_ACKED) || ((a | b) & WIRE_RST);
}

/* Tells userspace that a direction has ended, or all. */
static __always_inline void track_tell(const struct wire_direction *first,
				       const struct wire_direction *second, __u32 flow)
{
	struct wire_event event = { .flow = flow, .generation = first->generation };
	__u32 ring = first->ring;
	void *out;

	event.state[0] = READ_ONCE(first->state);
	event.state[1] = READ_ONCE(second->state);
	out = bpf_map_lookup_elem(&wire_rings, &ring);
	if (!out || bpf_ringbuf_output(out, &event, sizeof(event), 0))
		count(WIRE_EVENT_LOST);
}

/* A packet that goes on; its header as it has come. */
static __always_inline void track(const struct tcp_header *tcp, __u32 payload,
				  const struct wire_leg *leg, __u32 slot, struct wire_direction *d,
				  struct wire_direction *o)
{
	__u64 now = bpf_ktime_get_coarse_ns();
	bool news;

	d->packets++;
	d->active_ns = now;
	news = track_sequence(tcp, payload, leg, d, o, now);
	news |= track_ack(tcp, leg, d, o);
	if (news)
		track_tell(slot & 1 ? o : d, slot & 1 ? d : o, slot / 2);
}

#endif
