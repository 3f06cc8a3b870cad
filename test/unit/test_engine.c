/* SPDX-License-Identifier: MIT */
/*
 * The engines over real loopback sockets: every byte in order, whatever the chunks, the pools and
 * the reader's pace, and nothing held when nothing waits. Edges come from a real edge-triggered
 * epoll, as in the daemon.
 */
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cases.h"
#include "engine.h"
#include "net.h"

#define TOTAL (3u << 20)
#define CHUNK_MAX (200u << 10)
#define SEED 20240611
#define BURST 100000

/* The ends that the relay joins: outer[i] is the far end of side[i]. */
struct bench {
	struct relay relay;
	struct relay_pools pools;
	int outer[2];
	int epoll_fd;
	uint64_t rng;
	size_t sent[2], received[2]; /* by the outer end of that index */
	bool again;
};

static uint8_t byte_at(int stream, size_t offset)
{
	return (uint8_t)((offset * 2654435761u) >> 13) ^ (uint8_t)(offset >> 8) ^
	       (uint8_t)(stream * 0x5a);
}

static void tcp_pair(int fds[2], int sndbuf)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	assert_return_code(bind(l, (struct sockaddr *)&a, len), errno);
	assert_return_code(listen(l, 1), errno);
	assert_return_code(getsockname(l, (struct sockaddr *)&a, &len), errno);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (sndbuf)
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
	assert_return_code(connect(fds[0], (struct sockaddr *)&a, len), errno);
	fds[1] = accept(l, NULL, NULL);
	close(l);
	for (int i = 0; i < 2; i++)
		fcntl(fds[i], F_SETFL, O_NONBLOCK);
}

static void bench_open(struct bench *b, const struct engine *engine, size_t buffers, size_t pipes,
		       int sndbuf)
{
	*b = (struct bench){ .rng = SEED, .epoll_fd = epoll_create1(0) };
	assert_return_code(relay_pools_init(&b->pools, buffers, pipes), errno);
	relay_init(&b->relay, &b->pools, engine, false);
	for (int i = 0; i < 2; i++) {
		struct epoll_event ev = { EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET,
					  { .u32 = (uint32_t)i } };
		int on = 1, fds[2];

		tcp_pair(fds, sndbuf);
		setsockopt(fds[0], SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
		b->relay.side[i].watch.fd = fds[0];
		b->outer[i] = fds[1];
		assert_return_code(epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, fds[0], &ev), errno);
	}
}

static void bench_close(struct bench *b)
{
	relay_release(&b->relay);
	for (int i = 0; i < 2; i++) {
		close(b->relay.side[i].watch.fd);
		if (b->outer[i] >= 0)
			close(b->outer[i]);
	}
	close(b->epoll_fd);
	relay_pools_close(&b->pools);
}

/* One turn of a worker's loop. Returns the first error of a pump, or 0. */
static int bench_turn(struct bench *b, int timeout_ms)
{
	struct epoll_event events[2];
	int n = epoll_wait(b->epoll_fd, events, 2, b->again ? 0 : timeout_ms);

	b->again = false;
	for (int i = 0; i < n; i++)
		side_note_events(&b->relay.side[events[i].data.u32], events[i].events);
	for (int from = 0; from < 2; from++) {
		int rc = relay_pump(&b->relay, from);

		if (rc < 0)
			return rc;
		if (rc == PUMP_MORE)
			b->again = true;
	}
	return 0;
}

/* Until the relay's own socket holds so many bytes. */
static void wait_until_queued(int fd, size_t bytes)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	for (int i = 0; i < 1000; i++) {
		assert_return_code(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), errno);
		if (info.tcpi_bytes_received >= bytes)
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("%zu bytes have not arrived", bytes);
}

static void outer_send(struct bench *b, int i, size_t total)
{
	uint8_t chunk[CHUNK_MAX];
	size_t len = 1 + rng_below(&b->rng, rng_below(&b->rng, 4) ? 4000 : CHUNK_MAX);
	ssize_t n;

	len = MIN(len, total - b->sent[i]);
	for (size_t k = 0; k < len; k++)
		chunk[k] = byte_at(i, b->sent[i] + k);
	n = len ? send(b->outer[i], chunk, len, MSG_NOSIGNAL) : 0;
	if (n > 0)
		b->sent[i] += (size_t)n;
}

