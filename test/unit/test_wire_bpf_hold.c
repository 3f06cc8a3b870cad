/* SPDX-License-Identifier: MIT */
/*
 * The wire's TC program on packets of legs that are not joined yet: which legs are held, that their
 * payload goes to the parking device and nothing but its acknowledgement to the stack, and the ways
 * out: a device that does not take it, a reset, time.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "wire_bench.h"
#include "wire_tap.h"

#define LONG_AGO_NS (40ull * 1000000000)

static struct tap park;

static int setup(void **state)
{
	if (bench_setup(state) || skip_reason[0])
		return 0;
	park = tap_open("park", TAP_OFFLOADS);
	return system("ip addr add 10.1.0.1/32 dev lo && ip addr add fd00:1::1/128 dev lo nodad && "
		      "ip route add 10.9.9.0/24 dev park && ip route add fd00:9::/64 dev park");
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The legs of bench_joined(), not joined, and the parking device there. */
static struct bench *bench_apart(const struct variant *v)
{
	struct frame left;
	struct virtio_net_hdr h;
	struct bench *b = bench_joined(v);

	forget_all(b->bpf->maps.wire_flows, sizeof(struct wire_tuple));
	b->settings->park_ifindex = park.ifindex;
	while (tap_read(&park, &h, &left, 0))
		;
	return b;
}

static bool is_held(struct bench *b, const struct wire_tuple *t, struct wire_hold *h)
{
	return !bpf_map_lookup_elem(map_fd(b->bpf->maps.wire_holds), t, h);
}

static void hold(struct bench *b, const struct wire_tuple *t, uint64_t since_ns, uint32_t ifindex)
{
	struct wire_hold h = { .since_ns = since_ns, .ifindex = ifindex };

	assert_int_equal(bpf_map_update_elem(map_fd(b->bpf->maps.wire_holds), t, &h, 0), 0);
}

static void listen_at(struct bench *b, const uint32_t address[4], uint16_t port)
{
	struct wire_listener l = { .port = port };
	uint32_t unused = 0;

	memcpy(l.addr, address, sizeof(l.addr));
	assert_int_equal(bpf_map_update_elem(map_fd(b->bpf->maps.wire_listeners), &l, &unused, 0),
			 0);
}

static void listen_at_any(struct bench *b, uint16_t port)
{
	uint32_t any[4] = { 0, 0, b->variant->is_ipv6 ? 0 : htonl(0xffff), 0 };

	listen_at(b, any, port);
}

static struct segment syn(const struct bench *b, uint16_t mss)
{
	struct segment s = { .t = b->leg[0], .seq = 1, .flags = SYN, .window = 64240 };

	if (mss) {
		/* As if nobody had it in front. */
		memcpy(s.options, (uint8_t[]){ 1, 3, 3, 7, 4, 2, 2, 4 }, 8);
		put16(s.options + 8, mss);
		s.n_options = 10;
	}
	return s;
}

static void a_syn_to_a_listener_is_held(void **state)
{
	uint64_t before = now_ns();
	struct wire_hold h;
	struct segment s;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	s = syn(b, 1234);
	assert_int_equal(bench_send(b, &s), TC_PASSED);
	assert_false(is_held(b, &s.t, &h));
	listen_at(b, s.t.daddr, s.t.dport);
	assert_int_equal(bench_send(b, &s), TC_PASSED);
	assert_true(is_held(b, &s.t, &h));
	assert_int_equal(h.mss, 1234);
	assert_int_equal(h.ifindex, LO_IFINDEX);
	/* The program's clock ticks coarsely, and late on a busy host. */
	assert_in_range(h.since_ns, before - 1000000000, now_ns());
	s = syn(b, 0);
	bench_send(b, &s);
	assert_true(is_held(b, &s.t, &h));
	assert_int_equal(h.mss, 536);
}

