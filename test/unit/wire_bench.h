/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the wire's TC program share: the program, loaded in a network namespace of the
 * test's own, a joined flow with numbers that are known, and runs of the program on frames that the
 * test has made (BPF_PROG_TEST_RUN). Without the rights for it every test is skipped, and says why.
 */
#ifndef SHUNT_TEST_WIRE_BENCH_H
#define SHUNT_TEST_WIRE_BENCH_H

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "cases.h"
#include "net.h"
#include "wire.skel.h"
#include "wire_frame.h"

#define BENCH_FLOWS 8
#define TC_PASSED (-1) /* to the next program, or the stack */
#define TC_DROPPED 2
#define TC_REDIRECTED 7
/* New in Linux 6.18: the packet has its whole sum, and the run fails if that is wrong after it. */
#define TEST_CHECKSUM_COMPLETE (1u << 2)
#define LO_IFINDEX 1
#define PARK_IFINDEX 4711 /* of no device */

/* How a test is run: with either family, and with the packet's sum kept by the kernel or not. */
struct variant {
	bool is_ipv6;
	bool complete;
};

static const struct variant variants[] = { { false, false },
					   { true, false },
					   { false, true },
					   { true, true } };

#define IN_EVERY_VARIANT(test)                                                                     \
	cmocka_unit_test_prestate(test, (void *)&variants[0]),                                     \
		cmocka_unit_test_prestate(test, (void *)&variants[1]),                             \
		cmocka_unit_test_prestate(test, (void *)&variants[2]),                             \
		cmocka_unit_test_prestate(test, (void *)&variants[3])
#define IN_BOTH_FAMILIES(test)                                                                     \
	cmocka_unit_test_prestate(test, (void *)&variants[0]),                                     \
		cmocka_unit_test_prestate(test, (void *)&variants[1])

/* A leg as its proxy's socket would know it. */
struct endpoint {
	uint32_t snd, rcv;
	uint32_t clock, ts_recent;
	uint32_t window;
	uint8_t wscale_peer, wscale_own;
};

struct bench {
	struct wire_bpf *bpf;
	struct wire_direction *directions;
	struct wire_settings *settings;
	struct ring_buffer *ring;
	struct wire_event event; /* the last one */
	unsigned int events;
	const struct variant *variant;
	struct wire_tuple leg[2];
	struct endpoint end[2];
	struct frame frame;
};

static struct bench bench;

static inline int no_print(enum libbpf_print_level level, const char *format, va_list ap)
{
	(void)level;
	(void)format;
	(void)ap;
	return 0;
}

static inline int on_event(void *arg, void *data, size_t size)
{
	struct bench *b = arg;

	assert_int_equal(size, sizeof(b->event));
	memcpy(&b->event, data, size);
	b->events++;
	return 0;
}

static inline int map_fd(const struct bpf_map *map)
{
	return bpf_map__fd(map);
}

