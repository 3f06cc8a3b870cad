/* SPDX-License-Identifier: MIT */
/*
 * The wire's TC program on packets of a joined flow: each is translated exactly, with right
 * checksums however the kernel keeps them, and what can't be translated is dropped or left to the
 * stack. Nothing but headers changes.
 */
#include "wire_bench.h"

static void a_packet_becomes_one_of_the_other_leg(void **state)
{
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	for (int side = 0; side < 2; side++) {
		struct segment in = from_peer(b, side, 0, 0), out = to_peer(b, side ^ 1, 0, 0);

		in.payload = out.payload = 333;
		in.flags = out.flags = ACK | PSH | URG | 0xc0; /* with both flags of ECN */
		in.urgent = out.urgent = 99;
		in.traffic_class = out.traffic_class = 0xb9;
		in.ttl = out.ttl = 3;
		out.window = side ? 500 << 2 >> 10 : 500 << 7 >> 7;
		bench_expect(b, &in, &out);
	}
	assert_int_equal(counted(b, WIRE_FORWARDED), 2);
}

/* Through the wrap of each of the four numbers, which is at a different place for each. */
static void sequence_numbers_wrap(void **state)
{
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	for (uint32_t at = 0; at < 2000; at += 100)
		for (int side = 0; side < 2; side++) {
			struct segment in = from_peer(b, side, at, at);
			struct segment out = to_peer(b, side ^ 1, at, at);

			in.payload = out.payload = 100;
			in.window = 1 << 13;
			out.window = side ? 1 << 5 : 1 << 13;
			bench_expect(b, &in, &out);
		}
	assert_int_equal(from_side(b, 0)->bytes, 2000);
	assert_int_equal(from_side(b, 1)->bytes, 2000);
}

/* No ACK, no acknowledgement number: whatever is in the field stays. */
static void a_number_that_is_none_stays(void **state)
{
	struct segment in, out;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	in = from_peer(b, 0, 0, 0);
	out = to_peer(b, 1, 0, 0);
	in.flags = out.flags = RST;
	in.ack = out.ack = 0;
	in.window = out.window = 0;
	bench_expect(b, &in, &out);
}

static void windows_are_scaled_and_capped(void **state)
{
	static const struct {
		uint8_t from, to, flags;
		uint16_t in, out;
	} cases[] = {
		{ 0, 0, ACK, 65535, 65535 },
		{ 7, 7, ACK, 12345, 12345 },
		{ 14, 0, ACK, 65535, 65535 }, /* capped */
		{ 7, 0, ACK, 511, 65408 },
		{ 7, 0, ACK, 512, 65535 },
		{ 0, 7, ACK, 65535, 511 },
		{ 2, 10, ACK, 256, 1 },
		{ 2, 10, ACK, 255, 1 }, /* open, so not closed for the other one */
		{ 0, 14, ACK, 1, 1 },
		{ 0, 14, ACK, 0, 0 },
		{ 7, 0, ACK | SYN, 512, 512 }, /* a SYN's is never scaled */
		{ 0, 14, ACK | SYN, 1000, 1000 },
	};
	struct bench *b;

	SKIP_IF_REASON();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct segment in, out;

		b = bench_joined(*state);
		b->end[0].wscale_peer = cases[i].from;
		b->end[1].wscale_own = cases[i].to;
		forget_all(b->bpf->maps.wire_flows, sizeof(struct wire_tuple));
		bench_enter(b, 1);
		in = from_peer(b, 0, 0, 0);
		out = to_peer(b, 1, 0, 0);
		in.flags = out.flags = cases[i].flags;
		in.window = cases[i].in;
		out.window = cases[i].out;
		bench_expect(b, &in, &out);
	}
}

static void add(struct segment *s, const void *bytes, size_t n)
{
	assert_true(s->n_options + n <= OPTIONS_MAX);
	memcpy(s->options + s->n_options, bytes, n);
	s->n_options = (uint8_t)(s->n_options + n);
}

static void add_timestamps(struct segment *s, uint32_t tsval, uint32_t tsecr)
{
	uint8_t o[10] = { 8, 10 };

	put32(o + 2, tsval);
	put32(o + 6, tsecr);
	add(s, o, sizeof(o));
}

static void add_sack(struct segment *s, unsigned int blocks, uint32_t base)
{
	uint8_t o[34] = { 5, (uint8_t)(2 + 8 * blocks) };

	for (unsigned int i = 0; i < 2 * blocks; i++)
		put32(o + 2 + 4 * i, base + 1000 * (i + 1));
	add(s, o, 2 + 8 * blocks);
}

static void nops(struct segment *s, unsigned int n)
{
	while (n--)
		add(s, "\1", 1);
}

