/* SPDX-License-Identifier: MIT */
#include "buckets.h"

#include "util.h"

#define US NSEC_PER_USEC
#define MS NSEC_PER_MSEC
#define S NSEC_PER_SEC

const struct bucket_bounds connect_bounds = {
	.n = 15,
	.upper_ns = { 100 * US, 250 * US, 500 * US, 1 * MS, 2500 * US, 5 * MS, 10 * MS, 25 * MS,
		      50 * MS, 100 * MS, 250 * MS, 500 * MS, 1 * S, 2500 * MS, 5 * S },
};

const struct bucket_bounds connection_bounds = {
	.n = 13,
	.upper_ns = { 1 * MS, 10 * MS, 100 * MS, 500 * MS, 1 * S, 5 * S, 30 * S, 60 * S, 300 * S,
		      1800 * S, 3600 * S, 14400 * S, 86400 * S },
};

void buckets_add(struct buckets *b, const struct bucket_bounds *bounds, uint64_t ns)
{
	size_t i = 0;

	while (i < bounds->n && ns > bounds->upper_ns[i])
		i++;
	atomic_fetch_add_explicit(&b->count[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&b->sum_ns, ns, memory_order_relaxed);
}
