/* SPDX-License-Identifier: MIT */
/*
 * The local bypass and ends that have ended their sending and still receive: a program that waits
 * in a blocking recv(2) then must not be woken for nothing, and no byte that is on its way to it
 * may be lost. Needs the right to load BPF programs; without it every test is skipped, and says
 * why.
 */
#include "bypass_bench.h"

#include <pthread.h>

#define ROUNDS 400
#define ROUND_BYTES 65536u
#define HUNG_NS (20 * NSEC_PER_SEC)

static void blocking_recv_waits_after_shutdown(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	for (int first = 0; first < 2; first++) {
		bench_open(&b, MIB, AF_INET);
		expect_around(&b, first, 1000);
		expect_around(&b, !first, 1000);
		receive_rest(&b, 0);
		receive_rest(&b, 1);
		shut_and_wait(&b, first);
		bench_close(&b);
	}
}

/* --- while the other end sends ---------------------------------------------------------------- */

struct sender {
	int fd, stream;
	size_t sent; /* read when its thread has ended */
};

static void *send_all(void *arg)
{
	struct sender *s = arg;
	uint8_t chunk[512];

	while (s->sent < ROUND_BYTES) {
		ssize_t n;

		for (size_t k = 0; k < sizeof(chunk); k++)
			chunk[k] = byte_at(s->stream, s->sent + k);
		n = send(s->fd, chunk, sizeof(chunk), MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		s->sent += (size_t)MAX(n, 0);
	}
	shutdown(s->fd, SHUT_WR);
	return NULL;
}

/* The receiver ends its sending at any moment of it; whatever way the bytes take, all arrive. */
static void bytes_under_way_survive_shutdown(void **state)
{
	uint64_t n[N_BYPASS_COUNTERS];
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	for (int round = 0; round < ROUNDS; round++) {
		int to = round & 1;
		struct sender s = { .fd = b.trial.outer[!to], .stream = !to };
		size_t shut_at = rng_below(&b.rng, ROUND_BYTES);
		uint64_t deadline_ns = clock_ns() + HUNG_NS;
		bool shut = false, ended = false;
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, send_all, &s), 0);
		while (!ended && clock_ns() < deadline_ns) {
			ended = outer_receive(&b, to, CHUNK_MAX) < 0;
			if (!shut && b.received[to] >= shut_at)
				shut = !shutdown(b.trial.outer[to], SHUT_WR);
			turn(&b, 0);
		}
		pthread_join(thread, NULL);
		assert_int_equal(s.sent, ROUND_BYTES);
		assert_int_equal(b.received[to], ROUND_BYTES);
		trial_close(&b.trial);
		memset(b.received, 0, sizeof(b.received));
		assert_int_equal(trial_open(&b.trial, &b.conf), 0);
	}
	assert_int_equal(bypass_counters(b.conf.bypass, n), 0);
	print_message("    %llu of %u ends left the map\n", (unsigned long long)n[BYPASS_ENDS_LEFT],
		      2 * ROUNDS);
	assert_true(n[BYPASS_ENDS_LEFT] > 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocking_recv_waits_after_shutdown),
		cmocka_unit_test(bytes_under_way_survive_shutdown),
	};

	bypass_close(open_bypass(MIB));
	return cmocka_run_group_tests_name("bypass_ended", tests, NULL, NULL);
}
