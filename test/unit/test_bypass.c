/* SPDX-License-Identifier: MIT */
/*
 * The local bypass over real loopback sockets: every byte in order whichever way it takes, every
 * end passed on after the last byte, memory bounded, strangers left alone, nothing left behind.
 * Needs the right to load BPF programs; without it every test is skipped, and says why.
 */
#include "bypass_bench.h"

struct variant {
	uint32_t cap;
	int family;
};

static void bytes_are_exact(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	bench_open(&b, v->cap, v->family);
	exchange(&b, 8 * MIB);
	relay_refresh(&b.trial.relay);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(b.trial.relay.dir[i].bytes, 8 * MIB);
		assert_true(record(&b, i)->bytes > 0);
		assert_true(record(&b, i)->unread_max <= v->cap + CHUNK_MAX);
		print_message("    %d: %llu of %u bytes around, at most %u unread\n", i,
			      (unsigned long long)record(&b, i)->bytes, 8 * MIB,
			      record(&b, i)->unread_max);
	}
	bench_close(&b);
}

static void the_proxy_is_not_woken(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	turn(&b, 0);
	for (int k = 0; k < 100; k++) {
		struct pollfd p = { .fd = b.trial.outer[k & 1], .events = POLLIN };
		struct epoll_event event;

		expect_around(&b, !(k & 1), 1000);
		assert_int_equal(poll(&p, 1, 1000), 1);
		assert_int_equal(outer_receive(&b, k & 1, CHUNK_MAX), 1000);
		assert_int_equal(epoll_wait(b.trial.loop.epoll_fd, &event, 1, 0), 0);
	}
	assert_true(relay_refresh(&b.trial.relay) > 0);
	assert_int_equal(b.trial.relay.dir[0].bytes, 50000);
	assert_ptr_equal(relay_way(&b.trial.relay, 0).engine, &engine_bypass);
	assert_int_equal(relay_way(&b.trial.relay, 0).reason, ENGINE_BYPASSED);
	bench_close(&b);
}

/* Redirected bytes are read first, so none may be while one that was passed is not read. */
static void bytes_on_their_way_are_not_overtaken(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	bypass_switch(&b.trial.relay, true);
	expect_through(&b, 0, 1000, BYPASS_OFF);
	bypass_switch(&b.trial.relay, false);
	expect_through(&b, 0, 1000, BYPASS_NOT_DRY); /* the first are at the proxy */
	turn(&b, 1);
	expect_through(&b, 0, 1000, BYPASS_NOT_DRY); /* in the receiver's queue */
	turn(&b, 1);
	assert_int_equal(outer_receive(&b, 1, 2500), 2500);
	expect_through(&b, 0, 1000, BYPASS_NOT_DRY); /* half read */
	assert_int_equal(relay_way(&b.trial.relay, 0).reason, ENGINE_BYPASS_NOT_DRY);
	receive_rest(&b, 1);
	expect_around(&b, 0, 1000);
	receive_rest(&b, 1);
	bench_close(&b);
}

/* And the other way: what is passed stands behind what was redirected and not read. */
static void switching_off_keeps_the_order(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	for (int k = 0; k < 200; k++) {
		bypass_switch(&b.trial.relay, k % 3 == 0);
		outer_send(&b, 0, 1 + (size_t)k);
		outer_send(&b, 1, 500);
		turn(&b, 0);
		if (k % 7 == 0)
			receive_rest(&b, 1);
		if (k % 5 == 0)
			receive_rest(&b, 0);
	}
	receive_rest(&b, 0);
	receive_rest(&b, 1);
	for (int i = 0; i < 2; i++) {
		assert_true(record(&b, i)->bytes > 0);
		assert_true(record(&b, i)->bytes < b.sent[i]);
	}
	bench_close(&b);
}