static void outer_receive(struct bench *b, int i)
{
	uint8_t chunk[CHUNK_MAX];
	ssize_t n = recv(b->outer[i], chunk, 1 + rng_below(&b->rng, CHUNK_MAX), 0);

	for (ssize_t k = 0; k < n; k++)
		if (chunk[k] != byte_at(!i, b->received[i] + (size_t)k))
			fail_msg("byte %zu from end %d is wrong", b->received[i] + (size_t)k, !i);
	if (n > 0)
		b->received[i] += (size_t)n;
}

/*
 * Both directions at once, TOTAL bytes each, with readers that stop now and then. Tiny send buffers
 * make TCP wait for delayed acknowledgements: a turn that moves nothing sleeps, and only many of
 * them in a row are a stall.
 */
static void exchange(struct bench *b)
{
	bool reads[2] = { true, true };
	size_t seen = 0;

	for (int stalled = 0; b->received[0] < TOTAL || b->received[1] < TOTAL; stalled++) {
		size_t moved;

		assert_true(stalled < 10000);
		for (int i = 0; i < 2; i++) {
			outer_send(b, i, TOTAL);
			if (!rng_below(&b->rng, 40))
				reads[i] = !reads[i];
			if (reads[i] || b->sent[!i] == TOTAL)
				outer_receive(b, i);
		}
		assert_int_equal(bench_turn(b, stalled > 2), 0);
		moved = b->relay.moved + b->sent[0] + b->sent[1] + b->received[0] + b->received[1];
		if (moved != seen)
			stalled = 0;
		seen = moved;
	}
	assert_int_equal(b->relay.dir[0].bytes, TOTAL);
	assert_int_equal(b->relay.dir[1].bytes, TOTAL);
	assert_int_equal(b->pools.buffers.n_out, 0);
	assert_int_equal(b->pools.pipes.n_out, 0);
}

struct variant {
	const struct engine *engine; /* NULL: auto */
	size_t buffers, pipes;
	int sndbuf;
};

static void bytes_are_exact(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	bench_open(&b, v->engine, v->buffers, v->pipes, v->sndbuf);
	exchange(&b);
	bench_close(&b);
}

/*
 * All the sender will ever say is in the source's queue before the relay looks, and no further edge
 * comes: an engine that takes a queue for empty too early leaves the rest there for ever.
 */
static void one_burst_and_then_silence(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	bench_open(&b, v->engine, v->buffers, v->pipes, v->sndbuf);
	while (b.sent[0] < BURST)
		outer_send(&b, 0, BURST);
	wait_until_queued(b.relay.side[0].watch.fd, BURST);
	UNTIL(b.received[1] >= BURST) {
		assert_int_equal(bench_turn(&b, 5), 0);
		outer_receive(&b, 1);
	}
	assert_int_equal(b.received[1], BURST);
	bench_close(&b);
}

/* A stuck reader takes the only buffer; the other direction still moves, and holds none. */
static void a_stuck_reader_stops_nobody_else(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b, &engine_copy, 1, 0, 4096);
	for (int turn = 0; turn < 3000; turn++) {
		outer_send(&b, 0, 64u << 20);
		bench_turn(&b, 0);
	}
	assert_int_equal(b.pools.buffers.n_out, 1);
	while (b.received[0] < TOTAL) {
		outer_send(&b, 1, TOTAL);
		outer_receive(&b, 0);
		assert_int_equal(bench_turn(&b, 0), 0);
	}
	assert_int_equal(b.pools.buffers.n_out, 1);
	bench_close(&b);
}

