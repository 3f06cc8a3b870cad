/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the local bypass share: a relay whose two ends are on this host, and which send
 * and check a known stream of bytes.
 */
#ifndef SHUNT_TEST_BYPASS_BENCH_H
#define SHUNT_TEST_BYPASS_BENCH_H

#include <netinet/in.h>
#include <poll.h>
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

static inline void bench_open(struct bench *b, uint32_t cap, int family)
{
	*b = (struct bench){ .rng = SEED };
	b->conf = (struct trial_conf){
		.engine = &engine_copy,
		.bypass = open_bypass(cap),
		.family = family,
		.max_buffers = 4,
	};
	assert_non_null(b->conf.bypass);
	assert_int_equal(trial_open(&b->trial, &b->conf), 0);
	for (int i = 0; i < 2; i++)
		assert_non_null(relay_bypass_direction(&b->trial.relay, i));
}

/* With the ends go their entries; the kernel may take a moment to have a closed socket closed. */
static inline void bench_close(struct bench *b)
{
	trial_close(&b->trial);
	for (int k = 0; k < 1000 && bypass_ends(b->conf.bypass); k++)
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
	for (int k = 0; k < 1000 && outer_receive(b, i, CHUNK_MAX) >= 0; k++)
		turn(b, 1);
	assert_int_equal(outer_receive(b, i, 1), -1);
}

#endif
