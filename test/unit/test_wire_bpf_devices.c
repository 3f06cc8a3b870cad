/* SPDX-License-Identifier: MIT */
/*
 * The wire's TC program at real devices: what comes in at one leaves by the other. Here packets
 * have what a test run can't give them: a checksum that the device is to complete, and many
 * segments in one (GSO), as they come from a local process or from GRO.
 */
#include "wire_bench.h"
#include "wire_tap.h"

#define GSO_BYTES 60000
#define SEGMENT_BYTES 1000

/* Where the legs' peers are, and the parking device; `plain` leaves the kernel to complete
 * checksums and to cut. */
static struct tap client, backend, plain, park;

static void attach(struct bench *b, const struct tap *t)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)t->ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = bpf_program__fd(b->bpf->progs.wire_forward));

	assert_int_equal(bpf_tc_hook_create(&hook), 0);
	assert_int_equal(bpf_tc_attach(&hook, &filter), 0);
}

static int setup(void **state)
{
	if (bench_setup(state) || skip_reason[0])
		return 0;
	client = tap_open("client", TAP_OFFLOADS);
	backend = tap_open("backend", TAP_OFFLOADS);
	plain = tap_open("plain", 0);
	park = tap_open("park", TAP_OFFLOADS);
	attach(&bench, &client);
	attach(&bench, &backend);
	attach(&bench, &park);
	return system(
		"ip addr add 10.1.0.1/24 dev client && ip addr add 10.2.0.1/24 dev backend && "
		"ip addr add fd00:1::1/64 dev client nodad && "
		"ip addr add fd00:2::1/64 dev backend nodad && "
		"ip addr add 10.2.0.3/24 dev plain && "
		"ip addr add fd00:2::3/64 dev plain nodad");
}

static struct bench *bench_apart(const struct variant *v)
{
	const struct tap *taps[] = { &client, &backend, &plain, &park };
	struct bench *b = bench_joined(v);
	struct virtio_net_hdr h;
	struct frame left;

	forget_all(b->bpf->maps.wire_flows, sizeof(struct wire_tuple));
	b->settings->park_ifindex = park.ifindex;
	for (size_t i = 0; i < 4; i++)
		while (tap_read(taps[i], &h, &left, 0))
			;
	return b;
}

/* The backend is at `at`. */
static struct bench *bench_between(const struct variant *v, const struct tap *at)
{
	struct bench *b = bench_apart(v);

	bench_enter(b, 1);
	from_side(b, 0)->ifindex = at->ifindex;
	from_side(b, 1)->ifindex = client.ifindex;
	return b;
}

/* As a process would send it: to the device's address, its checksum begun. With more payload than
 * SEGMENT_BYTES it is a GSO packet. */
static void send_partial(const struct tap *t, const struct segment *s)
{
	static struct frame f;
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };

	frame_make(&f, s);
	memcpy(f.b, t->mac, sizeof(t->mac));
	put16(frame_tcp(&f) + 16, fold(pseudo_header(&f)));
	h.csum_start = (uint16_t)(frame_tcp(&f) - f.b);
	h.csum_offset = 16;
	if (s->payload > SEGMENT_BYTES) {
		h.gso_type = is_v4(&s->t) ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
		h.gso_size = SEGMENT_BYTES;
		h.hdr_len = (uint16_t)(h.csum_start + TCP_BYTES + s->n_options);
	}
	tap_write(t, &h, &f);
}

/* Takes a frame apart; a checksum that is only begun must have been begun right. */
static struct virtio_net_hdr receive(const struct tap *t, struct frame *f, struct segment *s)
{
	struct virtio_net_hdr h;

	assert_true(tap_read(t, &h, f, TAP_WAIT_MS));
	if (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		assert_int_equal(h.csum_start, frame_tcp(f) - f->b);
		assert_int_equal(h.csum_offset, 16);
		assert_int_equal(read16(frame_tcp(f) + 16), fold(pseudo_header(f)));
		put16(frame_tcp(f) + 16, 0);
		put16(frame_tcp(f) + 16, (uint16_t)~tcp_sum(f));
	}
	frame_read(f, s);
	return h;
}

