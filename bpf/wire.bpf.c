// SPDX-License-Identifier: GPL-2.0-only
/*
 * The wire: two established TCP connections of this host, client to proxy and proxy to backend, are
 * joined at packet level. wire_forward, at the ingress of every device that their packets come in
 * by, rewrites each packet of one into a packet of the other and sends it on; the proxy's sockets
 * see nothing any more. wire_join joins them.
 *
 * Bytes are never looked at, kept or acknowledged here, so none can be lost or doubled by the join;
 * and what this host's memory holds of a flow does not depend on what the flow carries.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "wire_hold.bpf.h"
#include "wire_icmp.bpf.h"
#include "wire_join.bpf.h"
#include "wire_maps.bpf.h"
#include "wire_packet.bpf.h"
#include "wire_translate.bpf.h"

#define PACKET_HOST 0

static __always_inline int pass_counted(__u32 why)
{
	count(why);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int wire_forward(struct __sk_buff *skb)
{
	const struct wire_settings *s = settings();
	struct packet p = {};
	const struct wire_leg *leg;
	int verdict;

	/* In promiscuous mode others' frames come by. Parked ones have the address of the device
	 * that they came in by. */
	if (!s || (skb->pkt_type != PACKET_HOST && skb->ifindex != s->park_ifindex))
		return TC_ACT_UNSPEC;
	switch (packet_parse(skb, &p)) {
	case PACKET_TCP:
		break;
	case PACKET_FRAGMENT:
		return pass_counted(WIRE_TO_STACK_FRAGMENT);
	case PACKET_OPTIONS:
		return pass_counted(WIRE_TO_STACK_OPTIONS);
	case PACKET_ICMP:
		return wire_icmp_v4(skb);
	case PACKET_ICMPV6:
		return wire_icmp_v6(skb);
	default:
		return TC_ACT_UNSPEC;
	}
	leg = bpf_map_lookup_elem(&wire_flows, &p.tuple);
	if (!leg || forget_if_reused(skb, &p, leg)) {
		verdict = pass_or_park(skb, &p);
		if (verdict != TC_ACT_UNSPEC || !carries_bytes(&p))
			return verdict;
		/* A join enters the legs and then ends their holds: who has looked for the leg
		 * before and for the hold after has seen neither. */
		leg = bpf_map_lookup_elem(&wire_flows, &p.tuple);
		if (!leg)
			return TC_ACT_UNSPEC;
	}
	return forward(skb, &p, leg, s);
}

/*
 * On the sockets of a joined flow. TCP_REPAIR keeps them from sending by themselves, but what
 * reaches one it would take and acknowledge: a packet that came around wire_forward (in fragments,
 * or by a device that does not have it) would be one that its sender believes to have arrived. So
 * it is lost here, and sent again.
 */
SEC("socket")
int wire_deaf(struct __sk_buff *skb)
{
	(void)skb;
	return 0;
}

char _license[] SEC("license") = "GPL";