static void a_listener_may_have_any_address(void **state)
{
	struct wire_hold h;
	struct segment s;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	s = syn(b, 0);
	listen_at_any(b, htons(81));
	bench_send(b, &s);
	assert_false(is_held(b, &s.t, &h));
	s.t.dport = htons(81);
	bench_send(b, &s);
	assert_true(is_held(b, &s.t, &h));
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* This host may be a router, too: somebody else's connections to the same port are not ours. */
static void what_is_routed_is_not_held(void **state)
{
	struct segment ours, others;
	struct wire_hold h;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	listen_at_any(b, htons(80));
	write_to("/proc/sys/net/ipv4/ip_forward", "1");
	write_to("/proc/sys/net/ipv6/conf/all/forwarding", "1");
	ours = others = syn(b, 0);
	others.t = b->variant->is_ipv6 ? tuple("fd00:1::2", 1, "fd00:9::9", 80)
				       : tuple("::ffff:10.1.0.2", 1, "::ffff:10.9.9.9", 80);
	bench_send(b, &others);
	bench_send(b, &ours);
	write_to("/proc/sys/net/ipv4/ip_forward", "0");
	write_to("/proc/sys/net/ipv6/conf/all/forwarding", "0");
	assert_false(is_held(b, &others.t, &h));
	assert_true(is_held(b, &ours.t, &h));
}

/* A socket that connects, and the SYN-ACK that it waits for. */
static int connecting(const struct bench *b, struct segment *syn_ack)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(8080) }, from;
	socklen_t size = sizeof(from);
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);

	inet_pton(AF_INET6, b->variant->is_ipv6 ? "fd00:9::2" : "::ffff:10.9.9.2", &to.sin6_addr);
	assert_true(connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == EINPROGRESS);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&from, &size), 0);
	*syn_ack = (struct segment){ .flags = SYN | ACK, .window = 1000 };
	memcpy(syn_ack->t.saddr, &to.sin6_addr, 16);
	memcpy(syn_ack->t.daddr, &from.sin6_addr, 16);
	syn_ack->t.sport = to.sin6_port;
	syn_ack->t.dport = from.sin6_port;
	memcpy(syn_ack->options, (uint8_t[]){ 2, 4, 5, 100 }, 4);
	syn_ack->n_options = 4;
	return fd;
}

static void a_syn_ack_to_a_socket_that_expects_it_is_held(void **state)
{
	struct segment s;
	struct wire_hold h;
	struct bench *b;
	uint32_t yes = 1;
	int fd;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	fd = connecting(b, &s);
	assert_int_equal(bench_send(b, &s), TC_PASSED);
	assert_false(is_held(b, &s.t, &h)); /* another program's connection */
	assert_int_equal(
		bpf_map_update_elem(map_fd(b->bpf->maps.wire_expected), &fd, &yes, BPF_NOEXIST), 0);
	assert_int_equal(bench_send(b, &s), TC_PASSED);
	assert_true(is_held(b, &s.t, &h));
	assert_int_equal(h.mss, 5 << 8 | 100);
	assert_int_equal(h.ifindex, LO_IFINDEX);
	close(fd);
}

/* The frame in the parking device is the one that came, but for the device in its source address. */
static void expect_parked(struct bench *b, const struct segment *in)
{
	struct virtio_net_hdr h;
	struct frame parked, sent;

	frame_make(&sent, in);
	assert_true(tap_read(&park, &h, &parked, TAP_WAIT_MS));
	assert_int_equal(parked.n, sent.n);
	assert_memory_equal(parked.b + 6, ((uint8_t[]){ 0x02, 0x53, 0, 0, 0, LO_IFINDEX }), 6);
	memcpy(parked.b + 6, sent.b + 6, 6);
	assert_memory_equal(parked.b, sent.b, sent.n);
	/* In the stack's frame it is as it was. */
	assert_memory_equal(b->frame.b, sent.b, ETH_BYTES);
}

static void payload_of_a_held_leg_is_parked(void **state)
{
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	for (size_t payload = 1; payload < 1400; payload += 199) {
		struct segment in = from_peer(b, 0, 10, 20), out, expected;

		hold(b, &in.t, now_ns(), LO_IFINDEX);
		in.payload = payload;
		in.flags = ACK | PSH | URG | (payload & 2 ? FIN : 0) | 0x40;
		in.urgent = 3;
		in.n_options = payload % 11 / 4 * 4;
		memset(in.options, 1, in.n_options);
		expected = in;
		expected.payload = 0;
		expected.flags = ACK | 0x40;
		expected.urgent = 0;
		expected.ttl = 64;
		assert_int_equal(bench_send(b, &in), TC_PASSED);
		frame_read(&b->frame, &out);
		assert_same_segment(&out, &expected);
		assert_int_equal(b->frame.n,
				 ETH_BYTES + ip_bytes(&b->frame) + TCP_BYTES + in.n_options);
		expect_parked(b, &in);
	}
	assert_int_equal(counted(b, WIRE_PARKED), 8);
}

static void a_fin_of_a_held_leg_is_parked(void **state)
{
	struct segment in, out, expected;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	in = expected = from_peer(b, 0, 10, 20);
	in.flags = ACK | FIN;
	expected.ttl = 64;
	hold(b, &in.t, now_ns(), LO_IFINDEX);
	assert_int_equal(bench_send(b, &in), TC_PASSED);
	frame_read(&b->frame, &out);
	assert_same_segment(&out, &expected);
	expect_parked(b, &in);
}

