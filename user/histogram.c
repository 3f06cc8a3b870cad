/* SPDX-License-Identifier: MIT */
#include "histogram.h"

#include "util.h"

static unsigned int bucket_of(uint64_t v)
{
	unsigned int shift;

	if (v < HISTOGRAM_SUB)
		return (unsigned int)v;
	shift = 63u - (unsigned int)__builtin_clzll(v) - HISTOGRAM_SUB_BITS;
	return (shift + 1) * HISTOGRAM_SUB + (unsigned int)((v >> shift) - HISTOGRAM_SUB);
}

/* The highest value that goes into a bucket. */
static uint64_t bucket_end(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < HISTOGRAM_SUB)
		return bucket;
	shift = bucket / HISTOGRAM_SUB - 1;
	return ((uint64_t)(bucket % HISTOGRAM_SUB + HISTOGRAM_SUB + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t v)
{
	h->count[bucket_of(v)]++;
	h->total++;
	h->max = MAX(h->max, v);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->count[i] += from->count[i];
	into->total += from->total;
	into->max = MAX(into->max, from->max);
}

uint64_t histogram_quantile(const struct histogram *h, double q)
{
	uint64_t rank = (uint64_t)((double)h->total * q), seen = 0;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->count[i];
		if (seen > rank)
			return MIN(bucket_end(i), h->max);
	}
	return h->max;
}
