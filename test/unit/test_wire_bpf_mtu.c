/* SPDX-License-Identifier: MIT */
/*
 * Packets of a joined flow that are too large for the way on: they go no further, and their sender
 * gets an ICMP error that says how large they may be, with right checksums. What fits passes, also
 * when GRO has made one of many. (Not with a sum of the whole packet: what is cut off loses it, and
 * a test run would look at it all the same.)
 */
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire_bench.h"

#define NARROW 1300
#define GONE_IFINDEX 4712
#define LO_MTU 65536
#define ICMP_BYTES 8

static void set_lo_mtu(int mtu)
{
	struct ifreq device = { .ifr_name = "lo", .ifr_mtu = mtu };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(ioctl(fd, SIOCSIFMTU, &device), 0);
	close(fd);
}

/* A segment of a side's peer that makes an IP packet of this size. */
static struct segment of_size(struct bench *b, int side, size_t bytes, size_t options)
{
	struct segment s = from_peer(b, side, 0, 0);

	s.n_options = (uint8_t)options;
	memset(s.options, 1, options);
	s.payload = bytes - (b->variant->is_ipv6 ? 40 : 20) - TCP_BYTES - options;
	s.traffic_class = 0xb9;
	s.ttl = 3;
	return s;
}

/* The sum of an ICMP message, 0xffff if it is right; ICMPv6's covers the addresses, too. */
static uint16_t icmp_sum(struct frame *f)
{
	uint32_t sum = fold(sum_bytes(frame_tcp(f), frame_l4_bytes(f)));

	return fold(ip_bytes(f) == 20 ? sum : sum + pseudo_header(f));
}

static void expect_outer(struct frame *f, const struct segment *sent, size_t l4_bytes)
{
	const uint8_t *ip = frame_ip(f);

	assert_int_equal(frame_l4_bytes(f), l4_bytes);
	assert_int_equal(f->n, ETH_BYTES + ip_bytes(f) + l4_bytes);
	if (is_v4(&sent->t)) {
		assert_int_equal(ip[0], 0x45);
		assert_int_equal(ipv4_sum(f), 0xffff);
		assert_int_equal(ip[9], IPPROTO_ICMP);
		assert_true(ip[8] >= 64);
		assert_memory_equal(ip + 12, &sent->t.daddr[3], 4);
		assert_memory_equal(ip + 16, &sent->t.saddr[3], 4);
	} else {
		assert_int_equal(ip[0], 0x60);
		assert_int_equal(ip[6], IPPROTO_ICMPV6);
		assert_true(ip[7] >= 64);
		assert_memory_equal(ip + 8, sent->t.daddr, 16);
		assert_memory_equal(ip + 24, sent->t.saddr, 16);
	}
}

/* Sends a segment, which has to be answered, and looks at the answer. */
static void expect_answer(struct bench *b, const struct segment *sent, uint32_t mtu)
{
	bool v4 = is_v4(&sent->t);
	uint64_t answered = counted(b, WIRE_TOO_BIG_ANSWERED);
	struct wire_direction before[2] = { *from_side(b, 0), *from_side(b, 1) };
	static struct frame was;
	uint8_t *icmp, *tcp;
	size_t ip;

	frame_make(&was, sent);
	assert_int_equal(bench_send(b, sent), TC_REDIRECTED);
	ip = ip_bytes(&b->frame);
	expect_outer(&b->frame, sent, ICMP_BYTES + ip + TCP_BYTES);
	icmp = frame_tcp(&b->frame);
	assert_int_equal(icmp[0], v4 ? 3 : 2);
	assert_int_equal(icmp[1], v4 ? 4 : 0);
	assert_int_equal(read32(icmp + 4), mtu);
	assert_int_equal(icmp_sum(&b->frame), 0xffff);
	/* All as it was sent, but for the checksum. */
	tcp = icmp + ICMP_BYTES + ip;
	assert_memory_equal(icmp + ICMP_BYTES, frame_ip(&was), ip + 16);
	assert_memory_equal(tcp + 18, frame_tcp(&was) + 18, TCP_BYTES - 18);
	/* That is what a device will put there which was told to: the sum of what follows the IP
	 * header that there was, and of what stands in its place. */
	assert_int_equal(read16(tcp + 16), (uint16_t)~fold(sum_bytes(tcp, TCP_BYTES)));
	assert_int_equal(counted(b, WIRE_TOO_BIG_ANSWERED), answered + 1);
	assert_int_equal(counted(b, WIRE_FORWARDED), 0);
	assert_memory_equal(from_side(b, 0), &before[0], sizeof(before[0]));
	assert_memory_equal(from_side(b, 1), &before[1], sizeof(before[1]));
}

static void expect_passed(struct bench *b, const struct segment *s)
{
	uint64_t forwarded = counted(b, WIRE_FORWARDED);

	assert_int_equal(bench_send(b, s), TC_REDIRECTED);
	assert_int_equal(counted(b, WIRE_FORWARDED), forwarded + 1);
	assert_int_equal(counted(b, WIRE_TOO_BIG_ANSWERED), 0);
}

