/* SPDX-License-Identifier: MIT */
/*
 * What the wire's TC program remembers of a joined flow: bytes counted once, acknowledgements and
 * windows, and its end, which is told once and believed only if the numbers are right. And what
 * becomes of packets after the end.
 */
#include "wire_bench.h"

#define SOME 1000

static void send_payload(struct bench *b, int side, uint32_t at, uint32_t acked, size_t payload)
{
	struct segment s = from_peer(b, side, at, acked);

	s.payload = payload;
	assert_int_equal(bench_send(b, &s), TC_REDIRECTED);
}

static void send_flags(struct bench *b, int side, uint32_t at, uint32_t acked, uint8_t flags)
{
	struct segment s = from_peer(b, side, at, acked);

	s.flags = flags;
	assert_int_equal(bench_send(b, &s), TC_REDIRECTED);
}

static void bytes_count_once(void **state)
{
	const struct wire_direction *d;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	d = from_side(b, 0);
	send_payload(b, 0, 0, 0, 100);
	assert_int_equal(d->bytes, 100);
	assert_true(d->payload_ns);
	assert_int_equal(d->retransmissions, 0);
	send_payload(b, 0, 0, 0, 100); /* again */
	assert_int_equal(d->bytes, 100);
	assert_int_equal(d->retransmissions, 1);
	send_payload(b, 0, 300, 0, 100); /* in another order: what lies between counts as passed */
	assert_int_equal(d->bytes, 400);
	send_payload(b, 0, 100, 0, 200);
	assert_int_equal(d->bytes, 400);
	assert_int_equal(d->retransmissions, 2);
	send_payload(b, 0, 350, 0, 100); /* half of it is new */
	assert_int_equal(d->bytes, 450);
	assert_int_equal(d->retransmissions, 2);
	send_payload(b, 0, 450, 0, 0);
	assert_int_equal(d->packets, 6);
	assert_int_equal(d->bytes, 450);
	assert_int_equal(from_side(b, 1)->packets, 0);
}

/* Bytes are counted in 64 bits, sequence numbers have 32. */
static void bytes_count_on_beyond_4_gigabytes(void **state)
{
	const struct wire_direction *d;
	const uint32_t step = 1u << 29;
	uint64_t sent = 0;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	d = from_side(b, 0);
	while (sent < 5ull << 30) {
		/* The receiver allows for it, a step ahead. */
		from_side(b, 1)->edge = b->end[1].snd + (uint32_t)sent + step;
		sent += step;
		send_payload(b, 0, (uint32_t)sent - 1, 0, 1);
		assert_int_equal(d->bytes, sent);
	}
}

/* With numbers that the receiver would not take, somebody forges packets, or they are old. */
static void numbers_outside_the_window_do_not_count(void **state)
{
	const struct wire_direction *d;
	struct segment s;
	struct bench *b;
	uint32_t allowed;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	d = from_side(b, 0);
	allowed = b->end[1].window;
	send_payload(b, 0, allowed + 65536, 0, 1);
	assert_int_equal(d->bytes, 0);
	send_flags(b, 0, allowed + 65537, 0, ACK | FIN);
	assert_int_equal(d->state, 0);
	send_payload(b, 0, allowed + 65535, 0, 1); /* a probe may be beyond by a segment */
	assert_int_equal(d->bytes, allowed + 65536);

	s = from_peer(b, 1, 0, 0x70000000); /* nobody has sent so much */
	bench_send(b, &s);
	assert_int_equal(from_side(b, 1)->ack, b->end[1].snd);
	s = from_peer(b, 1, 0, (uint32_t)-5);
	bench_send(b, &s);
	assert_int_equal(from_side(b, 1)->ack, b->end[1].snd);
}

