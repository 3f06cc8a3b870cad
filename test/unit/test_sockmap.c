/* SPDX-License-Identifier: MIT */
/*
 * The sockmap engine over real loopback sockets: every byte in order whichever way it takes, every
 * end passed on, memory bounded, nothing left behind. Each trap of sk_skb redirection has its test
 * here. Needs the right to load BPF programs; without it every test is skipped, and says why.
 */
#include "net.h"
#include "sockmap_bench.h"

static void bytes_are_exact(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	bench_open(&b, v->cap, &v->conf);
	exchange(&b, TOTAL);
	relay_refresh(&b.trial.relay);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(b.trial.relay.dir[i].bytes, TOTAL);
		assert_true(relay_sockmap_direction(&b.trial.relay, i)->backlog_max <= v->cap);
	}
	assert_int_equal(b.trial.pools.buffers.n_out, 0);
	print_records(&b);
	bench_close(&b);
}

/* The events that are waited for on a side, as the kernel shows them. */
static uint32_t watched_events(struct bench *b, int side)
{
	int fd = b->trial.relay.side[side].watch.fd, at;
	unsigned int events = 0;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", b->trial.loop.epoll_fd);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "tfd: %d events: %x", &at, &events) == 2 && at == fd)
			break;
	fclose(f);
	return events;
}

/*
 * Once it is joined, the kernel alone relays small messages. The daemon does not wait for them
 * either: EPOLLIN would wake its thread for each, to find nothing.
 */
static void the_kernel_relays_without_the_daemon(void **state)
{
	struct epoll_event event;
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, NULL);
	join(&b);
	for (int side = 0; side < 2; side++)
		assert_int_equal(watched_events(&b, side) & (EPOLLIN | EPOLLOUT | EPOLLRDHUP),
				 EPOLLRDHUP);
	for (int k = 0; k < 100; k++) {
		struct pollfd p = { .fd = b.trial.outer[k & 1], .events = POLLIN };

		assert_int_equal(outer_send(&b, !(k & 1), 1000), 1000);
		assert_int_equal(poll(&p, 1, 1000), 1);
		assert_int_equal(outer_receive(&b, k & 1, CHUNK_MAX), 1000);
		assert_int_equal(epoll_wait(b.trial.loop.epoll_fd, &event, 1, 0), 0);
	}
	assert_true(relay_refresh(&b.trial.relay) > 0);
	assert_int_equal(b.trial.relay.dir[0].bytes, 50000);
	assert_int_equal(relay_sockmap_direction(&b.trial.relay, 0)->passed, 0);
	bench_close(&b);
}

/* What is in the receive queue when a socket enters the map does not wait for the next segment. */
static void queued_data_is_relayed(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, NULL);
	/* The relay has heard of nothing yet, and joins before it does. */
	outer_send(&b, 0, 5000);
	outer_send(&b, 1, 7000);
	usleep(1000);
	assert_true(relay_may_join(&b.trial.relay));
	assert_int_equal(relay_join(&b.trial.relay, &engine_sockmap, ENGINE_FORCED), 0);
	/* At once: that a recv(2) has the program judge what is queued is new (6.5). */
	assert_int_equal(relay_sockmap_direction(&b.trial.relay, 0)->passed, 5000);
	assert_int_equal(relay_sockmap_direction(&b.trial.relay, 1)->passed, 7000);
	receive_all(&b, 1, 5000);
	receive_all(&b, 0, 7000);
	bench_close(&b);
}

/* A segment of which half is read when its socket enters the map is not seen again from its start. */
static void half_read_data_is_not_repeated(void **state)
{
	struct trial_conf conf = { .max_buffers = 1, .sndbuf = 4096 };
	struct buffer *only;
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, &conf);
	/* Without a buffer it consumes what the backend takes, and the rest of the segment stays
	 * where it is. */
	only = buffer_get(&b.trial.pools.buffers);
	for (int k = 0; k < 100; k++) {
		outer_send(&b, 0, CHUNK_MAX);
		turn(&b, 0);
	}
	buffer_put(&b.trial.pools.buffers, only);
	receive_all(&b, 1, b.sent[0]);
	join(&b);
	outer_send(&b, 0, 3000);
	receive_all(&b, 1, b.sent[0]);
	bench_close(&b);
}

