/* SPDX-License-Identifier: MIT */
/*
 * The local bypass with one end on this host: what it sends goes straight into the proxy's
 * connection to the other end, in order, bounded, counted; and what it is sent is relayed. Needs
 * the right to load BPF programs; without it every test is skipped, and says why.
 */
#include "bypass_bench.h"

#define SMALL 1000

struct variant {
	int local; /* the side whose end is on this host */
	int family;
};

/* Each end has said something, and so the relay knows where they are. */
static void half_open(struct bench *b, const struct variant *v)
{
	bench_open_local(b, MIB, v->family, v->local);
	for (int i = 0; i < 2; i++) {
		assert_null(record(b, i));
		assert_int_equal(outer_send(b, i, SMALL), SMALL);
		receive_rest(b, !i);
	}
	assert_non_null(record(b, v->local));
	assert_null(record(b, !v->local));
}

static void bytes_are_exact(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	half_open(&b, v);
	exchange(&b, 8 * MIB);
	relay_refresh(&b.trial.relay);
	for (int i = 0; i < 2; i++)
		assert_int_equal(b.trial.relay.dir[i].bytes, 8 * MIB);
	assert_true(record(&b, v->local)->bytes > 0);
	assert_true(record(&b, v->local)->unread_max <= MIB + CHUNK_MAX);
	print_message("    %llu of %u bytes around, at most %u unsent\n",
		      (unsigned long long)record(&b, v->local)->bytes, 8 * MIB,
		      record(&b, v->local)->unread_max);
	bench_close(&b);
}

static void the_proxy_is_not_woken(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	half_open(&b, v);
	turn(&b, 0);
	for (int k = 0; k < 100; k++) {
		struct pollfd p = { .fd = b.trial.outer[!v->local], .events = POLLIN };
		struct epoll_event event;

		expect_around(&b, v->local, SMALL);
		assert_int_equal(poll(&p, 1, 1000), 1);
		assert_int_equal(outer_receive(&b, !v->local, CHUNK_MAX), SMALL);
		assert_int_equal(epoll_wait(b.trial.loop.epoll_fd, &event, 1, 0), 0);
	}
	assert_true(relay_refresh(&b.trial.relay) > 0);
	assert_int_equal(b.trial.relay.dir[v->local].bytes, 101 * SMALL);
	assert_ptr_equal(relay_way(&b.trial.relay, v->local).engine, &engine_bypass);
	assert_int_equal(relay_way(&b.trial.relay, v->local).reason, ENGINE_BYPASS_HALF);
	assert_ptr_equal(relay_way(&b.trial.relay, !v->local).engine, &engine_copy);
	assert_int_equal(relay_way(&b.trial.relay, !v->local).reason, ENGINE_BYPASS_OTHER_HALF);
	bench_close(&b);
}

/* As long as the proxy has bytes of this direction, in a queue or a buffer, none goes around it. */
static void bytes_in_the_proxy_are_not_overtaken(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	half_open(&b, v);
	for (int k = 0; k < 200; k++) {
		expect_around(&b, v->local, 100);
		bypass_switch(&b.trial.relay, true);
		expect_through(&b, v->local, SMALL, BYPASS_OFF);
		bypass_switch(&b.trial.relay, false);
		expect_through(&b, v->local, SMALL, BYPASS_NOT_DRY);
		if (k % 3)
			turn(&b, 1);
		outer_send(&b, v->local, SMALL);
		receive_rest(&b, !v->local);
	}
	bench_close(&b);
}

/* The proxy has read all, and can't write it, since the reader has stopped. */
static void bytes_in_a_buffer_are_not_overtaken(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	half_open(&b, v);
	bypass_switch(&b.trial.relay, true);
	fill(&b, v->local, CHUNK_MAX);
	bypass_switch(&b.trial.relay, false);
	for (int k = 0; k < 1000 && b.received[!v->local] < b.sent[v->local]; k++) {
		turn(&b, 0);
		outer_send(&b, v->local, 1 + (size_t)k);
		outer_receive(&b, !v->local, 20000);
	}
	receive_rest(&b, !v->local);
	expect_around(&b, v->local, SMALL);
	receive_rest(&b, !v->local);
	bench_close(&b);
}

/* A reader that has stopped: nothing has to wait in the middle of a message, and the sender is
 * stopped by TCP's window. */
static void a_stopped_reader_is_bounded(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	half_open(&b, v);
	fill(&b, v->local, 10 * SMALL);
	assert_true(record(&b, v->local)->bytes > 0);
	assert_true(record(&b, v->local)->bytes < b.sent[v->local]);
	assert_ptr_not_equal(relay_way(&b.trial.relay, v->local).engine, &engine_bypass);
	receive_rest(&b, !v->local);
	outer_send(&b, v->local, SMALL);
	receive_rest(&b, !v->local);
	expect_around(&b, v->local, SMALL);
	receive_rest(&b, !v->local);
	bench_close(&b);
}

/* Of an outlet that has no room for more; the relay's loop stands still, so that nothing but the
 * local end writes to it. */