static void acknowledgements_and_windows_are_kept(void **state)
{
	const struct wire_direction *d;
	struct segment s;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	d = from_side(b, 0);
	send_payload(b, 1, 59999, 0, 1);
	s = from_peer(b, 0, 0, 60000);
	s.window = 65535;
	bench_send(b, &s);
	assert_int_equal(d->ack, b->end[0].snd + 60000);
	assert_int_equal(d->edge, b->end[0].snd + 60000 + (65535u << 7));
	s.window = 0; /* a window that closes takes nothing back that was offered */
	bench_send(b, &s);
	assert_int_equal(d->edge, b->end[0].snd + 60000 + (65535u << 7));
	s = from_peer(b, 0, 0, 50000); /* an old one */
	s.window = 65535;
	bench_send(b, &s);
	assert_int_equal(d->ack, b->end[0].snd + 60000);
	s = from_peer(b, 0, 0, 60000); /* a SYN's window has no scale */
	s.flags = ACK | SYN;
	s.window = 65535;
	from_side(b, 0)->edge = b->end[0].snd;
	bench_send(b, &s);
	assert_int_equal(d->edge, b->end[0].snd + 60000 + 65535);
}

static void expect_event(struct bench *b, unsigned int number, uint32_t first, uint32_t second)
{
	assert_int_equal(b->events, number);
	assert_int_equal(b->event.flow, 1);
	assert_int_equal(b->event.generation, 7);
	assert_int_equal(b->event.state[0], first);
	assert_int_equal(b->event.state[1], second);
}

static void each_acknowledged_fin_is_told(void **state)
{
	const uint32_t closed = WIRE_FIN | WIRE_FIN_ACKED;
	struct segment fin;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	fin = from_peer(b, 0, 0, 0);
	fin.payload = 10;
	fin.flags = ACK | FIN;
	bench_send(b, &fin);
	assert_int_equal(from_side(b, 0)->state, WIRE_FIN);
	assert_int_equal(from_side(b, 0)->bytes, 10);
	assert_int_equal(from_side(b, 0)->fin_end, b->end[0].rcv + 11);
	send_flags(b, 1, 0, 10, ACK); /* of the payload, not of the FIN */
	assert_int_equal(from_side(b, 0)->state, WIRE_FIN);
	send_payload(b, 1, 0, 11, SOME); /* a half-closed flow goes on */
	expect_event(b, 1, closed, 0);
	bench_send(b, &fin); /* a retransmission */
	assert_int_equal(from_side(b, 0)->fin_end, b->end[0].rcv + 11);
	send_flags(b, 1, SOME, 11, ACK | FIN);
	assert_int_equal(from_side(b, 1)->state, WIRE_FIN);
	assert_int_equal(b->events, 1);
	send_flags(b, 0, 11, SOME + 1, ACK);
	expect_event(b, 2, closed, closed);
	send_flags(b, 0, 11, SOME + 1, ACK); /* late ones go on, and are no end */
	assert_int_equal(b->events, 2);
	assert_int_equal(from_side(b, 0)->bytes, 10);
	assert_int_equal(from_side(b, 1)->bytes, SOME);
}

/* Bytes have passed that come after it, so it was never its sender's. */
static void a_fin_among_what_has_passed_is_none(void **state)
{
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	send_payload(b, 0, 0, 0, SOME);
	send_flags(b, 0, SOME - 1, 0, ACK | FIN);
	assert_int_equal(from_side(b, 0)->state, 0);
	send_flags(b, 0, SOME, 0, ACK | FIN);
	assert_int_equal(from_side(b, 0)->state, WIRE_FIN);
}

static void a_simultaneous_close_is_an_end(void **state)
{
	const uint32_t closed = WIRE_FIN | WIRE_FIN_ACKED;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	send_flags(b, 0, 0, 0, ACK | FIN);
	send_flags(b, 1, 0, 0, ACK | FIN);
	assert_int_equal(b->events, 0);
	send_flags(b, 1, 1, 1, ACK);
	expect_event(b, 1, closed, WIRE_FIN);
	send_flags(b, 0, 1, 1, ACK);
	expect_event(b, 2, closed, closed);
}