static void expect_end(struct bench *b, int i)
{
	UNTIL(outer_receive(b, i, CHUNK_MAX) < 0)
		turn(b, 1);
	assert_int_equal(outer_receive(b, i, 1), -1);
}

/* A FIN alone, from either side: it ends its direction, and the other one goes on in the kernel. */
static void a_bare_fin_ends_one_direction(void **state)
{
	SKIP_IF_REASON();
	(void)state;
	for (int first = 0; first < 2; first++) {
		struct bench b;

		bench_open(&b, MIB, NULL);
		join(&b);
		shutdown(b.trial.outer[first], SHUT_WR);
		expect_end(&b, !first);
		outer_send(&b, !first, 100000);
		receive_all(&b, first, 100000);
		shutdown(b.trial.outer[!first], SHUT_WR);
		expect_end(&b, first);
		assert_true(relay_is_done(&b.trial.relay));
		bench_close(&b);
	}
}

/* The last bytes are on their way through the kernel when the FIN comes: it must not overtake them.
 */
static void half_close_passes_after_the_last_byte(void **state)
{
	const struct variant *v = *state;

	SKIP_IF_REASON();
	for (int round = 0; round < 40; round++) {
		size_t total = 200000 + (size_t)round * 20011;
		int from = round & 1;
		struct bench b;

		bench_open(&b, v->cap, &v->conf);
		join(&b);
		while (b.sent[from] < total) {
			outer_send(&b, from, MIN(CHUNK_MAX, total - b.sent[from]));
			if (round % 4 >= 2)
				outer_receive(&b, !from, 10000);
			turn(&b, 0);
		}
		shutdown(b.trial.outer[from], SHUT_WR);
		for (int k = 0; k < 50 && round % 3 == 0; k++) /* the reader is asleep */
			turn(&b, 1);
		receive_all(&b, !from, total);
		expect_end(&b, !from);
		outer_send(&b, !from, 50000);
		receive_all(&b, from, 50000);
		bench_close(&b);
	}
}

/*
 * The FIN comes when passed bytes stand behind redirected ones that are stuck: then recv(2) says
 * that this was all, and it was not.
 */
static void an_end_does_not_overtake_what_the_kernel_queues(void **state)
{
	struct bench b;
	size_t total;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, NULL);
	join(&b);
	limit_unsent(&b, 1);
	for (int k = 0; k < 3000 && b.sent[0] < 12 * MIB; k++) {
		outer_send(&b, 0, CHUNK_MAX);
		if (b.sent[1] < 12 * MIB)
			outer_send(&b, 1, CHUNK_MAX);
		turn(&b, 0);
	}
	total = b.sent[0];
	shutdown(b.trial.outer[0], SHUT_WR);
	for (int k = 0; k < 50; k++) {
		outer_receive(&b, 1, CHUNK_MAX);
		turn(&b, 1);
	}
	assert_true(b.received[1] < total);
	UNTIL(b.received[1] >= total) {
		turn(&b, 1);
		outer_receive(&b, 0, CHUNK_MAX);
		outer_receive(&b, 1, CHUNK_MAX);
	}
	assert_int_equal(b.received[1], total);
	expect_end(&b, 1);
	receive_all(&b, 0, b.sent[1]);
	bench_close(&b);
}

