/* SPDX-License-Identifier: MIT */
/*
 * A log-linear histogram of unsigned numbers, as HDR histograms are: every power of two is divided
 * into HISTOGRAM_SUB buckets, so that a quantile is known to 1.6 percent whatever its size, and
 * adding a value is one increment. No memory is allocated; a zeroed one is empty.
 */
#ifndef SHUNT_HISTOGRAM_H
#define SHUNT_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_SUB (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB)

struct histogram {
	uint64_t count[HISTOGRAM_BUCKETS];
	uint64_t total, max;
};

void histogram_add(struct histogram *h, uint64_t v);
void histogram_merge(struct histogram *into, const struct histogram *from);

/*
 * The value at rank floor(q * total) of all in ascending order, q in [0, 1], rounded up to the end
 * of its bucket but never over the highest one added; 0 when there is none.
 */
uint64_t histogram_quantile(const struct histogram *h, double q);

#endif
