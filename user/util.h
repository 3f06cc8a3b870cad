/* SPDX-License-Identifier: MIT */
/*
 * The small things every module needs. A leaf: it includes nothing of the project. Whatever has
 * state or does input and output belongs somewhere else.
 */
#ifndef SHUNT_UTIL_H
#define SHUNT_UTIL_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define NSEC_PER_SEC 1000000000ull
#define NSEC_PER_MSEC 1000000ull
#define NSEC_PER_USEC 1000ull

static inline uint64_t clock_of_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Nanoseconds of CLOCK_MONOTONIC. */
static inline uint64_t clock_ns(void)
{
	return clock_of_ns(CLOCK_MONOTONIC);
}

/*
 * xorshift64*: fast, per-thread, not for secrets (Vigna, "An experimental exploration of Marsaglia's
 * xorshift generators, scrambled", 2016). The state must not be 0; seed it with rng_seed().
 */
static inline uint32_t rng_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return (uint32_t)((x * 0x2545f4914f6cdd1dull) >> 32);
}

/* A number in [0, bound), bound > 0; the bias of the multiplication is below 2^-32 * bound. */
static inline uint32_t rng_below(uint64_t *state, uint32_t bound)
{
	return (uint32_t)(((uint64_t)rng_next(state) * bound) >> 32);
}

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014; constants: Stafford's variant 13). */
static inline uint64_t mix64(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t rng_seed(uint64_t salt)
{
	uint64_t seed = clock_ns() * 0x9e3779b97f4a7c15ull + salt * 0xbf58476d1ce4e5b9ull;

	return seed ? seed : 1;
}

/* One more of at most `max` (0: no limit). False: there are as many, and at no moment were more. */
static inline bool count_up_to(_Atomic uint32_t *n, uint32_t max)
{
	uint32_t now;

	if (!max) {
		atomic_fetch_add(n, 1);
		return true;
	}
	now = atomic_load(n);
	do {
		if (now >= max)
			return false;
	} while (!atomic_compare_exchange_weak(n, &now, now + 1));
	return true;
}

/* malloc and friends for what start-up or a reload needs: they end the process when memory is out. */
void *xcalloc(size_t n, size_t size) must_check;
void *xreallocarray(void *p, size_t n, size_t size) must_check;
char *xstrdup(const char *s) must_check;

/*
 * The edit distance of two names, case folded (Levenshtein 1965), and the candidate nearest to
 * `name`, or NULL when none is near enough to be a likely slip of the pen (more than a third of the
 * name differs).
 */
unsigned int edit_distance(const char *a, const char *b);
const char *nearest_name(const char *name, const char *const *candidates, size_t n);

#endif
