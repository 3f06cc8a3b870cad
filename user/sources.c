/* SPDX-License-Identifier: MIT */
#include "sources.h"

#include <endian.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

struct source {
	const void *owner; /* NULL: the entry is free */
	uint64_t network;
	uint64_t used_ns;
	uint64_t full_at_ns; /* the bucket lacks a token for each interval from now until then */
	uint32_t connections;
};

struct sources {
	uint64_t seed[2];
	_Atomic uint64_t untracked;
	pthread_mutex_t lock[SOURCES_LOCKS]; /* of the sets whose numbers are equal modulo this */
	struct source set[SOURCES_SETS][SOURCES_WAYS];
};

struct sources *sources_new(void)
{
	struct sources *t = xcalloc(1, sizeof(*t));

	/* A short answer is as good as none: the kernel has no entropy yet. */
	if (getrandom(t->seed, sizeof(t->seed), GRND_NONBLOCK) != sizeof(t->seed)) {
		t->seed[0] = rng_seed((uintptr_t)t);
		t->seed[1] = rng_seed(t->seed[0]);
	}
	for (size_t i = 0; i < SOURCES_LOCKS; i++)
		pthread_mutex_init(&t->lock[i], NULL);
	return t;
}

void sources_free(struct sources *t)
{
	for (size_t i = 0; t && i < SOURCES_LOCKS; i++)
		pthread_mutex_destroy(&t->lock[i]);
	free(t);
}

/* IPv4 addresses as ::ffff:0:0/32, where no host of IPv6 is. */
static uint64_t network_of(const struct addr *a)
{
	uint64_t half[2];

	if (a->sa.sa_family == AF_INET)
		return 0xffffull << 32 | ntohl(a->in.sin_addr.s_addr);
	memcpy(half, a->in6.sin6_addr.s6_addr, sizeof(half));
	if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr) || IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr))
		return be64toh(half[1]);
	return be64toh(half[0]);
}

/*
 * The mixer is no cipher, and needs not be one: it stands between two secret numbers, and nothing
 * that a client can see depends on the set that it is in.
 */
static size_t set_of(const struct sources *t, const void *owner, uint64_t network)
{
	uint64_t h = mix64(network ^ t->seed[0]);

	return mix64(h ^ (uintptr_t)owner ^ t->seed[1]) % SOURCES_SETS;
}

static pthread_mutex_t *lock_of(struct sources *t, size_t set)
{
	return &t->lock[set % SOURCES_LOCKS];
}

/* Under the lock: the source's entry, an old one or a new one; NULL: all are taken. */
static struct source *find(struct source *set, const void *owner, uint64_t network)
{
	struct source *oldest = NULL;

	for (size_t i = 0; i < SOURCES_WAYS; i++) {
		struct source *s = &set[i];

		if (s->owner == owner && s->network == network)
			return s;
		if (!s->connections && (!oldest || s->used_ns < oldest->used_ns))
			oldest = s;
	}
	if (oldest)
		*oldest = (struct source){ .owner = owner, .network = network };
	return oldest;
}

/*
 * The token bucket as one number (ITU-T I.371's virtual scheduling): when it will be full again. A
 * token moves that by an interval, and is there if that is not more than `burst` of them ahead.
 */
static enum source_verdict judge(struct source *s, const struct source_limits *l, uint64_t now_ns)
{
	uint64_t full_at_ns = MAX(s->full_at_ns, now_ns) + l->interval_ns;

	if (l->connections && s->connections >= l->connections)
		return SOURCE_TOO_MANY;
	if (l->interval_ns && full_at_ns - now_ns > l->burst * l->interval_ns)
		return SOURCE_TOO_FAST;
	s->full_at_ns = full_at_ns;
	s->connections += l->connections > 0;
	return SOURCE_ADMITTED;
}

enum source_verdict sources_admit(struct sources *t, const void *owner, const struct addr *client,
				  const struct source_limits *limits, uint64_t now_ns,
				  struct source **held)
{
	uint64_t network = network_of(client);
	size_t set = set_of(t, owner, network);
	enum source_verdict verdict = SOURCE_ADMITTED;
	struct source *s;

	*held = NULL;
	pthread_mutex_lock(lock_of(t, set));
	s = find(t->set[set], owner, network);
	if (s) {
		s->used_ns = now_ns;
		verdict = judge(s, limits, now_ns);
		if (verdict == SOURCE_ADMITTED && limits->connections)
			*held = s;
	}
	pthread_mutex_unlock(lock_of(t, set));
	if (!s)
		atomic_fetch_add_explicit(&t->untracked, 1, memory_order_relaxed);
	return verdict;
}

void sources_leave(struct sources *t, struct source *s)
{
	size_t set = (size_t)(s - t->set[0]) / SOURCES_WAYS;

	pthread_mutex_lock(lock_of(t, set));
	s->connections--;
	pthread_mutex_unlock(lock_of(t, set));
}

uint64_t sources_untracked(const struct sources *t)
{
	return atomic_load_explicit(&t->untracked, memory_order_relaxed);
}
