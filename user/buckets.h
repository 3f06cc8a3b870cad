/* SPDX-License-Identifier: MIT */
/*
 * A histogram of durations that all workers add to: a few fixed buckets, as Prometheus wants them
 * told. Adding is two relaxed additions and no lock; a reader gets each number right, but not all
 * of them at the same instant. A zeroed one is empty. (histogram.h is the fine-grained one, of one
 * thread.)
 */
#ifndef SHUNT_BUCKETS_H
#define SHUNT_BUCKETS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define BUCKETS_MAX 16

/* The highest duration that goes into each bucket, ascending; what is longer goes into one more. */
struct bucket_bounds {
	size_t n; /* at most BUCKETS_MAX */
	uint64_t upper_ns[BUCKETS_MAX];
};

struct buckets {
	_Atomic uint64_t count[BUCKETS_MAX + 1];
	_Atomic uint64_t sum_ns;
};

extern const struct bucket_bounds connect_bounds;    /* 100 us to 5 s: a try to connect */
extern const struct bucket_bounds connection_bounds; /* 1 ms to a day: a connection's life */

void buckets_add(struct buckets *b, const struct bucket_bounds *bounds, uint64_t ns);

#endif