static void a_full_outlet_takes_nothing(void **state)
{
	const struct variant *v = *state;
	int room = 64 * KIB;
	socklen_t len = sizeof(room);
	uint64_t before;
	struct bench b;
	int outlet;

	SKIP_IF_REASON();
	half_open(&b, v);
	outlet = b.trial.relay.side[!v->local].watch.fd;
	assert_int_equal(setsockopt(outlet, SOL_SOCKET, SO_SNDBUF, &room, len), 0);
	assert_int_equal(getsockopt(outlet, SOL_SOCKET, SO_SNDBUF, &room, &len), 0);
	assert_true((uint32_t)room <= CHUNK_MAX);
	/* It is charged for more than its bytes, and would have to wait in its middle. */
	expect_through(&b, v->local, (size_t)room, BYPASS_FULL);
	receive_rest(&b, !v->local);
	/* The kernel passes the next one without asking. */
	outer_send(&b, v->local, SMALL);
	receive_rest(&b, !v->local);
	expect_around(&b, v->local, SMALL);
	/* The reader has stopped. */
	do {
		before = record(&b, v->local)->bytes;
		assert_int_equal(outer_send(&b, v->local, SMALL), SMALL);
	} while (record(&b, v->local)->bytes > before);
	assert_int_equal(record(&b, v->local)->mode, BYPASS_FULL);
	assert_true(record(&b, v->local)->unread_max < (uint32_t)room);
	receive_rest(&b, !v->local);
	bench_close(&b);
}

static void ends_come_after_the_last_byte(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	for (int first = 0; first < 2; first++) {
		half_open(&b, v);
		expect_around(&b, v->local, 50 * SMALL);
		shutdown(b.trial.outer[first], SHUT_WR);
		for (int k = 0; k < 20; k++)
			turn(&b, 1);
		expect_end(&b, !first);
		assert_int_equal(b.received[!first], b.sent[first]);
		if (first != v->local)
			expect_around(&b, v->local, 5 * SMALL);
		else
			outer_send(&b, !first, 5 * SMALL);
		receive_rest(&b, first);
		shutdown(b.trial.outer[!first], SHUT_WR);
		expect_end(&b, first);
		assert_true(relay_is_done(&b.trial.relay));
		bench_close(&b);
	}
}

static void a_reset_is_seen(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	for (int i = 0; i < 2; i++) {
		half_open(&b, v);
		expect_around(&b, v->local, SMALL);
		expect_reset(&b, i);
		bench_close(&b);
	}
}

static void blocking_recv_waits_after_shutdown(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	half_open(&b, v);
	expect_around(&b, v->local, SMALL);
	receive_rest(&b, !v->local);
	shut_and_wait(&b, v->local);
	bench_close(&b);
}

/* --- two threads that send at once ------------------------------------------------------------ */

#define MESSAGES 20000

struct sender {
	int fd;
	uint8_t mark;
};

/* Messages of two bytes: who it is, and a count. */
static void *send_marks(void *arg)
{
	struct sender *s = arg;

	for (unsigned k = 0; k < MESSAGES; k++) {
		uint8_t message[2] = { s->mark, (uint8_t)k };

		while (send(s->fd, message, sizeof(message), MSG_NOSIGNAL) != sizeof(message))
			usleep(10);
	}
	return NULL;
}

/* Each thread's messages are whole, and in their order. */
static void two_threads_do_not_mix(void **state)
{
	const struct variant *v = *state;
	struct sender s[2];
	unsigned count[2] = { 0 };
	pthread_t threads[2];
	size_t have = 0;
	struct bench b;
	uint8_t got[4096];

	SKIP_IF_REASON();
	half_open(&b, v);
	for (int i = 0; i < 2; i++) {
		s[i] = (struct sender){ .fd = b.trial.outer[v->local], .mark = (uint8_t)i };
		assert_int_equal(pthread_create(&threads[i], NULL, send_marks, &s[i]), 0);
	}
	while (count[0] + count[1] < 2 * MESSAGES) {
		ssize_t n;

		turn(&b, 0);
		if (rng_below(&b.rng, 200) == 0)
			bypass_switch(&b.trial.relay, rng_below(&b.rng, 2));
		n = recv(b.trial.outer[!v->local], got + have, sizeof(got) - have, MSG_DONTWAIT);
		have += n > 0 ? (size_t)n : 0;
		for (size_t k = 0; k + 1 < have; k += 2) {
			assert_in_range(got[k], 0, 1);
			assert_int_equal(got[k + 1], (uint8_t)count[got[k]]);
			count[got[k]]++;
		}
		if (have % 2)
			got[0] = got[have - 1];
		have %= 2;
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	bench_close(&b);
}

#define FOR_EACH_HALF(test)                                                                        \
	{ #test ": client", test, NULL, NULL, &variants[0] },                                      \
	{                                                                                          \
#test ": backend", test, NULL, NULL, &variants[1]                                  \
	}

int main(void)
{
	static struct variant variants[] = {
		{ CLIENT, AF_INET },
		{ BACKEND, AF_INET6 },
	};
	const struct CMUnitTest tests[] = {
		FOR_EACH_HALF(bytes_are_exact),
		FOR_EACH_HALF(the_proxy_is_not_woken),
		FOR_EACH_HALF(bytes_in_the_proxy_are_not_overtaken),
		FOR_EACH_HALF(bytes_in_a_buffer_are_not_overtaken),
		FOR_EACH_HALF(a_stopped_reader_is_bounded),
		FOR_EACH_HALF(a_full_outlet_takes_nothing),
		FOR_EACH_HALF(ends_come_after_the_last_byte),
		FOR_EACH_HALF(a_reset_is_seen),
		FOR_EACH_HALF(blocking_recv_waits_after_shutdown),
		FOR_EACH_HALF(two_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, probe_bpf, NULL);
}
