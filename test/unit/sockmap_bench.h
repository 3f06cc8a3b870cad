/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the sockmap engine share: a joined trial, its two ends that send and check a
 * known stream of bytes, and a look at what the kernel holds in between.
 */
#ifndef SHUNT_TEST_SOCKMAP_BENCH_H
#define SHUNT_TEST_SOCKMAP_BENCH_H

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cases.h"
#include "engine_sockmap.h"
#include "trial.h"

#define TOTAL (8u << 20)
#define CHUNK_MAX (256u << 10)
#define SEED 20250607
#define FLOWS 2048
#define IN_FLIGHT_MAX (160u << 20)
#define KIB 1024u
#define MIB (1024u * 1024u)

struct bench {
	struct trial trial;
	struct trial_conf conf;
	struct sockmap *map;
	uint64_t rng;
	size_t sent[2], received[2];
};

static inline uint8_t byte_at(int stream, size_t offset)
{
	return (uint8_t)((offset * 2654435761u) >> 13) ^ (uint8_t)(offset >> 8) ^
	       (uint8_t)(stream * 0x5a);
}

static inline struct sockmap *open_map(uint32_t flows, uint32_t cap)
{
	struct sockmap_conf conf = {
		.workers = 1,
		.flows_per_worker = flows,
		.backlog_cap_bytes = cap,
	};
	struct sockmap *m = NULL;

	if (sockmap_open(&conf, &m, skip_reason, sizeof(skip_reason)))
		return NULL;
	return m;
}

static inline void bench_open(struct bench *b, uint32_t cap, const struct trial_conf *conf)
{
	*b = (struct bench){ .rng = SEED };
	if (conf)
		b->conf = *conf;
	b->map = open_map(FLOWS, cap);
	assert_non_null(b->map);
	b->conf.engine = &engine_sockmap;
	b->conf.sockmap = b->map;
	if (!b->conf.max_buffers)
		b->conf.max_buffers = 16;
	assert_int_equal(trial_open(&b->trial, &b->conf), 0);
}

static inline void bench_close(struct bench *b)
{
	trial_close(&b->trial);
	assert_int_equal(sockmap_entries(b->map), 0);
	sockmap_close(b->map);
}

static inline void turn(struct bench *b, int wait_ms)
{
	assert_int_equal(trial_turn(&b->trial, wait_ms), 0);
}

static inline bool is_resumed(struct bench *b, int from)
{
	const struct shunt_direction *d = relay_sockmap_direction(&b->trial.relay, from);

	return d && (d->mode == SHUNT_REDIRECT || d->resume_at == d->passed);
}

/* Holds up both targets' TCP, where the program does not see it. */
static inline void limit_unsent(struct bench *b, int bytes)
{
	for (int i = 0; i < 2; i++)
		setsockopt(b->trial.relay.side[i].watch.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes,
			   sizeof(bytes));
}

/* Until the kernel has both directions. */
static inline void join(struct bench *b)
{
	for (int i = 0; i < 200 && !(is_resumed(b, 0) && is_resumed(b, 1)); i++)
		turn(b, 5);
	assert_true(is_resumed(b, 0) && is_resumed(b, 1));
	turn(b, 0);
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

/* 0: nothing now; -1: the end. */
static inline ssize_t outer_receive(struct bench *b, int i, size_t len)
{
	static uint8_t chunk[CHUNK_MAX];
	ssize_t n = recv(b->trial.outer[i], chunk, len, MSG_DONTWAIT);

	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	for (ssize_t k = 0; k < n; k++)
		if (chunk[k] != byte_at(!i, b->received[i] + (size_t)k))
			fail_msg("byte %zu from end %d is wrong", b->received[i] + (size_t)k, !i);
	if (n > 0)
		b->received[i] += (size_t)n;
	return n == 0 ? -1 : MAX(n, 0);
}

static inline void receive_all(struct bench *b, int i, size_t total)
{
	for (int k = 0; k < 20000 && b->received[i] < total; k++) {
		turn(b, 1);
		while (outer_receive(b, i, CHUNK_MAX) > 0)
			;
	}
	assert_int_equal(b->received[i], total);
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

struct variant {
	uint32_t cap;
	struct trial_conf conf;
};

/* What of a direction's bytes neither end has in its own buffers: the kernel has them for the
 * relay. */
static inline size_t in_between(struct bench *b, int from)
{
	int unsent = 0, unread = 0;

	ioctl(b->trial.outer[from], SIOCOUTQ, &unsent);
	ioctl(b->trial.outer[!from], FIONREAD, &unread);
	return b->sent[from] - b->received[!from] - (size_t)unsent - (size_t)unread;
}

/* Not more than the relay's own two TCP buffers may hold, the cap, and 1 MiB. */
static inline void assert_bounded(struct bench *b, int from, uint32_t cap)
{
	int sndbuf, rcvbuf;
	socklen_t len = sizeof(int);
	size_t held = in_between(b, from);

	getsockopt(b->trial.relay.side[!from].watch.fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, &len);
	getsockopt(b->trial.relay.side[from].watch.fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, &len);
	print_message(
		"             direction %d: sent %zu, held for the relay %zu; its TCP buffers may "
		"hold %d + %d\n",
		from, b->sent[from], held, sndbuf, rcvbuf);
	assert_true(held <= (size_t)sndbuf + (size_t)rcvbuf + cap + MIB);
}

static inline void print_records(struct bench *b)
{
	for (int i = 0; i < 2; i++) {
		const struct shunt_direction *d = relay_sockmap_direction(&b->trial.relay, i);

		print_message(
			"             direction %d: redirected %llu, passed %llu, promotions %u, "
			"demotions %u, highest backlog %u\n",
			i, (unsigned long long)d->redirected, (unsigned long long)d->passed,
			d->promotions, d->demotions, d->backlog_max);
	}
}

#endif
