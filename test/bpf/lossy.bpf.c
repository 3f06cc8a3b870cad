// SPDX-License-Identifier: GPL-2.0-only
/*
 * A bad network for the tests: a TC program at a device's egress that loses, doubles or delays some
 * packets, each section in its own measure. A delayed packet goes to the class 1:2 of the device's
 * HTB, which the test has made slow, and so others overtake it.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#define TC_ACT_OK 0
#define TC_ACT_SHOT 2

#define SLOW_CLASS 0x10002
/* Marks the second of two, so that it is not doubled again. */
#define MARK_COPY 0x5348

struct measure { /* in packets of a million */
	__u32 lost, doubled, delayed;
};

static __always_inline bool happens(__u32 per_million)
{
	return bpf_get_prandom_u32() % 1000000 < per_million;
}

static __always_inline int disturb(struct __sk_buff *skb, struct measure m)
{
	if (skb->mark == MARK_COPY)
		return TC_ACT_OK;
	if (happens(m.lost))
		return TC_ACT_SHOT;
	if (happens(m.doubled)) {
		skb->mark = MARK_COPY;
		bpf_clone_redirect(skb, skb->ifindex, 0);
	}
	if (happens(m.delayed))
		skb->priority = SLOW_CLASS;
	return TC_ACT_OK;
}

SEC("tc/loss_1_in_1000")
int loss_1_in_1000(struct __sk_buff *skb)
{
	return disturb(skb, (struct measure){ .lost = 1000 });
}

SEC("tc/loss_1_in_100")
int loss_1_in_100(struct __sk_buff *skb)
{
	return disturb(skb, (struct measure){ .lost = 10000 });
}

SEC("tc/loss_5_in_100")
int loss_5_in_100(struct __sk_buff *skb)
{
	return disturb(skb, (struct measure){ .lost = 50000 });
}

SEC("tc/disorder")
int disorder(struct __sk_buff *skb)
{
	return disturb(skb, (struct measure){ .doubled = 20000, .delayed = 20000 });
}

char _license[] SEC("license") = "GPL";