/* The constants are chosen at the join so that a peer's last TSval becomes our clock. */
static void timestamps_are_translated(void **state)
{
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	for (int side = 0; side < 2; side++)
		for (uint32_t ticks = 0; ticks < 600; ticks += 150) {
			const struct endpoint *from = &b->end[side], *to = &b->end[side ^ 1];
			struct segment in = from_peer(b, side, 0, 0);
			struct segment out = to_peer(b, side ^ 1, 0, 0);

			in.window = out.window = 0;
			nops(&in, 2);
			nops(&out, 2);
			add_timestamps(&in, from->ts_recent + ticks, from->clock - ticks);
			add_timestamps(&out, to->clock + ticks, to->ts_recent - ticks);
			bench_expect(b, &in, &out);
		}
}

static void nothing_to_echo_stays_nothing(void **state)
{
	struct segment in, out;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	in = from_peer(b, 0, 0, 0);
	out = to_peer(b, 1, 0, 0);
	in.window = out.window = 0;
	add_timestamps(&in, b->end[0].ts_recent, 0);
	add_timestamps(&out, b->end[1].clock, 0);
	nops(&in, 2);
	nops(&out, 2);
	bench_expect(b, &in, &out);
}

static void sack_edges_are_translated(void **state)
{
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	for (int side = 0; side < 2; side++)
		for (unsigned int blocks = 1; blocks <= 4; blocks++)
			for (int stamped = 0; stamped < (blocks < 4 ? 2 : 1); stamped++) {
				const struct endpoint *from = &b->end[side];
				const struct endpoint *to = &b->end[side ^ 1];
				struct segment in = from_peer(b, side, 0, 0);
				struct segment out = to_peer(b, side ^ 1, 0, 0);

				in.window = out.window = 0;
				if (stamped) {
					add_timestamps(&in, from->ts_recent, from->clock);
					add_timestamps(&out, to->clock, to->ts_recent);
				}
				nops(&in, 2);
				nops(&out, 2);
				add_sack(&in, blocks, from->snd);
				add_sack(&out, blocks, to->rcv);
				nops(&in, -in.n_options & 3u);
				nops(&out, -out.n_options & 3u);
				bench_expect(b, &in, &out);
			}
}

/* At odd places, among options that mean nothing to the wire, and behind the end of the list. */
static void options_are_found_wherever_they_are(void **state)
{
	static const uint8_t unknown[] = { 253, 7, 8, 10, 5, 10, 0 };
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	for (unsigned int before = 0; before < 8; before++) {
		const struct endpoint *from = &b->end[0], *to = &b->end[1];
		struct segment in = from_peer(b, 0, 0, 0), out = to_peer(b, 1, 0, 0);

		in.window = out.window = 0;
		nops(&in, before);
		add(&in, unknown, sizeof(unknown));
		out.n_options = in.n_options;
		memcpy(out.options, in.options, in.n_options);
		add_timestamps(&in, from->ts_recent + 1, from->clock);
		add_timestamps(&out, to->clock + 1, to->ts_recent);
		add_sack(&in, 1, from->snd);
		add_sack(&out, 1, to->rcv);
		add(&in, "\0\10\12", 3); /* the end, and what looks like a timestamp */
		add(&out, "\0\10\12", 3);
		while (in.n_options & 3) {
			add(&in, "\5", 1);
			add(&out, "\5", 1);
		}
		bench_expect(b, &in, &out);
	}
}

static void expect_malformed(struct bench *b)
{
	uint64_t before = counted(b, WIRE_DROPPED_MALFORMED), packets = from_side(b, 0)->packets;

	assert_int_equal(bench_run(b, LO_IFINDEX), TC_DROPPED);
	assert_int_equal(counted(b, WIRE_DROPPED_MALFORMED), before + 1);
	assert_int_equal(from_side(b, 0)->packets, packets);
}

static void malformed_options_are_dropped(void **state)
{
	static const struct {
		uint8_t n, bytes[12];
	} cases[] = {
		{ 4, { 254, 0, 0, 0 } },           /* no length */
		{ 4, { 254, 1, 1, 1 } },           /* shorter than itself */
		{ 4, { 254, 5, 0, 0 } },           /* longer than the header */
		{ 4, { 1, 1, 1, 8 } },             /* its length would be payload */
		{ 8, { 8, 8, 0, 0, 0, 0, 0, 0 } }, /* a timestamp of another size */
		{ 8, { 5, 6, 0, 0, 0, 0, 1, 1 } }, /* half a block */
		{ 12, { 5, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 } },
	};
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct segment in = from_peer(b, 0, 0, 0);

		in.payload = 100;
		add(&in, cases[i].bytes, cases[i].n);
		frame_make(&b->frame, &in);
		expect_malformed(b);
	}
}