static void what_is_too_large_for_the_route_is_answered(void **state)
{
	static const size_t options[] = { 0, 12, 40 };
	struct segment s;
	struct bench *b;

	SKIP_IF_REASON();
	for (int side = 0; side < 2; side++)
		for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
			b = bench_joined(*state);
			from_side(b, side)->mtu = NARROW;
			s = of_size(b, side, NARROW, options[i]);
			expect_passed(b, &s);
			b = bench_joined(*state);
			from_side(b, side)->mtu = NARROW;
			s = of_size(b, side, NARROW + 1, options[i]);
			expect_answer(b, &s, NARROW);
			s = of_size(b, side, 3000, options[i]);
			expect_answer(b, &s, NARROW);
			b = bench_joined(*state); /* the other way is none of its business */
			from_side(b, side ^ 1)->mtu = NARROW;
			expect_passed(b, &s);
		}
}

static void what_is_too_large_for_the_device_is_answered(void **state)
{
	struct segment s;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	s = of_size(b, 0, NARROW + 1, 12);
	expect_passed(b, &s);
	b = bench_joined(*state);
	set_lo_mtu(NARROW);
	from_side(b, 0)->mtu = NARROW + 1;
	expect_answer(b, &s, NARROW);
	from_side(b, 0)->mtu = NARROW - 1;
	expect_answer(b, &s, NARROW - 1);
	set_lo_mtu(LO_MTU);
}

/* With each number the checksums come out otherwise; also as zero, of which there are two. */
static void the_checksums_are_right_for_any_numbers(void **state)
{
	struct segment s;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	from_side(b, 0)->mtu = NARROW;
	s = of_size(b, 0, NARROW + 1, 12);
	for (uint32_t window = 0; window < 65536; window += 7) {
		s.window = (uint16_t)window;
		s.ack = window * 65537;
		expect_answer(b, &s, NARROW);
	}
}

static int send_gso(struct bench *b, const struct segment *s, uint32_t segment_bytes)
{
	static uint8_t out[FRAME_MAX];
	struct __sk_buff ctx = { .ifindex = LO_IFINDEX,
				 .gso_size = segment_bytes,
				 .gso_segs = (uint32_t)(s->payload / segment_bytes + 1) };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = b->frame.b, .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	frame_make(&b->frame, s);
	o.data_size_in = (uint32_t)b->frame.n;
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(b->bpf->progs.wire_forward), &o),
			 0);
	memcpy(b->frame.b, out, o.data_size_out);
	b->frame.n = o.data_size_out;
	return (int)o.retval;
}

/* What GRO has made of packets goes out as these again. */
static void of_many_packets_each_has_to_fit(void **state)
{
	struct segment s;
	uint32_t fits;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	from_side(b, 0)->mtu = NARROW;
	s = of_size(b, 0, 3000, 12);
	fits = NARROW - (b->variant->is_ipv6 ? 40 : 20) - TCP_BYTES - 12;
	assert_int_equal(send_gso(b, &s, fits), TC_REDIRECTED);
	assert_int_equal(counted(b, WIRE_FORWARDED), 1);
	assert_int_equal(send_gso(b, &s, fits + 1), TC_REDIRECTED);
	assert_int_equal(counted(b, WIRE_FORWARDED), 1);
	assert_int_equal(counted(b, WIRE_TOO_BIG_ANSWERED), 1);
	assert_int_equal(icmp_sum(&b->frame), 0xffff);
}

/* By a device that has gone nothing leaves anyway, and it has no MTU to be told. */
static void without_the_device_there_is_no_answer(void **state)
{
	struct segment s;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	from_side(b, 0)->ifindex = GONE_IFINDEX;
	s = of_size(b, 0, NARROW + 1, 12);
	expect_passed(b, &s);
}

static void a_killed_flow_is_reset_all_the_same(void **state)
{
	struct segment s;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_joined(*state);
	from_side(b, 0)->mtu = NARROW;
	from_side(b, 0)->killed = 1;
	s = of_size(b, 0, NARROW + 1, 12);
	assert_int_equal(bench_send(b, &s), TC_REDIRECTED);
	assert_int_equal(counted(b, WIRE_RST_ANSWERED), 1);
	assert_int_equal(counted(b, WIRE_TOO_BIG_ANSWERED), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_BOTH_FAMILIES(what_is_too_large_for_the_route_is_answered),
		IN_BOTH_FAMILIES(what_is_too_large_for_the_device_is_answered),
		IN_BOTH_FAMILIES(the_checksums_are_right_for_any_numbers),
		IN_BOTH_FAMILIES(of_many_packets_each_has_to_fit),
		IN_BOTH_FAMILIES(without_the_device_there_is_no_answer),
		IN_BOTH_FAMILIES(a_killed_flow_is_reset_all_the_same),
	};

	return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
