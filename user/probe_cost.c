/* SPDX-License-Identifier: MIT */
#include "probe_cost.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "trial.h"

#define MESSAGE_BYTES 64
#define BATCHES 3
/* One alone needs more of them for a figure; a crowd has its many messages in each. */
#define ROUNDS_ALONE 40
#define ROUNDS_OF_CROWD 12
#define ROUNDS_TO_SETTLE 5 /* before the clock starts: the join, and caches */
#define ANSWER_MAX_MS 200

/* All clients and backends, on a thread of their own, as the relays must have it in life. */
struct ends {
	struct trial *trials;
	size_t n;
	uint64_t ns; /* a round trip */
	int error;
	_Atomic bool done;
};

static int send_message(int fd)
{
	static const char message[MESSAGE_BYTES];

	return send(fd, message, sizeof(message), MSG_NOSIGNAL) == MESSAGE_BYTES ? 0 : -EIO;
}

static int receive_message(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char message[MESSAGE_BYTES];
	size_t got = 0;

	while (got < sizeof(message)) {
		ssize_t n;

		if (poll(&p, 1, ANSWER_MAX_MS) != 1)
			return -ETIMEDOUT;
		n = recv(fd, message + got, sizeof(message) - got, MSG_DONTWAIT);
		if (n <= 0 && errno != EAGAIN)
			return -EIO;
		if (n > 0)
			got += (size_t)n;
	}
	return 0;
}

/* A message on each flow to the backend, and one on each back. */
static int round_trip(const struct ends *e)
{
	int rc = 0;

	for (int from = 0; from < 2; from++) {
		for (size_t i = 0; !rc && i < e->n; i++)
			rc = send_message(e->trials[i].outer[from]);
		for (size_t i = 0; !rc && i < e->n; i++)
			rc = receive_message(e->trials[i].outer[!from]);
	}
	return rc;
}

static void *play_ends(void *arg)
{
	struct ends *e = arg;
	unsigned int rounds = e->n > 1 ? ROUNDS_OF_CROWD : ROUNDS_ALONE;
	uint64_t started_ns;

	for (int i = 0; !e->error && i < ROUNDS_TO_SETTLE; i++)
		e->error = round_trip(e);
	started_ns = clock_ns();
	for (unsigned int i = 0; !e->error && i < rounds; i++)
		e->error = round_trip(e);
	e->ns = (clock_ns() - started_ns) / (rounds * e->n);
	atomic_store(&e->done, true);
	return NULL;
}

static int relay_for(struct ends *e)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, play_ends, e);

	if (rc)
		return -rc;
	while (!rc && !atomic_load(&e->done)) {
		rc = trial_turn(&e->trials[0], 1);
		for (size_t i = 1; !rc && i < e->n; i++)
			rc = trial_pump(&e->trials[i]);
	}
	pthread_join(thread, NULL);
	return rc ? rc : e->error;
}

static int measure_batch(struct sockmap *map, const struct engine *engine, size_t n, uint64_t *ns)
{
	struct trial_conf conf = { .engine = engine, .sockmap = map, .max_buffers = 2 };
	struct trial trials[PROBE_COST_CROWD];
	struct ends e = { .trials = trials, .n = n };
	size_t opened = 0;
	int rc = 0;

	/* The first one is the host of the others: a worker with n flows. */
	for (; !rc && opened < n; opened++) {
		conf.host = opened ? &trials[0] : NULL;
		rc = trial_open(&trials[opened], &conf);
	}
	if (!rc)
		rc = relay_for(&e);
	while (opened)
		trial_close(&trials[--opened]);
	*ns = e.ns;
	return rc;
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int measure(struct sockmap *map, size_t n, struct probe_cost_pair *out)
{
	uint64_t copy[BATCHES], sockmap[BATCHES];
	int rc = 0;

	/* In turns: what slows the host for a while slows both. */
	for (int i = 0; !rc && i < BATCHES; i++) {
		rc = measure_batch(map, &engine_copy, n, &copy[i]);
		if (!rc)
			rc = measure_batch(map, &engine_sockmap, n, &sockmap[i]);
	}
	if (rc)
		return rc;
	qsort(copy, BATCHES, sizeof(copy[0]), compare_ns);
	qsort(sockmap, BATCHES, sizeof(sockmap[0]), compare_ns);
	out->copy_ns = copy[BATCHES / 2];
	out->sockmap_ns = sockmap[BATCHES / 2];
	return 0;
}

static bool is_faster(const struct probe_cost_pair *p)
{
	return p->sockmap_ns * 100 < p->copy_ns * (100 - PROBE_PAYS_PERCENT);
}

int probe_cost_measure(struct sockmap *map, struct probe_cost *out)
{
	int rc = measure(map, 1, &out->alone);

	/* A flow can't come back from the kernel, so it must be better off there in either case: of
	 * one that is not, nothing more need be known. */
	out->crowd = (struct probe_cost_pair){ 0 };
	out->pays = false;
	if (rc || !is_faster(&out->alone))
		return rc;
	rc = measure(map, PROBE_COST_CROWD, &out->crowd);
	out->pays = !rc && is_faster(&out->crowd);
	return rc;
}