static void a_checksum_that_was_begun_is_completed(void **state)
{
	struct segment in, out, expected;
	static struct frame f;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_between(*state, &plain);
	for (size_t payload = 0; payload <= SEGMENT_BYTES; payload += 125) {
		in = from_peer(b, 0, 0, 0);
		expected = to_peer(b, 1, 0, 0);
		expected.window = in.window;
		in.payload = expected.payload = payload;
		send_partial(&client, &in);
		assert_int_equal(receive(&plain, &f, &out).flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, 0);
		assert_same_segment(&out, &expected);
	}
}

static void a_gso_packet_stays_whole(void **state)
{
	struct segment in, out, expected;
	struct virtio_net_hdr h;
	static struct frame f;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_between(*state, &backend);
	in = from_peer(b, 0, 0, 0);
	expected = to_peer(b, 1, 0, 0);
	expected.window = in.window;
	in.payload = expected.payload = GSO_BYTES;
	send_partial(&client, &in);
	h = receive(&backend, &f, &out);
	assert_same_segment(&out, &expected);
	assert_int_equal(h.gso_size, SEGMENT_BYTES);
	assert_int_equal(h.gso_type,
			 b->variant->is_ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(from_side(b, 0)->bytes, GSO_BYTES);
	assert_int_equal(from_side(b, 0)->packets, 1);
}

static void a_gso_packet_is_cut_right(void **state)
{
	struct virtio_net_hdr h;
	static struct frame f;
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_between(*state, &plain);
	in = from_peer(b, 0, 0, 0);
	in.payload = GSO_BYTES;
	send_partial(&client, &in);
	for (uint32_t at = 0; at < GSO_BYTES; at += SEGMENT_BYTES) {
		assert_true(tap_read(&plain, &h, &f, TAP_WAIT_MS));
		assert_int_equal(tcp_sum(&f), 0xffff);
		assert_int_equal(frame_l4_bytes(&f), TCP_BYTES + SEGMENT_BYTES);
		assert_int_equal(read32(frame_tcp(&f) + 4), b->end[1].snd + at);
		for (size_t i = 0; i < SEGMENT_BYTES; i++)
			assert_int_equal(frame_tcp(&f)[TCP_BYTES + i], pattern(at + i));
	}
}

/* BIG TCP: a packet of more than 64 KiB, whose length field is 0. A TAP takes none so large. */
static void a_gso_packet_needs_no_length(void **state)
{
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				    .gso_size = SEGMENT_BYTES,
				    .csum_offset = 16 };
	static struct frame f;
	struct segment in;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_between(*state, &backend);
	in = from_peer(b, 0, 0, 0);
	in.payload = GSO_BYTES;
	frame_make(&f, &in);
	memcpy(f.b, client.mac, sizeof(client.mac));
	h.csum_start = (uint16_t)(frame_tcp(&f) - f.b);
	h.hdr_len = h.csum_start + TCP_BYTES;
	h.gso_type = b->variant->is_ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	put16(frame_ip(&f) + (b->variant->is_ipv6 ? 4 : 2), 0);
	tap_write(&client, &h, &f);
	assert_true(tap_read(&backend, &h, &f, TAP_WAIT_MS));
	assert_int_equal(f.n, h.csum_start + TCP_BYTES + GSO_BYTES);
	assert_int_equal(read32(frame_tcp(&f) + 4), b->end[1].snd);
	assert_int_equal(from_side(b, 0)->bytes, GSO_BYTES);
}

/* Its tag has been taken off when the program sees it: another network, with the same addresses. */
static void what_comes_by_a_vlan_is_not_for_the_wire(void **state)
{
	static const uint8_t tag[4] = { 0x81, 0x00, 0x00, 0x05 };
	struct virtio_net_hdr h = { 0 };
	static struct frame f;
	struct segment in, out;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_between(*state, &backend);
	in = from_peer(b, 0, 0, 0);
	in.payload = 1;
	frame_make(&f, &in);
	memcpy(f.b, client.mac, sizeof(client.mac));
	memmove(f.b + 16, f.b + 12, f.n - 12);
	memcpy(f.b + 12, tag, sizeof(tag));
	f.n += sizeof(tag);
	tap_write(&client, &h, &f);
	in.payload = 2;
	send_partial(&client, &in);
	receive(&backend, &f, &out);
	assert_int_equal(out.payload, 2);
	assert_int_equal(from_side(b, 0)->packets, 1);
}