/* A flow that has ended on one side is not taken into the map, and goes on by copy. */
static void a_half_closed_flow_stays_on_copy(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, NULL);
	shutdown(b.trial.outer[0], SHUT_WR);
	usleep(1000);
	assert_true(relay_may_join(&b.trial.relay)); /* no event was read yet */
	assert_int_equal(relay_join(&b.trial.relay, &engine_sockmap, ENGINE_FORCED), -EOPNOTSUPP);
	assert_int_equal(b.trial.relay.dir[0].reason, ENGINE_NOT_ESTABLISHED);
	assert_int_equal(b.trial.pools.refused[ENGINE_NOT_ESTABLISHED], 1);
	assert_ptr_equal(b.trial.relay.dir[0].engine, &engine_copy);
	assert_int_equal(sockmap_share_in_use(&b.trial.pools), 0);
	expect_end(&b, 1);
	outer_send(&b, 1, 100000);
	receive_all(&b, 0, 100000);
	bench_close(&b);
}

/* The second socket is refused when the first is in the map already: copy goes on with it, splice
 * never. */
static void half_a_join_stays_on_copy(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, NULL);
	shutdown(b.trial.outer[1], SHUT_WR);
	usleep(1000);
	assert_int_equal(relay_join(&b.trial.relay, &engine_sockmap, ENGINE_FORCED), -EOPNOTSUPP);
	assert_int_equal(sockmap_share_in_use(&b.trial.pools), 1);
	assert_int_equal(engine_splice.start(&b.trial.relay, 0), -EOPNOTSUPP);
	assert_ptr_equal(b.trial.relay.dir[0].engine, &engine_copy);
	expect_end(&b, 0);
	outer_send(&b, 0, 100000);
	receive_all(&b, 1, 100000);
	shutdown(b.trial.outer[0], SHUT_WR);
	expect_end(&b, 1);
	trial_disconnect(&b.trial);
	assert_int_equal(sockmap_share_in_use(&b.trial.pools), 0);
	bench_close(&b);
}

static void a_reset_is_an_error_of_its_side(void **state)
{
	struct linger at_once = { 1, 0 };

	(void)state;
	SKIP_IF_REASON();
	for (int side = 0; side < 2; side++) {
		struct bench b;
		int rc = 0;

		bench_open(&b, MIB, NULL);
		join(&b);
		outer_send(&b, !side, 100000);
		setsockopt(b.trial.outer[side], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close(b.trial.outer[side]);
		b.trial.outer[side] = -1;
		UNTIL(rc)
			rc = trial_turn(&b.trial, 10);
		assert_true(rc == -ECONNRESET || rc == -EPIPE);
		assert_int_equal(b.trial.relay.failed_side, side);
		bench_close(&b);
	}
}

/* The reader stops for good: its sender must stop, too, and what the kernel holds for the relay is
 * bounded. */
static void a_stopped_reader_is_bounded(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	bench_open(&b, v->cap, &v->conf);
	join(&b);
	for (int idle = 0; idle < 300;) {
		idle = outer_send(&b, 0, CHUNK_MAX) ? 0 : idle + 1;
		turn(&b, 0);
		if (idle)
			usleep(500);
	}
	assert_bounded(&b, 0, v->cap);
	print_records(&b);
	receive_all(&b, 1, b.sent[0]);
	bench_close(&b);
}

/*
 * Neither side reads, both send: the kernel has one queue for what is redirected to a socket and
 * for what is passed from it. The backend's bytes stuck there must not hold up the client's, which
 * the backend, at last, wants to read.
 */
static void a_stuck_direction_does_not_hold_up_the_other(void **state)
{
	const struct variant *v = *state;
	struct bench b;
	size_t total;

	SKIP_IF_REASON();
	bench_open(&b, v->cap, &v->conf);
	limit_unsent(
		&b,
		4096); /* as hosts with a net.ipv4.tcp_notsent_lowat have it; joining lifts it */
	join(&b);
	for (int idle = 0; idle < 100;) {
		bool moved = outer_send(&b, 0, 20000);

		moved |= outer_send(&b, 1, 20000);
		turn(&b, 0);
		idle = moved ? 0 : idle + 1;
		if (idle)
			usleep(500);
	}
	assert_bounded(&b, 0, v->cap);
	assert_bounded(&b, 1, v->cap);
	total = b.sent[0];
	receive_all(&b, 1, total); /* while the client does not read anything */
	total = b.sent[1];
	receive_all(&b, 0, total);
	bench_close(&b);
}

/*
 * The last resort. What a direction's target takes is held up by something that the program does
 * not see; so the other one's bytes stand behind it, where they count in no buffer. The flow is
 * reset before they take the host's memory.
 */
static void what_can_not_be_bounded_is_reset(void **state)
{
	uint64_t counters[N_SHUNT_COUNTERS];
	struct bench b;
	int rc = 0;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, NULL);
	join(&b);
	limit_unsent(&b, 1);
	UNTIL(rc) {
		outer_send(&b, 0, CHUNK_MAX);
		outer_send(&b, 1, CHUNK_MAX);
		rc = trial_turn(&b.trial, 0);
	}
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(sockmap_counters(b.conf.sockmap, counters), 0);
	assert_in_range(counters[SHUNT_DROPPED_UNREAD], 1, 2); /* one direction, or both */
	bench_close(&b);
}