static void a_reset_is_an_end_if_its_number_is_right(void **state)
{
	const struct {
		uint32_t at;
		bool after_fin, ends;
	} cases[] = {
		{ 0, false, true },   /* what has been acknowledged */
		{ 100, false, true }, /* what has been sent, and is under way */
		{ 101, true, true },
		{ 100, true, false },           /* the FIN counts */
		{ 50, false, false },           /* its receiver would ask what is right: RFC 5961 */
		{ 1 << 20, false, false },      /* so it would to the last that is allowed */
		{ (uint32_t)-1, false, false }, /* acknowledged already */
		{ 1u << 31, false, false },
	};
	struct bench *b;

	SKIP_IF_REASON();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (int side = 0; side < 2; side++) {
			b = bench_joined(*state);
			send_payload(b, side, 0, 0, 100);
			if (cases[i].after_fin)
				send_flags(b, side, 100, 0, ACK | FIN);
			send_flags(b, side, cases[i].at, 0, RST);
			assert_int_equal(from_side(b, side)->state & WIRE_RST,
					 cases[i].ends ? WIRE_RST : 0);
			if (cases[i].ends)
				expect_event(b, 1, side ? 0 : from_side(b, 0)->state,
					     side ? from_side(b, 1)->state : 0);
			send_flags(b, side ^ 1, 0, 0, RST | ACK);
			assert_int_equal(b->events, 1);
		}
}

static void a_full_ring_is_counted(void **state)
{
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	for (int side = 0; side < 2; side++)
		from_side(b, side)->ring = 3; /* where there is none */
	send_flags(b, 0, 0, 0, RST);
	assert_int_equal(b->events, 0);
	assert_int_equal(counted(b, WIRE_EVENT_LOST), 1);
	assert_int_equal(from_side(b, 0)->state, WIRE_RST);
}

static bool is_joined(const struct bench *b, int side)
{
	struct wire_leg leg;

	return !bpf_map_lookup_elem(map_fd(b->bpf->maps.wire_flows), &b->leg[side], &leg);
}

/* A client may use its port again at once; a backend's SYN-ACK can't be, but is no packet of the
 * old flow either. */
static void a_syn_after_the_end_is_for_the_stack(void **state)
{
	struct segment syn;
	struct bench *b;

	SKIP_IF_REASON();
	for (int with_ack = 0; with_ack < 2; with_ack++) {
		b = bench_joined(*state);
		syn = from_peer(b, 0, 12345, 0);
		syn.flags = SYN | (with_ack ? ACK : 0);
		assert_int_equal(bench_send(b, &syn), TC_REDIRECTED); /* the flow lives */
		assert_true(is_joined(b, 0) && is_joined(b, 1));
		send_flags(b, 1, 0, 0, RST);
		assert_int_equal(bench_send(b, &syn), TC_PASSED);
		assert_false(is_joined(b, 0) || is_joined(b, 1));
		assert_int_equal(counted(b, WIRE_TO_STACK_REUSED), 1);
		assert_int_equal(bench_send(b, &syn), TC_PASSED);
		assert_int_equal(counted(b, WIRE_TO_STACK_REUSED), 1);
	}
}

/* By then the other tuple may be a new flow's. */
static void a_syn_after_the_end_spares_other_flows(void **state)
{
	struct wire_tuple left;
	struct segment syn;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	send_flags(b, 1, 0, 0, RST);
	left = b->leg[0];
	forget_all(b->bpf->maps.wire_flows, sizeof(struct wire_tuple));
	bench_enter(b, 2); /* the backend's leg is flow 2's now */
	assert_int_equal(bpf_map_delete_elem(map_fd(b->bpf->maps.wire_flows), &left), 0);
	{
		struct wire_leg old = { .to = reversed(&b->leg[1]),
					.slot = 2,
					.is_ipv6 = b->variant->is_ipv6 };

		assert_int_equal(
			bpf_map_update_elem(map_fd(b->bpf->maps.wire_flows), &left, &old, 0), 0);
	}
	syn = from_peer(b, 0, 12345, 0);
	syn.flags = SYN;
	assert_int_equal(bench_send(b, &syn), TC_PASSED);
	assert_false(is_joined(b, 0));
	assert_true(is_joined(b, 1));
}