static void set_ip_bytes(struct frame *f, size_t l4_bytes)
{
	if (ip_bytes(f) == 20)
		put16(frame_ip(f) + 2, (uint16_t)(20 + l4_bytes));
	else
		put16(frame_ip(f) + 4, (uint16_t)l4_bytes);
	frame_set_checksums(f);
}

static void malformed_lengths_are_dropped(void **state)
{
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	in = from_peer(b, 0, 0, 0);
	in.payload = 40;
	for (unsigned int words = 0; words < 5; words++) { /* a header of less than 20 bytes */
		frame_make(&b->frame, &in);
		frame_tcp(&b->frame)[12] = (uint8_t)(words << 4);
		expect_malformed(b);
	}
	frame_make(&b->frame, &in); /* the IP packet ends within the TCP header */
	set_ip_bytes(&b->frame, 19);
	expect_malformed(b);
	frame_make(&b->frame, &in); /* and before its options */
	frame_tcp(&b->frame)[12] = 6 << 4;
	set_ip_bytes(&b->frame, 23);
	expect_malformed(b);
	frame_make(&b->frame, &in); /* and after the frame */
	put16(frame_ip(&b->frame) + (ip_bytes(&b->frame) == 20 ? 2 : 4), 1000);
	expect_malformed(b);
	frame_make(&b->frame, &in); /* and nowhere */
	put16(frame_ip(&b->frame) + (ip_bytes(&b->frame) == 20 ? 2 : 4), 0);
	expect_malformed(b);
}

/* A short packet is padded to the least Ethernet frame: that is no payload. */
static void padding_is_no_payload(void **state)
{
	struct segment in, out;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	in = from_peer(b, 0, 0, 0);
	frame_make(&b->frame, &in);
	memset(b->frame.b + b->frame.n, 0, 20);
	b->frame.n += 20;
	assert_int_equal(bench_run(b, LO_IFINDEX), TC_REDIRECTED);
	frame_read(&b->frame, &out);
	assert_int_equal(out.payload, 0);
	assert_int_equal(from_side(b, 0)->bytes, 0);
}

/* Frames that are not the wire's business come out as they went in. */
static void expect_untouched(struct bench *b, uint32_t counter)
{
	static struct frame before;

	before = b->frame;
	assert_int_equal(bench_run(b, LO_IFINDEX), TC_PASSED);
	assert_int_equal(b->frame.n, before.n);
	assert_memory_equal(b->frame.b, before.b, before.n);
	if (counter < N_WIRE_COUNTERS)
		assert_int_equal(counted(b, counter), 1);
	assert_int_equal(from_side(b, 0)->packets, 0);
}

/* Makes room for a header between IP's and TCP's. */
static void insert_bytes(struct frame *f, size_t at, const void *bytes, size_t n)
{
	memmove(f->b + at + n, f->b + at, f->n - at);
	memcpy(f->b + at, bytes, n);
	f->n += n;
}

static void fragments_go_to_the_stack(void **state)
{
	static const uint8_t header[8] = { IPPROTO_TCP, 0, 0, 1, 0, 0, 0, 9 };
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	in = from_peer(b, 0, 0, 0);
	in.payload = 64;
	frame_make(&b->frame, &in);
	if (b->variant->is_ipv6) {
		frame_ip(&b->frame)[6] = IPPROTO_FRAGMENT;
		insert_bytes(&b->frame, ETH_BYTES + 40, header, sizeof(header));
		put16(frame_ip(&b->frame) + 4, (uint16_t)(b->frame.n - ETH_BYTES - 40));
	} else {
		frame_ip(&b->frame)[6] = 0x20; /* more are to come */
	}
	expect_untouched(b, WIRE_TO_STACK_FRAGMENT);
	if (b->variant->is_ipv6)
		return;
	frame_ip(&b->frame)[6] = 0; /* and this is the last one */
	frame_ip(&b->frame)[7] = 3;
	assert_int_equal(bench_run(b, LO_IFINDEX), TC_PASSED);
	assert_int_equal(counted(b, WIRE_TO_STACK_FRAGMENT), 2);
}

static void ip_options_go_to_the_stack(void **state)
{
	static const uint8_t v4[4] = { 1, 1, 1, 0 }, v6[8] = { IPPROTO_TCP, 0, 1, 4 };
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	in = from_peer(b, 0, 0, 0);
	frame_make(&b->frame, &in);
	if (b->variant->is_ipv6) {
		frame_ip(&b->frame)[6] = IPPROTO_DSTOPTS;
		insert_bytes(&b->frame, ETH_BYTES + 40, v6, sizeof(v6));
	} else {
		frame_ip(&b->frame)[0] = 0x46;
		insert_bytes(&b->frame, ETH_BYTES + 20, v4, sizeof(v4));
	}
	expect_untouched(b, WIRE_TO_STACK_OPTIONS);
}