/* A reader that has stopped: the sender is stopped by TCP's window, as without the bypass. */
static void a_stopped_reader_is_bounded(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	for (int from = 0; from < 2; from++) {
		bench_open(&b, MIB, AF_INET);
		fill(&b, from, CHUNK_MAX);
		assert_true(record(&b, from)->bytes >= MIB);
		assert_true(record(&b, from)->bytes < 2 * MIB);
		assert_true(record(&b, from)->unread_max < 2 * MIB);
		assert_int_equal(relay_way(&b.trial.relay, from).engine == &engine_bypass, false);
		receive_rest(&b, !from);
		/* The kernel passes the next one without asking, after one that found no room. */
		assert_int_equal(outer_send(&b, from, 1000), 1000);
		receive_rest(&b, !from);
		expect_around(&b, from, 1000);
		receive_rest(&b, !from);
		bench_close(&b);
	}
}

/* A message has a cost of its own, however small it is. */
static void small_messages_are_bounded(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, 64 * KIB, AF_INET);
	for (int k = 0; k < 5000; k++)
		outer_send(&b, 0, 1);
	assert_true(record(&b, 0)->messages <= 64 * KIB / 256);
	assert_int_equal(record(&b, 0)->mode, BYPASS_NOT_DRY);
	receive_rest(&b, 1);
	expect_around(&b, 0, 1);
	receive_rest(&b, 1);
	bench_close(&b);
}

static void an_end_comes_after_the_last_byte(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	for (int first = 0; first < 2; first++) {
		bench_open(&b, MIB, AF_INET6);
		expect_around(&b, first, 200000);
		shutdown(b.trial.outer[first], SHUT_WR);
		UNTIL(b.trial.relay.dir[first].ended)
			turn(&b, 1);
		assert_true(b.trial.relay.dir[first].ended);
		expect_end(&b, !first);
		assert_int_equal(b.received[!first], b.sent[first]);
		/* The other direction goes on, through the proxy: see test_bypass_ended.c. */
		expect_through(&b, !first, 5000, BYPASS_ENDED);
		receive_rest(&b, first);
		shutdown(b.trial.outer[!first], SHUT_WR);
		expect_end(&b, first);
		assert_true(relay_is_done(&b.trial.relay));
		bench_close(&b);
	}
}

/* Both ends have said all, and closed their half, before either has read a byte. */
static void unread_bytes_outlive_both_fins(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	expect_around(&b, 0, 100000);
	expect_around(&b, 1, 70000);
	shutdown(b.trial.outer[0], SHUT_WR);
	shutdown(b.trial.outer[1], SHUT_WR);
	UNTIL(relay_is_done(&b.trial.relay))
		turn(&b, 1);
	assert_true(relay_is_done(&b.trial.relay));
	expect_end(&b, 0);
	expect_end(&b, 1);
	assert_int_equal(b.received[1], 100000);
	assert_int_equal(b.received[0], 70000);
	bench_close(&b);
}

static void a_reset_is_seen(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	for (int i = 0; i < 2; i++) {
		bench_open(&b, MIB, AF_INET);
		expect_around(&b, i, 1000);
		expect_reset(&b, i);
		bench_close(&b);
	}
}

/* With TCP alone, closing a socket with unread bytes is a RST, and so it is with the bypass. */
static void closing_with_unread_bytes_is_a_reset(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	for (int i = 0; i < 2; i++) {
		bench_open(&b, MIB, AF_INET);
		expect_around(&b, !i, 1000);
		close_end(&b, i);
		assert_int_equal(run_until_it_fails(&b), -ECONNRESET);
		assert_int_equal(b.trial.relay.failed_side, i);
		bench_close(&b);
		/* But not if all has been read. */
		bench_open(&b, MIB, AF_INET);
		expect_around(&b, !i, 1000);
		receive_rest(&b, i);
		close_end(&b, i);
		UNTIL(b.trial.relay.dir[i].ended)
			turn(&b, 1);
		assert_true(b.trial.relay.dir[i].ended);
		bench_close(&b);
	}
}