static void expect_whole_to_the_stack(struct bench *b, const struct segment *in)
{
	struct virtio_net_hdr h;
	struct frame parked;
	struct segment out;

	assert_int_equal(bench_send(b, in), TC_PASSED);
	frame_read(&b->frame, &out);
	assert_int_equal(out.payload, in->payload);
	assert_int_equal(out.flags, in->flags);
	assert_false(tap_read(&park, &h, &parked, 0));
	assert_int_equal(counted(b, WIRE_PARKED), 0);
}

/* And userspace learns by what device the leg comes in. */
static void acknowledgements_reach_the_stack(void **state)
{
	struct wire_hold h;
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	in = from_peer(b, 0, 10, 20);
	hold(b, &in.t, now_ns(), 0);
	expect_whole_to_the_stack(b, &in);
	assert_true(is_held(b, &in.t, &h));
	assert_int_equal(h.ifindex, LO_IFINDEX);
}

static void an_old_hold_is_none(void **state)
{
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	in = from_peer(b, 0, 10, 20);
	in.payload = 10;
	hold(b, &in.t, now_ns() - LONG_AGO_NS, LO_IFINDEX);
	expect_whole_to_the_stack(b, &in);
	b->settings->hold_max_ns = 2 * LONG_AGO_NS;
	bench_send(b, &in);
	expect_parked(b, &in);
	assert_int_equal(counted(b, WIRE_PARKED), 1);
}

static void a_reset_ends_the_hold(void **state)
{
	struct wire_hold h;
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	in = from_peer(b, 0, 10, 20);
	in.flags = RST;
	hold(b, &in.t, now_ns(), LO_IFINDEX);
	expect_whole_to_the_stack(b, &in);
	assert_false(is_held(b, &in.t, &h));
}

/* No device, one that is gone, one that is down: the socket gets the payload, and all that follows.
 */
static void what_can_not_be_parked_goes_to_the_stack(void **state)
{
	struct wire_hold h;
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	in = from_peer(b, 0, 10, 20);
	in.payload = 100;
	for (uint64_t i = 0; i < 3; i++) {
		hold(b, &in.t, now_ns(), LO_IFINDEX);
		b->settings->park_ifindex = i == 0 ? 0 : i == 1 ? PARK_IFINDEX : park.ifindex;
		if (i == 2)
			assert_int_equal(system("ip link set park down"), 0);
		expect_whole_to_the_stack(b, &in);
		assert_int_equal(counted(b, WIRE_PARK_FAILED), i + 1);
		assert_false(is_held(b, &in.t, &h));
	}
	assert_int_equal(system("ip link set park up && ip route add 10.9.9.0/24 dev park"), 0);
	assert_int_equal(system("ip route replace fd00:9::/64 dev park"), 0);
}

static void parked_frames_come_back(void **state)
{
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_apart(*state);
	in = from_peer(b, 0, 10, 20);
	in.payload = 100;
	frame_make(&b->frame, &in);
	assert_int_equal(bench_run(b, park.ifindex), TC_DROPPED); /* nobody has parked that */
	memcpy(b->frame.b + 6, (uint8_t[]){ 0x02, 0x53, 0, 0, 0, LO_IFINDEX }, 6);
	assert_int_equal(bench_run(b, park.ifindex), TC_REDIRECTED); /* to the stack */
	assert_int_equal(counted(b, WIRE_UNPARKED_TO_STACK), 1);
	bench_enter(b, 1);
	assert_int_equal(bench_run(b, park.ifindex), TC_REDIRECTED); /* to the other leg */
	assert_int_equal(counted(b, WIRE_FORWARDED), 1);
	assert_int_equal(from_side(b, 0)->bytes, 110);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_BOTH_FAMILIES(a_syn_to_a_listener_is_held),
		IN_BOTH_FAMILIES(a_listener_may_have_any_address),
		IN_BOTH_FAMILIES(what_is_routed_is_not_held),
		IN_BOTH_FAMILIES(a_syn_ack_to_a_socket_that_expects_it_is_held),
		IN_BOTH_FAMILIES(payload_of_a_held_leg_is_parked),
		IN_EVERY_VARIANT(a_fin_of_a_held_leg_is_parked),
		IN_BOTH_FAMILIES(acknowledgements_reach_the_stack),
		IN_BOTH_FAMILIES(an_old_hold_is_none),
		IN_BOTH_FAMILIES(a_reset_ends_the_hold),
		IN_BOTH_FAMILIES(what_can_not_be_parked_goes_to_the_stack),
		IN_BOTH_FAMILIES(parked_frames_come_back),
	};

	return cmocka_run_group_tests(tests, setup, bench_teardown);
}