/* The target has left the map: nobody is told so, but no byte may be dropped for it. */
static void a_missing_target_costs_no_byte(void **state)
{
	uint64_t counters[N_SHUNT_COUNTERS];
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, NULL);
	join(&b);
	close(b.trial.relay.side[1].watch.fd);
	b.trial.relay.side[1].watch.fd = -1;
	assert_int_equal(outer_send(&b, 0, 1000), 1000);
	usleep(1000);
	assert_int_equal(sockmap_counters(b.conf.sockmap, counters), 0);
	assert_int_equal(counters[SHUNT_PASSED_NO_TARGET], 1);
	assert_int_equal(relay_sockmap_direction(&b.trial.relay, 0)->passed, 1000);
	bench_close(&b);
}

/* A full table: the flow is served, on copy, and says why. */
static void without_a_slot_it_stays_on_copy(void **state)
{
	struct trial_conf conf = { .max_buffers = 16 };
	struct bench b = { .rng = SEED, .conf = conf };

	(void)state;
	SKIP_IF_REASON();
	b.conf.sockmap = open_map(1, MIB);
	b.conf.engine = &engine_sockmap;
	b.conf.sockmap = b.conf.sockmap;
	assert_int_equal(trial_open(&b.trial, &b.conf), 0);
	join(&b);
	trial_disconnect(&b.trial);
	/* The slot is free again, but has not rested yet. */
	assert_int_equal(trial_connect(&b.trial, &b.conf), 0);
	assert_int_equal(relay_join(&b.trial.relay, &engine_sockmap, ENGINE_FORCED), -ENOSPC);
	assert_int_equal(b.trial.relay.dir[0].reason, ENGINE_NO_SLOT);
	exchange(&b, 100000);
	bench_close(&b);
}

/* Short flows, one after the other: neither a slot nor an entry of a map stays behind. */
/* A message each way, through the relay. */
static void say_something(struct bench *b)
{
	for (int from = 0; from < 2; from++) {
		size_t before = b->received[!from];

		assert_int_equal(outer_send(b, from, 100), 100);
		UNTIL(b->received[!from] == before + 100) {
			turn(b, 5);
			outer_receive(b, !from, 100);
		}
		assert_int_equal(b->received[!from], before + 100);
	}
}

static void auto_joins_what_has_lived_long_where_it_pays(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	for (int pays = 0; pays < 2; pays++) {
		bench_open(&b, MIB, NULL);
		b.trial.relay.is_auto = true;
		b.trial.relay.joiner = NULL;
		b.trial.pools.sockmap_pays = pays;
		for (int i = 0; i < 5; i++)
			say_something(&b);
		assert_null(b.trial.relay.joined);
		b.trial.relay.born_ns -= 3600 * NSEC_PER_SEC;
		for (int i = 0; i < 5; i++)
			say_something(&b);
		if (pays) {
			assert_ptr_equal(b.trial.relay.joined, &engine_sockmap);
			assert_int_equal(b.trial.relay.dir[0].reason, ENGINE_LONG_LIVED);
		} else {
			assert_null(b.trial.relay.joined);
		}
		bench_close(&b);
	}
}

