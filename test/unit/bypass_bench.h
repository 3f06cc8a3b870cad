/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the local bypass share: a relay whose two ends are on this host, and which send
 * and check a known stream of bytes.
 */
#ifndef SHUNT_TEST_BYPASS_BENCH_H
#define SHUNT_TEST_BYPASS_BENCH_H

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_FLIGHT_MAX (64u << 20)

#include "engine_bypass.h"
#include "trial_bench.h"

#define SEED 20261124
#define FLOWS 64

static inline struct bypass *open_bypass(uint32_t cap)
{
	struct bypass_conf conf = {
		.workers = 1,
		.flows_per_worker = FLOWS,
		.unread_cap_bytes = cap,
	};
	struct bypass *b = NULL;

	if (bypass_open(&conf, &b, skip_reason, sizeof(skip_reason)))
		return NULL;
	return b;
}

/* Sets the reason why all tests are skipped, if there is one. */
static inline int probe_bpf(void **state)
{
	(void)state;
	bypass_close(open_bypass(MIB));
	return 0;
}

/* Only the end of side `local` is watched; -1: both are. */
static inline void bench_open_local(struct bench *b, uint32_t cap, int family, int local)
{
	*b = (struct bench){ .rng = SEED };
	b->conf = (struct trial_conf){
		.engine = &engine_copy,
		.bypass = open_bypass(cap),
		.is_remote = { local == BACKEND, local == CLIENT },
		.family = family,
		.max_buffers = 4,
	};
	assert_non_null(b->conf.bypass);
	assert_int_equal(trial_open(&b->trial, &b->conf), 0);
}

static inline void bench_open(struct bench *b, uint32_t cap, int family)
{
	bench_open_local(b, cap, family, -1);
	for (int i = 0; i < 2; i++)
		assert_non_null(relay_bypass_direction(&b->trial.relay, i));
}

/* With the ends go their entries; the kernel may take a moment to have a closed socket closed. */
static inline void bench_close(struct bench *b)
{
	trial_close(&b->trial);
	UNTIL(!bypass_ends(b->conf.bypass))
		usleep(1000);
	assert_int_equal(bypass_ends(b->conf.bypass), 0);
	bypass_close(b->conf.bypass);
}

static inline const struct bypass_direction *record(const struct bench *b, int from)
{
	return relay_bypass_direction(&b->trial.relay, from);
}

/* What is sent now goes around the proxy. */
static inline void expect_around(struct bench *b, int from, size_t len)
{
	uint64_t before = record(b, from)->bytes;

	assert_int_equal(outer_send(b, from, len), len);
	assert_int_equal(record(b, from)->bytes - before, len);
}

/* And this does not, for that reason. */
static inline void expect_through(struct bench *b, int from, size_t len, enum bypass_mode why)
{
	uint64_t before = record(b, from)->bytes;

	assert_int_equal(outer_send(b, from, len), len);
	assert_int_equal(record(b, from)->bytes, before);
	assert_int_equal(record(b, from)->mode, why);
}

static inline void expect_end(struct bench *b, int i)
{
	UNTIL(outer_receive(b, i, CHUNK_MAX) < 0)
		turn(b, 1);
	assert_int_equal(outer_receive(b, i, 1), -1);
}

/* Sends until nothing takes it any more. */
static inline void fill(struct bench *b, int from, size_t chunk)
{
	for (int stuck = 0; stuck < 20; stuck++) {
		while (outer_send(b, from, chunk))
			stuck = 0;
		turn(b, 1);
	}
}

static inline int run_until_it_fails(struct bench *b)
{
	int rc = 0;

	UNTIL(rc)
		rc = trial_turn(&b->trial, 1);
	return rc;
}

static inline void close_end(struct bench *b, int i)
{
	close(b->trial.outer[i]);
	b->trial.outer[i] = -1;
}

/* An end is reset, and the relay fails on its side. */
static inline void expect_reset(struct bench *b, int i)
{
	struct linger at_once = { 1, 0 };

	setsockopt(b->trial.outer[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close_end(b, i);
	assert_int_equal(run_until_it_fails(b), -ECONNRESET);
	assert_int_equal(b->trial.relay.failed_side, i);
}

/* --- who waits in recv(2) ---------------------------------------------------------------------- */

/* Longer than TCP delays an acknowledgement. */
#define ACKNOWLEDGED_TURNS 20
#define TURN_MS 10

struct receiver {
	int fd;
	ssize_t n;
	int error;
	_Atomic bool done;
};

static inline void *receive_one(void *arg)
{
	struct receiver *r = arg;
	uint8_t byte;

	r->n = recv(r->fd, &byte, 1, 0);
	r->error = errno;
	r->done = true;
	return NULL;
}

/* An end shuts its sending half and waits, blocking, for a byte of the other one: it must not be
 * woken for nothing. */
static inline void shut_and_wait(struct bench *b, int end)
{
	struct receiver r = { .fd = b->trial.outer[end] };
	pthread_t thread;

	assert_int_equal(fcntl(r.fd, F_SETFL, 0), 0);
	shutdown(r.fd, SHUT_WR);
	assert_int_equal(pthread_create(&thread, NULL, receive_one, &r), 0);
	for (int k = 0; k < ACKNOWLEDGED_TURNS; k++)
		turn(b, TURN_MS);
	outer_send(b, !end, 1);
	while (!r.done)
		turn(b, 1);
	pthread_join(thread, NULL);
	if (r.n < 0)
		fail_msg("recv: %s", strerror(r.error));
	assert_int_equal(r.n, 1);
}

#endif