static void a_killed_flow_is_answered_where_it_asks(void **state)
{
	struct segment in, out, expected = { .flags = RST, .ttl = 64 };
	static struct frame f;
	struct bench *b;

	SKIP_IF_REASON();
	b = bench_between(*state, &backend);
	in = from_peer(b, 0, 0, 33);
	expected.t = reversed(&in.t);
	expected.seq = in.ack;
	from_side(b, 0)->killed = 1;
	for (in.payload = 0; in.payload <= GSO_BYTES; in.payload += GSO_BYTES / 2) {
		send_partial(&client, &in);
		assert_int_equal(receive(&client, &f, &out).gso_type, VIRTIO_NET_HDR_GSO_NONE);
		assert_same_segment(&out, &expected);
	}
}

static struct wire_hold held_since_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (struct wire_hold){
		.since_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec,
	};
}

/* Sends on a held leg, and takes the frame from the parking device. */
static void park_frame(struct bench *b, size_t payload, struct virtio_net_hdr *h, struct frame *f)
{
	struct wire_hold hold = held_since_now();
	struct segment in = from_peer(b, 0, 0, 0);

	in.payload = payload;
	assert_int_equal(
		bpf_map_update_elem(map_fd(b->bpf->maps.wire_holds), &in.t, &hold, BPF_ANY), 0);
	send_partial(&client, &in);
	assert_true(tap_read(&park, h, f, TAP_WAIT_MS));
	assert_int_equal(f->n, ETH_BYTES + ip_bytes(f) + TCP_BYTES + payload);
	assert_int_equal(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(h->gso_size, payload > SEGMENT_BYTES ? SEGMENT_BYTES : 0);
	assert_int_equal(bpf_map_delete_elem(map_fd(b->bpf->maps.wire_holds), &in.t), 0);
}

static void a_parked_frame_goes_on_when_it_is_joined(void **state)
{
	static const size_t payloads[] = { 1, SEGMENT_BYTES, GSO_BYTES };
	struct virtio_net_hdr h;
	struct segment out;
	static struct frame f;
	struct bench *b;

	SKIP_IF_REASON();
	for (size_t i = 0; i < 3; i++) {
		b = bench_apart(*state);
		park_frame(b, payloads[i], &h, &f);
		bench_enter(b, 1);
		from_side(b, 0)->ifindex = backend.ifindex;
		tap_write(&park, &h, &f);
		h = receive(&backend, &f, &out);
		assert_int_equal(out.payload, payloads[i]);
		assert_int_equal(out.seq, b->end[1].snd);
		assert_int_equal(h.gso_size, payloads[i] > SEGMENT_BYTES ? SEGMENT_BYTES : 0);
	}
}

/* Nobody listens there, so the stack resets it: and so it has got it, whole. It has got the bare
 * acknowledgement before, and reset that. */
static void a_parked_frame_goes_to_the_stack_when_it_is_not(void **state)
{
	static const size_t payloads[] = { 1, SEGMENT_BYTES, GSO_BYTES };
	struct virtio_net_hdr h;
	struct segment reset;
	static struct frame f;
	struct bench *b;

	SKIP_IF_REASON();
	for (size_t i = 0; i < 3; i++) {
		b = bench_apart(*state);
		park_frame(b, payloads[i], &h, &f);
		for (unsigned int k = 0; k < 2; k++) {
			struct frame answer;

			receive(&client, &answer, &reset);
			assert_int_equal(reset.flags, RST);
			assert_int_equal(reset.seq, b->end[0].snd);
			if (k == 0)
				tap_write(&park, &h, &f);
		}
		assert_int_equal(counted(b, WIRE_UNPARKED_TO_STACK), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_BOTH_FAMILIES(a_checksum_that_was_begun_is_completed),
		IN_BOTH_FAMILIES(a_gso_packet_stays_whole),
		IN_BOTH_FAMILIES(a_gso_packet_is_cut_right),
		IN_BOTH_FAMILIES(a_gso_packet_needs_no_length),
		IN_BOTH_FAMILIES(what_comes_by_a_vlan_is_not_for_the_wire),
		IN_BOTH_FAMILIES(a_killed_flow_is_answered_where_it_asks),
		IN_BOTH_FAMILIES(a_parked_frame_goes_on_when_it_is_joined),
		IN_BOTH_FAMILIES(a_parked_frame_goes_to_the_stack_when_it_is_not),
	};

	return cmocka_run_group_tests(tests, setup, bench_teardown);
}