static void peeking_does_not_consume(void **state)
{
	uint8_t seen[3000];
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	expect_around(&b, 0, 1000);
	expect_around(&b, 0, 2000);
	for (int k = 0; k < 3; k++) {
		ssize_t n = recv(b.trial.outer[1], seen, sizeof(seen), MSG_PEEK | MSG_DONTWAIT);

		assert_true(n >= 1000);
		check_bytes(&b, 1, seen, n);
	}
	assert_int_equal(outer_receive(&b, 1, 700), 700);
	receive_rest(&b, 1);
	bench_close(&b);
}

static void set_option(int fd, int level, int name, int value)
{
	assert_int_equal(setsockopt(fd, level, name, &value, sizeof(value)), 0);
}

/* What the kernel would not serve as a TCP of its own does. */
static void ends_that_need_tcp_have_it(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	expect_around(&b, 0, 1000);
	receive_rest(&b, 1);
	set_option(b.trial.outer[0], SOL_SOCKET, SO_ZEROCOPY, 1);
	expect_through(&b, 0, 1000, BYPASS_UNFIT);
	receive_rest(&b, 1);
	expect_around(&b, 1, 1000);
	set_option(b.trial.outer[0], SOL_SOCKET, SO_RCVLOWAT, 100);
	expect_through(&b, 1, 1000, BYPASS_UNFIT);
	assert_int_equal(relay_way(&b.trial.relay, 1).reason, ENGINE_BYPASS_UNFIT);
	receive_rest(&b, 0);
	bench_close(&b);
}

/* When the relay has gone, its ends send to nobody but their peers. */
static void a_relay_that_leaves_parts_its_ends(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	expect_around(&b, 0, 1000);
	bypass_leave(&b.trial.relay);
	assert_int_equal(outer_send(&b, 0, 1000), 1000);
	assert_null(record(&b, 0));
	receive_rest(&b, 1);
	bench_close(&b);
}

static void the_table_may_be_full(void **state)
{
	struct trial others[FLOWS];
	struct trial_conf conf;
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, AF_INET);
	conf = b.conf;
	conf.host = &b.trial;
	for (int k = 0; k < FLOWS; k++)
		assert_int_equal(trial_open(&others[k], &conf), 0);
	assert_null(relay_bypass_direction(&others[FLOWS - 1].relay, 0));
	assert_int_equal(relay_way(&others[FLOWS - 1].relay, 0).reason, ENGINE_BYPASS_NO_SLOT);
	assert_ptr_equal(relay_way(&others[FLOWS - 1].relay, 0).engine, &engine_copy);
	for (int k = 0; k < FLOWS; k++)
		trial_close(&others[k]);
	bench_close(&b);
}

int main(void)
{
	struct variant variants[] = {
		{ MIB, AF_INET },
		{ MIB, AF_INET6 },
		{ 64 * KIB, AF_INET },
		{ 4 * KIB, AF_INET6 },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(bytes_are_exact, &variants[0]),
		cmocka_unit_test_prestate(bytes_are_exact, &variants[1]),
		cmocka_unit_test_prestate(bytes_are_exact, &variants[2]),
		cmocka_unit_test_prestate(bytes_are_exact, &variants[3]),
		cmocka_unit_test(the_proxy_is_not_woken),
		cmocka_unit_test(bytes_on_their_way_are_not_overtaken),
		cmocka_unit_test(switching_off_keeps_the_order),
		cmocka_unit_test(a_stopped_reader_is_bounded),
		cmocka_unit_test(small_messages_are_bounded),
		cmocka_unit_test(an_end_comes_after_the_last_byte),
		cmocka_unit_test(unread_bytes_outlive_both_fins),
		cmocka_unit_test(a_reset_is_seen),
		cmocka_unit_test(closing_with_unread_bytes_is_a_reset),
		cmocka_unit_test(peeking_does_not_consume),
		cmocka_unit_test(ends_that_need_tcp_have_it),
		cmocka_unit_test(a_relay_that_leaves_parts_its_ends),
		cmocka_unit_test(the_table_may_be_full),
	};

	return cmocka_run_group_tests(tests, probe_bpf, NULL);
}