static inline void *map_array(const struct bpf_map *map)
{
	size_t size = (size_t)bpf_map__max_entries(map) * bpf_map__value_size(map);
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

static inline bool bench_load(struct bench *b)
{
	struct bpf_map *sized[] = { b->bpf->maps.wire_flows, b->bpf->maps.wire_holds,
				    b->bpf->maps.wire_listeners, b->bpf->maps.wire_directions };

	for (size_t i = 0; i < sizeof(sized) / sizeof(*sized); i++)
		if (bpf_map__set_max_entries(sized[i], 2 * BENCH_FLOWS))
			return false;
	return !wire_bpf__load(b->bpf);
}

static inline int bench_setup(void **state)
{
	uint32_t keeper = WIRE_RING_KEEPER;
	struct bench *b = &bench;
	int ring, rc;

	(void)state;
	libbpf_set_print(no_print);
	rc = net_unshare();
	if (rc) {
		snprintf(skip_reason, sizeof(skip_reason), "no network namespace of its own: %s",
			 strerror(-rc));
		return 0;
	}
	b->bpf = wire_bpf__open();
	if (b->bpf)
		b->bpf->rodata->has_gate = 1;
	if (!b->bpf || !bench_load(b)) {
		snprintf(skip_reason, sizeof(skip_reason), "the program does not load: %s",
			 strerror(errno));
		return 0;
	}
	b->directions = map_array(b->bpf->maps.wire_directions);
	b->settings = map_array(b->bpf->maps.wire_settings);
	ring = bpf_map_create(BPF_MAP_TYPE_RINGBUF, NULL, 0, 0, 4096, NULL);
	assert_true(ring >= 0);
	assert_int_equal(bpf_map_update_elem(map_fd(b->bpf->maps.wire_rings), &keeper, &ring, 0),
			 0);
	b->ring = ring_buffer__new(ring, on_event, b, NULL);
	assert_non_null(b->ring);
	return 0;
}

static inline int bench_teardown(void **state)
{
	(void)state;
	ring_buffer__free(bench.ring);
	wire_bpf__destroy(bench.bpf);
	return 0;
}

static inline void forget_all(const struct bpf_map *map, size_t key_size)
{
	uint8_t key[64];

	assert_true(key_size <= sizeof(key));
	while (!bpf_map_get_next_key(bpf_map__fd(map), NULL, key))
		assert_int_equal(bpf_map_delete_elem(bpf_map__fd(map), key), 0);
}

/* Nothing joined, nothing held, all counters and records 0, and the events read. */
static inline void bench_clear(struct bench *b, const struct variant *v)
{
	forget_all(b->bpf->maps.wire_flows, sizeof(struct wire_tuple));
	forget_all(b->bpf->maps.wire_holds, sizeof(struct wire_tuple));
	forget_all(b->bpf->maps.wire_listeners, sizeof(struct wire_listener));
	memset(b->directions, 0, 2 * BENCH_FLOWS * sizeof(*b->directions));
	*b->settings = (struct wire_settings){ .park_ifindex = PARK_IFINDEX };
	ring_buffer__consume(b->ring);
	b->events = 0;
	b->variant = v;
	for (uint32_t i = 0; i < N_WIRE_COUNTERS; i++) {
		uint64_t zero[256] = { 0 };

		assert_true(libbpf_num_possible_cpus() <= 256);
		assert_int_equal(
			bpf_map_update_elem(map_fd(b->bpf->maps.wire_counters), &i, zero, 0), 0);
	}
}

static inline uint64_t counted(const struct bench *b, uint32_t what)
{
	uint64_t by_cpu[256], sum = 0;
	int n = libbpf_num_possible_cpus();

	assert_int_equal(bpf_map_lookup_elem(map_fd(b->bpf->maps.wire_counters), &what, by_cpu), 0);
	for (int i = 0; i < n; i++)
		sum += by_cpu[i];
	return sum;
}

/* What the join program would enter: see wire_abi.h. */
static inline void bench_enter(struct bench *b, uint32_t flow)
{
	for (uint32_t i = 0; i < 2; i++) {
		const struct endpoint *from = &b->end[i], *to = &b->end[i ^ 1];
		struct wire_direction *d = &b->directions[2 * flow + i];
		struct wire_leg leg = {
			.to = reversed(&b->leg[i ^ 1]),
			.seq_delta = to->snd - from->rcv,
			.ack_delta = to->rcv - from->snd,
			.tsval_delta = to->clock - from->ts_recent,
			.tsecr_delta = to->ts_recent - from->clock,
			.slot = 2 * flow + i,
			.wscale_from = from->wscale_peer,
			.wscale_to = to->wscale_own,
			.is_ipv6 = b->variant->is_ipv6,
		};

		*d = (struct wire_direction){
			.seq_start = from->rcv,
			.ack = from->snd,
			.edge = from->snd + from->window,
			.ring = WIRE_RING_KEEPER,
			.generation = 7,
			.ifindex = LO_IFINDEX,
		};
		assert_int_equal(bpf_map_update_elem(map_fd(b->bpf->maps.wire_flows), &b->leg[i],
						     &leg, BPF_NOEXIST),
				 0);
	}
}

/* Flow 1, joined; its numbers wrap soon, and differ in all that can differ. */
static inline struct bench *bench_joined(const struct variant *v)
{
	struct bench *b = &bench;

	bench_clear(b, v);
	b->leg[0] = v->is_ipv6 ? tuple("fd00:1::2", 40000, "fd00:1::1", 80)
			       : tuple("::ffff:10.1.0.2", 40000, "::ffff:10.1.0.1", 80);
	b->leg[1] = v->is_ipv6 ? tuple("fd00:2::2", 8080, "fd00:2::1", 50000)
			       : tuple("::ffff:10.2.0.2", 8080, "::ffff:10.2.0.1", 50000);
	b->end[0] = (struct endpoint){ .snd = 0xfffffe00,
				       .rcv = 1000,
				       .clock = 5000000,
				       .ts_recent = 0xffffff00,
				       .window = 1 << 20,
				       .wscale_peer = 7,
				       .wscale_own = 10 };
	b->end[1] = (struct endpoint){ .snd = 77777,
				       .rcv = 0xffffff80,
				       .clock = 900,
				       .ts_recent = 123456,
				       .window = 1 << 20,
				       .wscale_peer = 2,
				       .wscale_own = 7 };
	bench_enter(b, 1);
	return b;
}

/* The direction that starts at a side. */
static inline struct wire_direction *from_side(struct bench *b, int side)
{
	return &b->directions[2 + side];
}

static inline int bench_try_run(struct bench *b, uint32_t ifindex, int *verdict)
{
	static uint8_t out[FRAME_MAX];
	struct __sk_buff ctx = { .ifindex = ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = b->frame.b,
		    .data_size_in = (uint32_t)b->frame.n, .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		    .flags = b->variant->complete ? TEST_CHECKSUM_COMPLETE : 0);
	int e = bpf_prog_test_run_opts(bpf_program__fd(b->bpf->progs.wire_forward), &o);

	*verdict = (int)o.retval;
	if (!e) {
		memcpy(b->frame.b, out, o.data_size_out);
		b->frame.n = o.data_size_out;
	}
	return e;
}

/* Runs the program on b->frame, which then is what the program has left. */
static inline int bench_run(struct bench *b, uint32_t ifindex)
{
	int verdict, e = bench_try_run(b, ifindex, &verdict);

	if (e == -EINVAL && b->variant->complete) {
		print_message("skipped: the kernel has no test runs with CHECKSUM_COMPLETE\n");
		skip();
	}
	assert_int_equal(e, 0);
	ring_buffer__consume(b->ring);
	return verdict;
}

/* Sends a segment through the program. */
static inline int bench_send(struct bench *b, const struct segment *s)
{
	frame_make(&b->frame, s);
	return bench_run(b, LO_IFINDEX);
}

/* A segment of a side's peer, `at` bytes after the join, that acknowledges `acked` bytes. */
static inline struct segment from_peer(const struct bench *b, int side, uint32_t at, uint32_t acked)
{
	return (struct segment){ .t = b->leg[side],
				 .seq = b->end[side].rcv + at,
				 .ack = b->end[side].snd + acked,
				 .flags = ACK,
				 .window = 500 };
}

/* What that must become on the other leg: options and payload are the caller's. */
static inline struct segment to_peer(const struct bench *b, int side, uint32_t at, uint32_t acked)
{
	return (struct segment){ .t = reversed(&b->leg[side]),
				 .seq = b->end[side].snd + at,
				 .ack = b->end[side].rcv + acked,
				 .flags = ACK,
				 .ttl = 64 };
}

static inline void assert_same_segment(const struct segment *got, const struct segment *expected)
{
	assert_memory_equal(&got->t, &expected->t, sizeof(got->t));
	assert_int_equal(got->seq, expected->seq);
	assert_int_equal(got->ack, expected->ack);
	assert_int_equal(got->flags, expected->flags);
	assert_int_equal(got->window, expected->window);
	assert_int_equal(got->urgent, expected->urgent);
	assert_int_equal(got->traffic_class, expected->traffic_class);
	assert_int_equal(got->ttl, expected->ttl);
	assert_int_equal(got->flow_label, is_v4(&got->t) ? 0 : FLOW_LABEL);
	assert_int_equal(got->payload, expected->payload);
	assert_int_equal(got->n_options, expected->n_options);
	assert_memory_equal(got->options, expected->options, got->n_options);
}

static inline void bench_expect(struct bench *b, const struct segment *in,
				const struct segment *expected)
{
	struct segment out;

	assert_int_equal(bench_send(b, in), TC_REDIRECTED);
	frame_read(&b->frame, &out);
	assert_same_segment(&out, expected);
}

#endif
