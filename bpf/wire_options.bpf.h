// SPDX-License-Identifier: GPL-2.0-only
/*
 * TCP options (RFC 9293, 3.1; SACK RFC 2018, timestamps RFC 7323), read and translated in a copy of
 * them.
 *
 * The verifier follows each way through a program, and options allow for very many. So the step
 * from one to the next is a function that it verifies by itself, after which it takes the answer to
 * be anything at all; and what is anything is masked before it is an index.
 */
#ifndef WIRE_OPTIONS_BPF_H
#define WIRE_OPTIONS_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#include "wire_abi.h"

#define TCP_OPTIONS_MAX_BYTES 40
/* What a peer takes that announces nothing. */
#define MSS_DEFAULT_BYTES 536
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_MSS_BYTES 4
#define OPTION_SACK 5
#define OPTION_SACK_BLOCKS_MAX 4
#define OPTION_TIMESTAMPS 8
#define OPTION_TIMESTAMPS_BYTES 10
#define OPTION_INDEX_MASK 63
/* No index: an option does not fit. */
#define OPTION_MALFORMED 255

/* Only TCP_OPTIONS_MAX_BYTES are in use; with the rest, any masked index has room for an option. */
struct tcp_options {
	__u8 b[76];
};

static __always_inline __u8 *option_at(struct tcp_options *o, __u64 at)
{
	barrier_var(at); /* or the compiler proves the mask away */
	return &o->b[at & OPTION_INDEX_MASK];
}

/* The index after the option at `at`, which is n (their bytes) at the end of the list. The
 * arguments of a function of its own could be anything, too. */
__noinline __u32 wire_next_option(struct tcp_options *o, __u32 at, __u32 n)
{
	const __u8 *b;

	if (!o || at >= n || n > TCP_OPTIONS_MAX_BYTES)
		return OPTION_MALFORMED;
	b = option_at(o, at);
	if (b[0] == OPTION_END)
		return n;
	if (b[0] == OPTION_NOP)
		return at + 1;
	return b[1] < 2 || at + b[1] > n ? OPTION_MALFORMED : at + b[1];
}

/* What a SYN announces; Linux has one default for both families. */
static __always_inline __u32 options_mss(struct tcp_options *o, __u32 n)
{
	__u32 at = 0;

	for (int i = 0; i < TCP_OPTIONS_MAX_BYTES && at < n; i++) {
		const __u8 *b = option_at(o, at);

		if (b[0] == OPTION_MSS && b[1] == OPTION_MSS_BYTES)
			return (__u32)b[2] << 8 | b[3];
		at = wire_next_option(o, at, n);
	}
	return MSS_DEFAULT_BYTES;
}

static __always_inline __u32 get32(const __u8 *b)
{
	return (__u32)b[0] << 24 | (__u32)b[1] << 16 | (__u32)b[2] << 8 | b[3];
}

static __always_inline void add32(__u8 *b, __u32 delta)
{
	__u32 v = get32(b) + delta;

	b[0] = v >> 24;
	b[1] = v >> 16;
	b[2] = v >> 8;
	b[3] = v;
}

/* A TSecr of 0 says that there is nothing to echo. */
static __always_inline void translate_timestamps(__u8 *b, const struct wire_leg *leg)
{
	add32(b + 2, leg->tsval_delta);
	if (get32(b + 6))
		add32(b + 6, leg->tsecr_delta);
}

static __always_inline void translate_sack(struct tcp_options *o, __u32 at, __u32 bytes,
					   const struct wire_leg *leg)
{
	for (__u32 edge = 2; edge < 2 + 8 * OPTION_SACK_BLOCKS_MAX && edge < bytes; edge += 4)
		add32(option_at(o, at + edge), leg->ack_delta);
}

/* Translates timestamps and SACK edges in place. 0, or -1: an option is malformed. */
__noinline int wire_translate_options(struct tcp_options *o, __u32 n, const struct wire_leg *leg)
{
	__u32 at = 0;

	if (!o || !leg)
		return -1;
	for (int i = 0; i < TCP_OPTIONS_MAX_BYTES && at < n; i++) {
		__u32 next = wire_next_option(o, at, n), bytes = next - at;
		__u8 *b = option_at(o, at);

		if (next > n)
			return -1;
		if (b[0] == OPTION_TIMESTAMPS) {
			if (bytes != OPTION_TIMESTAMPS_BYTES)
				return -1;
			translate_timestamps(b, leg);
		} else if (b[0] == OPTION_SACK) {
			if (bytes % 8 != 2)
				return -1;
			translate_sack(o, at, bytes, leg);
		}
		at = next;
	}
	return 0;
}

#endif