static void short_flows_leave_nothing_behind(void **state)
{
	enum { JOINS = 10000 };
	int joined = 0, flows;
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, MIB, NULL);
	for (flows = 0; joined < JOINS; flows++) {
		if (flows) {
			assert_int_equal(trial_connect(&b.trial, &b.conf), 0);
			b.sent[0] = b.sent[1] = b.received[0] = b.received[1] = 0;
		}
		for (int t = 0; t < 3; t++)
			turn(&b, 0);
		joined += b.trial.relay.joined != NULL;
		outer_send(&b, 0, 100);
		receive_all(&b, 1, 100);
		trial_disconnect(&b.trial);
	}
	print_message("             %d flows, of which %d found no slot that had rested\n", flows,
		      flows - joined);
	assert_int_equal(sockmap_share_in_use(&b.trial.pools), 0);
	assert_int_equal(sockmap_entries(b.conf.sockmap), 0);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VARIANT(bytes_are_exact, "cap 1 MiB", .cap = MIB),
		VARIANT(bytes_are_exact, "cap 64 KiB", .cap = 64 * KIB),
		VARIANT(bytes_are_exact, "IPv6", .cap = MIB, .conf.family = AF_INET6),
		VARIANT(bytes_are_exact, "small send buffers", .cap = MIB, .conf.sndbuf = 64 * KIB),
		VARIANT(bytes_are_exact, "tiny send buffers", .cap = MIB, .conf.sndbuf = 2048),
		VARIANT(half_close_passes_after_the_last_byte, "cap 1 MiB", .cap = MIB),
		VARIANT(half_close_passes_after_the_last_byte, "cap 64 KiB", .cap = 64 * KIB),
		VARIANT(half_close_passes_after_the_last_byte, "small send buffers", .cap = MIB,
			.conf.sndbuf = 64 * KIB),
		VARIANT(a_stopped_reader_is_bounded, "cap 1 MiB", .cap = MIB),
		VARIANT(a_stopped_reader_is_bounded, "cap 64 KiB", .cap = 64 * KIB),
		VARIANT(a_stuck_direction_does_not_hold_up_the_other, "cap 1 MiB", .cap = MIB),
		VARIANT(a_stuck_direction_does_not_hold_up_the_other, "small send buffers",
			.cap = MIB, .conf.sndbuf = 64 * KIB),
		cmocka_unit_test(the_kernel_relays_without_the_daemon),
		cmocka_unit_test(queued_data_is_relayed),
		cmocka_unit_test(half_read_data_is_not_repeated),
		cmocka_unit_test(a_bare_fin_ends_one_direction),
		cmocka_unit_test(an_end_does_not_overtake_what_the_kernel_queues),
		cmocka_unit_test(a_half_closed_flow_stays_on_copy),
		cmocka_unit_test(half_a_join_stays_on_copy),
		cmocka_unit_test(a_reset_is_an_error_of_its_side),
		cmocka_unit_test(what_can_not_be_bounded_is_reset),
		cmocka_unit_test(a_missing_target_costs_no_byte),
		cmocka_unit_test(without_a_slot_it_stays_on_copy),
		cmocka_unit_test(auto_joins_what_has_lived_long_where_it_pays),
		cmocka_unit_test(short_flows_leave_nothing_behind),
	};
	struct sockmap *m;

	/* Nobody else connects to a port there that a listener has just got. */
	(void)!net_unshare();
	m = open_map(1, MIB);
	sockmap_close(m);
	return cmocka_run_group_tests_name("sockmap", tests, NULL, NULL);
}