static void half_close_passes_after_the_last_byte(void **state)
{
	const struct variant *v = *state;
	struct bench b;
	char c;

	bench_open(&b, v->engine, v->buffers, v->pipes, v->sndbuf);
	while (b.sent[0] < 100000)
		outer_send(&b, 0, 100000);
	shutdown(b.outer[0], SHUT_WR);
	while (b.received[1] < 100000) {
		bench_turn(&b, 10);
		outer_receive(&b, 1);
	}
	while (!b.relay.dir[0].ended)
		assert_int_equal(bench_turn(&b, 1000), 0);
	assert_int_equal(recv(b.outer[1], &c, 1, 0), 0);
	assert_false(relay_is_done(&b.relay));
	while (b.sent[1] < 100000)
		outer_send(&b, 1, 100000);
	shutdown(b.outer[1], SHUT_WR);
	while (b.received[0] < 100000) {
		bench_turn(&b, 10);
		outer_receive(&b, 0);
	}
	while (!relay_is_done(&b.relay))
		assert_int_equal(bench_turn(&b, 1000), 0);
	bench_close(&b);
}

static void a_reset_is_an_error_of_its_side(void **state)
{
	const struct variant *v = *state;
	struct linger at_once = { 1, 0 };
	struct bench b;
	int rc = 0;

	bench_open(&b, v->engine, v->buffers, v->pipes, v->sndbuf);
	bench_turn(&b, 0);
	setsockopt(b.outer[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(b.outer[1]);
	b.outer[1] = -1;
	UNTIL(rc)
		rc = bench_turn(&b, 1000);
	assert_int_equal(rc, -ECONNRESET);
	assert_int_equal(b.relay.failed_side, 1);
	bench_close(&b);
}

/* An urgent byte in the middle: reads stop at its mark, splice for ever; no byte may be lost there.
 */
static void urgent_data_loses_nothing(void **state)
{
	const struct variant *v = *state;
	struct bench b;
	uint8_t urgent;

	bench_open(&b, v->engine, v->buffers, v->pipes, v->sndbuf);
	while (b.sent[0] < 50000)
		outer_send(&b, 0, 50000);
	urgent = byte_at(0, b.sent[0]++);
	assert_int_equal(send(b.outer[0], &urgent, 1, MSG_OOB), 1);
	while (b.sent[0] < 90000)
		outer_send(&b, 0, 90000);
	wait_until_queued(b.relay.side[0].watch.fd, 90000);
	UNTIL(b.received[1] >= 90000) {
		assert_int_equal(bench_turn(&b, 10), 0);
		outer_receive(&b, 1);
	}
	assert_int_equal(b.received[1], 90000);
	bench_close(&b);
}

/*
 * Urgent data and the end come in while a pump is under way, before any event has told of them. At
 * the mark splice(2) then says 0, as it does at the end of a stream.
 */
static void an_urgent_mark_is_not_the_end(void **state)
{
	const struct variant *v = *state;
	struct bench b;
	uint8_t urgent;

	bench_open(&b, v->engine, v->buffers, v->pipes, v->sndbuf);
	while (b.sent[0] < 5000)
		outer_send(&b, 0, 5000);
	urgent = byte_at(0, b.sent[0]++);
	assert_int_equal(send(b.outer[0], &urgent, 1, MSG_OOB), 1);
	while (b.sent[0] < 9000)
		outer_send(&b, 0, 9000);
	assert_return_code(shutdown(b.outer[0], SHUT_WR), errno);
	wait_until_queued(b.relay.side[0].watch.fd, 9000);
	b.relay.side[0].readable = b.relay.side[1].writable = true;
	assert_true(relay_pump(&b.relay, 0) >= 0);
	UNTIL(b.received[1] == 9000 && b.relay.dir[0].ended) {
		assert_int_equal(bench_turn(&b, 1), 0);
		outer_receive(&b, 1);
	}
	assert_int_equal(b.received[1], 9000);
	assert_true(b.relay.dir[0].ended);
	bench_close(&b);
}

static void auto_goes_to_splice_for_bulk_and_back(void **state)
{
	struct bench b;
	uint8_t *block = calloc(1, 1 << 20);

	(void)state;
	bench_open(&b, NULL, 16, 4, 0);
	assert_ptr_equal(b.relay.dir[0].engine, &engine_copy);
	for (int turn = 0; turn < 20000 && b.relay.dir[0].engine == &engine_copy; turn++) {
		if (send(b.outer[0], block, 1 << 20, MSG_NOSIGNAL) < 0)
			assert_int_equal(errno, EAGAIN);
		bench_turn(&b, 0);
		while (recv(b.outer[1], block, 1 << 20, 0) > 0)
			;
	}
	assert_ptr_equal(b.relay.dir[0].engine, &engine_splice);
	assert_int_equal(b.relay.dir[0].reason, ENGINE_BULK);
	assert_ptr_equal(b.relay.dir[1].engine, &engine_copy);
	for (int turn = 0; turn < 20000 && b.relay.dir[0].engine == &engine_splice; turn++) {
		struct pollfd p = { .fd = b.outer[1], .events = POLLIN };

		assert_int_equal(send(b.outer[0], block, 100, MSG_NOSIGNAL), 100);
		do
			bench_turn(&b, 1);
		while (poll(&p, 1, 0) == 0);
		while (recv(b.outer[1], block, 1 << 20, 0) > 0)
			;
	}
	assert_ptr_equal(b.relay.dir[0].engine, &engine_copy);
	assert_int_equal(b.relay.dir[0].reason, ENGINE_SMALL_READS);
	free(block);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VARIANT(bytes_are_exact, "copy", &engine_copy, 16, 0, 0),
		VARIANT(bytes_are_exact, "copy, tiny send buffers", &engine_copy, 16, 0, 2048),
		VARIANT(bytes_are_exact, "copy, no buffers left", &engine_copy, 0, 0, 0),
		VARIANT(bytes_are_exact, "copy, no buffers left, tiny send buffers", &engine_copy,
			0, 0, 2048),
		VARIANT(bytes_are_exact, "splice", &engine_splice, 16, 4, 0),
		VARIANT(bytes_are_exact, "splice, tiny send buffers", &engine_splice, 16, 4, 2048),
		VARIANT(bytes_are_exact, "splice, one pipe for both", &engine_splice, 16, 1, 2048),
		VARIANT(bytes_are_exact, "splice, no pipes and no buffers left", &engine_splice, 0,
			0, 0),
		VARIANT(bytes_are_exact, "auto", NULL, 16, 4, 0),
		VARIANT(one_burst_and_then_silence, "copy", &engine_copy, 16, 0, 2048),
		VARIANT(one_burst_and_then_silence, "copy, no buffers left", &engine_copy, 0, 0,
			2048),
		VARIANT(one_burst_and_then_silence, "splice", &engine_splice, 16, 4, 2048),
		VARIANT(half_close_passes_after_the_last_byte, "copy", &engine_copy, 16, 0, 0),
		VARIANT(half_close_passes_after_the_last_byte, "copy, tiny send buffers",
			&engine_copy, 16, 0, 2048),
		VARIANT(half_close_passes_after_the_last_byte, "splice, tiny send buffers",
			&engine_splice, 16, 4, 2048),
		VARIANT(half_close_passes_after_the_last_byte, "copy, no buffers left",
			&engine_copy, 0, 0, 0),
		VARIANT(half_close_passes_after_the_last_byte, "splice", &engine_splice, 16, 4, 0),
		VARIANT(a_reset_is_an_error_of_its_side, "copy", &engine_copy, 16, 0, 0),
		VARIANT(a_reset_is_an_error_of_its_side, "splice", &engine_splice, 16, 4, 0),
		VARIANT(urgent_data_loses_nothing, "copy", &engine_copy, 16, 0, 0),
		VARIANT(urgent_data_loses_nothing, "copy, no buffers left", &engine_copy, 0, 0, 0),
		VARIANT(urgent_data_loses_nothing, "splice", &engine_splice, 16, 4, 0),
		VARIANT(an_urgent_mark_is_not_the_end, "copy", &engine_copy, 16, 0, 0),
		VARIANT(an_urgent_mark_is_not_the_end, "splice", &engine_splice, 16, 4, 0),
		cmocka_unit_test(a_stuck_reader_stops_nobody_else),
		cmocka_unit_test(auto_goes_to_splice_for_bulk_and_back),
	};

	/* Nobody else connects to a port there that a listener has just got. */
	(void)!net_unshare();
	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
