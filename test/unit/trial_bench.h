/* SPDX-License-Identifier: MIT */
/*
 * What the tests of kernel planes share: a trial, and its two ends, which send and check a known
 * stream of bytes. Who includes it says how much may be under way: IN_FLIGHT_MAX.
 */
#ifndef SHUNT_TEST_TRIAL_BENCH_H
#define SHUNT_TEST_TRIAL_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "cases.h"
#include "trial.h"

#define CHUNK_MAX (256u << 10)
#define KIB 1024u
#define MIB (1024u * 1024u)

struct bench {
	struct trial trial;
	struct trial_conf conf; /* with what is tried */
	uint64_t rng;
	size_t sent[2], received[2];
};

static inline uint8_t byte_at(int stream, size_t offset)
{
	return (uint8_t)((offset * 2654435761u) >> 13) ^ (uint8_t)(offset >> 8) ^
	       (uint8_t)(stream * 0x5a);
}

static inline void turn(struct bench *b, int wait_ms)
{
	assert_int_equal(trial_turn(&b->trial, wait_ms), 0);
}

static inline size_t outer_send(struct bench *b, int i, size_t len)
{
	static uint8_t chunk[CHUNK_MAX];
	ssize_t n;

	/* A test must not find out that there is no bound by using up the host's memory. */
	if (b->sent[i] - b->received[!i] > IN_FLIGHT_MAX)
		fail_msg("end %d has %zu bytes under way: there is no bound", i,
			 b->sent[i] - b->received[!i]);
	for (size_t k = 0; k < len; k++)
		chunk[k] = byte_at(i, b->sent[i] + k);
	n = len ? send(b->trial.outer[i], chunk, len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	if (n > 0)
		b->sent[i] += (size_t)n;
	return n > 0 ? (size_t)n : 0;
}

static inline void check_bytes(const struct bench *b, int i, const uint8_t *data, ssize_t n)
{
	for (ssize_t k = 0; k < n; k++)
		if (data[k] != byte_at(!i, b->received[i] + (size_t)k))
			fail_msg("byte %zu from end %d is wrong", b->received[i] + (size_t)k, !i);
}

/* 0: nothing now; -1: the end. */
static inline ssize_t outer_receive(struct bench *b, int i, size_t len)
{
	static uint8_t chunk[CHUNK_MAX];
	ssize_t n = recv(b->trial.outer[i], chunk, len, MSG_DONTWAIT);

	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	check_bytes(b, i, chunk, n);
	if (n > 0)
		b->received[i] += (size_t)n;
	return n == 0 ? -1 : MAX(n, 0);
}

static inline void receive_all(struct bench *b, int i, size_t total)
{
	UNTIL(b->received[i] >= total) {
		turn(b, 1);
		while (outer_receive(b, i, CHUNK_MAX) > 0)
			;
	}
	assert_int_equal(b->received[i], total);
}

/* All that the other end has sent. */
static inline void receive_rest(struct bench *b, int i)
{
	receive_all(b, i, b->sent[!i]);
}

static inline size_t random_size(struct bench *b)
{
	return 1 + rng_below(&b->rng, rng_below(&b->rng, 4) ? 4000 : CHUNK_MAX);
}

/* Both directions at once, with random chunks and readers that stop now and then. */
static inline void exchange(struct bench *b, size_t total)
{
	bool reads[2] = { true, true };

	for (int k = 0; b->received[0] < total || b->received[1] < total; k++) {
		assert_true(k < 4000000);
		for (int i = 0; i < 2; i++) {
			size_t len = random_size(b);

			outer_send(b, i, MIN(len, total - b->sent[i]));
			if (b->sent[!i] == total)
				reads[i] = true;
			else if (!rng_below(&b->rng, 40))
				reads[i] = !reads[i];
			if (reads[i])
				assert_true(outer_receive(b, i, random_size(b)) >= 0);
		}
		turn(b, 0);
	}
}

#endif