static void expect_reset(struct bench *b, const struct segment *in)
{
	struct segment reset, expected = { .t = reversed(&in->t),
					   .seq = in->ack,
					   .flags = RST,
					   .traffic_class = in->traffic_class,
					   .ttl = 64 };

	assert_int_equal(bench_send(b, in), TC_REDIRECTED);
	assert_int_equal(b->frame.n, ETH_BYTES + ip_bytes(&b->frame) + TCP_BYTES);
	frame_read(&b->frame, &reset);
	assert_same_segment(&reset, &expected);
}

/* What is cut off loses the sum that the kernel has kept, so these are run with nothing to cut in
 * every variant, and cut without. */
static void a_killed_flow_answers_with_resets(void **state)
{
	struct bench *b;

	SKIP_IF_REASON();
	for (int side = 0; side < 2; side++) {
		struct segment in;

		b = bench_joined(*state);
		in = from_peer(b, side, 0, 33);
		from_side(b, side)->killed = 1;
		expect_reset(b, &in);
		in.flags = ACK | FIN;
		in.urgent = 5;
		expect_reset(b, &in);
		assert_int_equal(counted(b, WIRE_RST_ANSWERED), 2);
		in.flags = ACK | RST; /* a reset is not answered, nor what has no number for it */
		assert_int_equal(bench_send(b, &in), TC_DROPPED);
		in.flags = PSH;
		assert_int_equal(bench_send(b, &in), TC_DROPPED);
		assert_int_equal(counted(b, WIRE_RST_ANSWERED), 2);
		in.flags = SYN; /* a new connection */
		assert_int_equal(bench_send(b, &in), TC_PASSED);
		assert_int_equal(counted(b, WIRE_FORWARDED), 0);
	}
}

static void an_answer_has_neither_payload_nor_options(void **state)
{
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	from_side(b, 1)->killed = 1;
	in = from_peer(b, 1, 0, 33);
	for (in.n_options = 0; in.n_options <= OPTIONS_MAX; in.n_options += 4) {
		memset(in.options, 1, in.n_options);
		for (in.payload = 0; in.payload < 200; in.payload += 33)
			expect_reset(b, &in);
	}
}

/* That is how userspace resets the two ends of a flow that it kills. */
static void a_killed_flow_forwards_resets_of_userspace(void **state)
{
	struct segment in, out;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	b->settings->park_ifindex = LO_IFINDEX;
	from_side(b, 0)->killed = 1;
	in = from_peer(b, 0, 0, 0);
	in.flags = RST;
	in.ack = 0;
	assert_int_equal(bench_send(b, &in), TC_REDIRECTED);
	frame_read(&b->frame, &out);
	assert_int_equal(out.flags, RST);
	assert_int_equal(out.seq, b->end[1].snd);
	assert_memory_equal(out.t.daddr, b->leg[1].saddr, 16);
	expect_event(b, 1, WIRE_RST, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_BOTH_FAMILIES(bytes_count_once),
		IN_BOTH_FAMILIES(bytes_count_on_beyond_4_gigabytes),
		IN_BOTH_FAMILIES(numbers_outside_the_window_do_not_count),
		IN_BOTH_FAMILIES(acknowledgements_and_windows_are_kept),
		IN_BOTH_FAMILIES(each_acknowledged_fin_is_told),
		IN_BOTH_FAMILIES(a_fin_among_what_has_passed_is_none),
		IN_BOTH_FAMILIES(a_simultaneous_close_is_an_end),
		IN_BOTH_FAMILIES(a_reset_is_an_end_if_its_number_is_right),
		IN_BOTH_FAMILIES(a_full_ring_is_counted),
		IN_BOTH_FAMILIES(a_syn_after_the_end_is_for_the_stack),
		IN_BOTH_FAMILIES(a_syn_after_the_end_spares_other_flows),
		IN_EVERY_VARIANT(a_killed_flow_answers_with_resets),
		IN_BOTH_FAMILIES(an_answer_has_neither_payload_nor_options),
		IN_BOTH_FAMILIES(a_killed_flow_forwards_resets_of_userspace),
	};

	return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
