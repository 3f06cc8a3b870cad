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
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_FLIGHT_MAX (160u << 20)

#include "engine_sockmap.h"
#include "trial_bench.h"

#define TOTAL (8u << 20)
#define SEED 20250607
#define FLOWS 2048

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
	b->conf.sockmap = open_map(FLOWS, cap);
	assert_non_null(b->conf.sockmap);
	b->conf.engine = &engine_sockmap;
	if (!b->conf.max_buffers)
		b->conf.max_buffers = 16;
	assert_int_equal(trial_open(&b->trial, &b->conf), 0);
}

static inline void bench_close(struct bench *b)
{
	trial_close(&b->trial);
	assert_int_equal(sockmap_entries(b->conf.sockmap), 0);
	sockmap_close(b->conf.sockmap);
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
	UNTIL(is_resumed(b, 0) && is_resumed(b, 1))
		turn(b, 5);
	assert_true(is_resumed(b, 0) && is_resumed(b, 1));
	turn(b, 0);
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
