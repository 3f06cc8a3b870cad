/* SPDX-License-Identifier: MIT */
/*
 * When checks are due: pure numbers, in nanoseconds.
 */
#ifndef SHUNT_HEALTH_SCHEDULE_H
#define SHUNT_HEALTH_SCHEDULE_H

#include <stdint.h>

#include "util.h"

/* An interval varies by half of this much up and down: checks that have fallen into step, with each
 * other or with something at the backend, part again. */
#define HEALTH_JITTER_PERCENT 10

/*
 * How far into its interval the n-th address has its first check. Multiples of the golden ratio,
 * modulo 1, divide the interval as evenly as any sequence can, for every number of addresses and
 * for those that join later (Knuth, "The Art of Computer Programming", vol. 3, 6.4).
 */
static inline uint64_t health_phase_ns(uint32_t n, uint64_t interval_ns)
{
	uint32_t fraction = n * 0x9e3779b9u; /* of 2^32 */

	return (uint64_t)(((unsigned __int128)interval_ns * fraction) >> 32);
}

/* From one check to the next of the same address. */
static inline uint64_t health_pause_ns(uint64_t interval_ns, uint64_t *rng)
{
	uint64_t span = interval_ns * HEALTH_JITTER_PERCENT / 100;

	return interval_ns - span / 2 + (uint64_t)(((unsigned __int128)span * rng_next(rng)) >> 32);
}

#endif