static void what_is_not_for_us_goes_to_the_stack(void **state)
{
	static const uint8_t tag[4] = { 0x81, 0x00, 0x00, 0x05 };
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	in = from_peer(b, 0, 0, 0);
	frame_make(&b->frame, &in);
	insert_bytes(&b->frame, 12, tag, sizeof(tag)); /* a VLAN */
	expect_untouched(b, N_WIRE_COUNTERS);
	frame_make(&b->frame, &in);
	b->frame.b[0] = 2; /* another machine's address */
	expect_untouched(b, N_WIRE_COUNTERS);
	in.t.sport++; /* another connection */
	frame_make(&b->frame, &in);
	expect_untouched(b, N_WIRE_COUNTERS);
	b->frame.n = ETH_BYTES + ip_bytes(&b->frame); /* hardly a packet */
	expect_untouched(b, N_WIRE_COUNTERS);
}

static void packets_are_lost_on_demand(void **state)
{
	enum { PACKETS = 2000 };
	struct segment in;
	struct bench *b;
	uint64_t lost;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	in = from_peer(b, 0, 0, 0);
	b->settings->drop_per_million = 500000;
	for (int i = 0; i < PACKETS; i++)
		bench_send(b, &in);
	lost = counted(b, WIRE_DROPPED_FOR_TEST);
	assert_in_range(lost, PACKETS / 2 - 200, PACKETS / 2 + 200);
	assert_int_equal(from_side(b, 0)->packets, PACKETS - lost);
	b->settings->drop_per_million = 1000000;
	assert_int_equal(bench_send(b, &in), TC_DROPPED);
}

/* Anything at all in the place of options, flags and lengths: it is dropped, or it goes on with
 * right checksums and the same payload. */
static void no_packet_breaks_it(void **state)
{
	uint64_t redirected = 0, dropped = 0;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	srand(20250607);
	for (int i = 0; i < 20000; i++) {
		struct segment in = from_peer(b, rand() & 1, (uint32_t)rand(), (uint32_t)rand());
		int verdict;

		in.payload = (size_t)rand() % 100;
		in.flags = (uint8_t)rand() & (uint8_t)~SYN;
		in.n_options = (uint8_t)(rand() % 11 * 4);
		for (int k = 0; k < in.n_options; k++)
			in.options[k] = (uint8_t)(rand() % (rand() & 1 ? 16 : 256));
		frame_make(&b->frame, &in);
		if (rand() % 4 == 0) {
			frame_tcp(&b->frame)[12] = (uint8_t)rand();
			set_ip_bytes(&b->frame, frame_l4_bytes(&b->frame) - (size_t)rand() % 8);
		}
		verdict = bench_run(b, LO_IFINDEX);
		assert_true(verdict == TC_REDIRECTED || verdict == TC_DROPPED);
		if (verdict == TC_DROPPED) {
			dropped++;
			continue;
		}
		redirected++;
		assert_int_equal(tcp_sum(&b->frame), 0xffff);
		if (ip_bytes(&b->frame) == 20)
			assert_int_equal(ipv4_sum(&b->frame), 0xffff);
	}
	assert_true(redirected > 1000 && dropped > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_EVERY_VARIANT(a_packet_becomes_one_of_the_other_leg),
		IN_EVERY_VARIANT(sequence_numbers_wrap),
		IN_EVERY_VARIANT(a_number_that_is_none_stays),
		IN_BOTH_FAMILIES(windows_are_scaled_and_capped),
		IN_EVERY_VARIANT(timestamps_are_translated),
		IN_EVERY_VARIANT(nothing_to_echo_stays_nothing),
		IN_EVERY_VARIANT(sack_edges_are_translated),
		IN_EVERY_VARIANT(options_are_found_wherever_they_are),
		IN_BOTH_FAMILIES(malformed_options_are_dropped),
		IN_BOTH_FAMILIES(malformed_lengths_are_dropped),
		IN_EVERY_VARIANT(padding_is_no_payload),
		IN_BOTH_FAMILIES(fragments_go_to_the_stack),
		IN_BOTH_FAMILIES(ip_options_go_to_the_stack),
		IN_BOTH_FAMILIES(what_is_not_for_us_goes_to_the_stack),
		IN_BOTH_FAMILIES(packets_are_lost_on_demand),
		IN_EVERY_VARIANT(no_packet_breaks_it),
	};

	return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
