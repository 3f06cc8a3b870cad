/* SPDX-License-Identifier: MIT */
/*
 * ICMP errors and the wire: one about a packet that it has sent on is sent on to who had sent that,
 * and quotes what he had sent. All others are the stack's.
 */
#include "wire_bench.h"

#define QUOTED_BYTES 60
#define MTU 1280

/* The sum of an ICMP message, 0xffff if it is right; ICMPv6's covers the addresses, too. */
static uint16_t icmp_sum(struct frame *f)
{
	uint32_t sum = fold(sum_bytes(frame_tcp(f), frame_l4_bytes(f)));

	return fold(ip_bytes(f) == 20 ? sum : sum + pseudo_header(f));
}

static void set_icmp_checksums(struct frame *f)
{
	put16(frame_tcp(f) + 2, 0);
	put16(frame_tcp(f) + 2, (uint16_t)~icmp_sum(f));
	if (ip_bytes(f) == 20) {
		put16(frame_ip(f) + 10, 0);
		put16(frame_ip(f) + 10, (uint16_t)~ipv4_sum(f));
	}
}

/* An error of a router's to the sender of a segment, which it quotes up to `quoted` bytes. */
static void make_error(struct bench *b, uint8_t type, const struct segment *about, size_t quoted)
{
	static struct frame of;
	bool v4 = is_v4(&about->t);
	struct segment outer = { .t = v4 ? tuple("::ffff:10.99.0.1", 0, "::", 0)
					 : tuple("fd00:99::1", 0, "::", 0) };
	uint8_t *icmp;

	frame_make(&of, about);
	memcpy(outer.t.daddr, about->t.saddr, sizeof(outer.t.daddr));
	memset(b->frame.b, 0, 200);
	frame_put_ip(&b->frame, &outer, 8 + quoted);
	frame_ip(&b->frame)[v4 ? 9 : 6] = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	icmp = frame_tcp(&b->frame);
	icmp[0] = type;
	icmp[1] = 4;
	put32(icmp + 4, MTU);
	memcpy(icmp + 8, frame_ip(&of), quoted);
	b->frame.n = (size_t)(icmp - b->frame.b) + 8 + quoted;
	set_icmp_checksums(&b->frame);
}

static void errors_go_to_the_real_sender(void **state)
{
	static const uint8_t v4[] = { 3, 11, 12 }, v6[] = { 1, 2, 3, 4 };
	static struct frame expected;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < (b->variant->is_ipv6 ? sizeof(v6) : sizeof(v4)); i++) {
			uint8_t type = b->variant->is_ipv6 ? v6[i] : v4[i];
			struct segment sent = to_peer(b, side, 700, 0);
			struct segment real = from_peer(b, side ^ 1, 700, 0);

			sent.payload = real.payload = 100;
			sent.window = real.window;
			/* All but addresses, ports and number are the same: the quoted TCP
			 * checksum, too, which nobody looks at. */
			make_error(b, type, &real, QUOTED_BYTES);
			expected = b->frame;
			make_error(b, type, &sent, QUOTED_BYTES);
			memcpy(frame_tcp(&expected) + 8 + ip_bytes(&expected) + 8,
			       frame_tcp(&b->frame) + 8 + ip_bytes(&expected) + 8,
			       QUOTED_BYTES - ip_bytes(&expected) - 8);
			set_icmp_checksums(&expected);
			assert_int_equal(bench_run(b, LO_IFINDEX), TC_REDIRECTED);
			assert_int_equal(b->frame.n, expected.n);
			assert_memory_equal(b->frame.b, expected.b, expected.n);
			assert_int_equal(icmp_sum(&b->frame), 0xffff);
		}
	assert_int_equal(counted(b, WIRE_ICMP_FORWARDED), 2 * (b->variant->is_ipv6 ? 4 : 3));
}

/* A router need not quote more than the ports and the number. */
static void the_least_quote_is_enough(void **state)
{
	struct segment sent;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	sent = to_peer(b, 1, 5, 0);
	make_error(b, b->variant->is_ipv6 ? 2 : 3, &sent, (b->variant->is_ipv6 ? 40 : 20) + 8);
	assert_int_equal(bench_run(b, LO_IFINDEX), TC_REDIRECTED);
	assert_int_equal(icmp_sum(&b->frame), 0xffff);
	make_error(b, b->variant->is_ipv6 ? 2 : 3, &sent, (b->variant->is_ipv6 ? 40 : 20) + 7);
	assert_int_equal(bench_run(b, LO_IFINDEX), TC_PASSED);
}

static void expect_passed(struct bench *b)
{
	static struct frame before;

	before = b->frame;
	assert_int_equal(bench_run(b, LO_IFINDEX), TC_PASSED);
	assert_memory_equal(b->frame.b, before.b, before.n);
	assert_int_equal(counted(b, WIRE_ICMP_FORWARDED), 0);
}

static void other_messages_go_to_the_stack(void **state)
{
	struct segment sent, other;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	sent = to_peer(b, 0, 5, 0);
	make_error(b, b->variant->is_ipv6 ? 128 : 8, &sent, QUOTED_BYTES); /* an echo request */
	expect_passed(b);
	other = sent; /* about a connection that is not joined */
	other.t.dport++;
	make_error(b, b->variant->is_ipv6 ? 1 : 3, &other, QUOTED_BYTES);
	expect_passed(b);
	make_error(b, b->variant->is_ipv6 ? 1 : 3, &sent, QUOTED_BYTES); /* not about TCP */
	frame_tcp(&b->frame)[8 + (b->variant->is_ipv6 ? 6 : 9)] = IPPROTO_UDP;
	expect_passed(b);
	/* About what a peer sends, not what it gets: that is no packet of this host's. */
	sent = from_peer(b, 0, 5, 0);
	make_error(b, b->variant->is_ipv6 ? 1 : 3, &sent, QUOTED_BYTES);
	expect_passed(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_EVERY_VARIANT(errors_go_to_the_real_sender),
		IN_EVERY_VARIANT(the_least_quote_is_enough),
		IN_BOTH_FAMILIES(other_messages_go_to_the_stack),
	};

	return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
