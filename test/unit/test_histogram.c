// SPDX-License-Identifier: MIT
/*
 * Histograms, held against a sorted array of the same values. SHUNT_TEST_SEED repeats a random run;
 * a failure prints the seed that it had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "histogram.h"
#include "util.h"

#define N_VALUES 20000

static const double quantiles[] = { 0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1 };

static struct histogram h, half[2];
static uint64_t values[N_VALUES];

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Of every magnitude, up to UINT64_MAX. */
static uint64_t random_value(uint64_t *rng)
{
	uint64_t v = (uint64_t)rng_next(rng) << 32 | rng_next(rng);

	return v >> rng_below(rng, 64);
}

static void test_an_empty_one_has_no_quantiles(void **state)
{
	(void)state;
	h = (struct histogram){ 0 };
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++)
		assert_int_equal(histogram_quantile(&h, quantiles[i]), 0);
}

static void test_small_values_are_exact(void **state)
{
	(void)state;
	h = (struct histogram){ 0 };
	for (uint64_t v = 0; v < 100; v++)
		histogram_add(&h, v % HISTOGRAM_SUB);
	assert_int_equal(h.max, HISTOGRAM_SUB - 1);
	/* 0 to 35 are in it twice, 36 to 63 once. */
	assert_int_equal(histogram_quantile(&h, 0.5), 25);
	assert_int_equal(histogram_quantile(&h, 0.99), 63);
}

static void test_quantiles_are_those_of_a_sorted_array(void **state)
{
	const char *text = getenv("SHUNT_TEST_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : rng_seed(0), rng = seed;

	(void)state;
	h = half[0] = half[1] = (struct histogram){ 0 };
	for (size_t i = 0; i < N_VALUES; i++) {
		values[i] = random_value(&rng);
		histogram_add(&half[i % 2], values[i]);
	}
	histogram_merge(&h, &half[0]);
	histogram_merge(&h, &half[1]);
	qsort(values, N_VALUES, sizeof(*values), compare);
	assert_int_equal(h.total, N_VALUES);
	assert_int_equal(h.max, values[N_VALUES - 1]);
	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		size_t rank = MIN((size_t)(N_VALUES * quantiles[i]), N_VALUES - 1);
		uint64_t exact = values[rank], got = histogram_quantile(&h, quantiles[i]);

		if (got < exact || got - exact > exact / HISTOGRAM_SUB)
			fail_msg("quantile %g is %lu, not %lu; SHUNT_TEST_SEED=%lu", quantiles[i],
				 got, exact, seed);
	}
}

static void test_the_highest_value_has_a_bucket(void **state)
{
	(void)state;
	h = (struct histogram){ 0 };
	histogram_add(&h, UINT64_MAX);
	histogram_add(&h, UINT64_MAX - 1);
	assert_int_equal(h.count[HISTOGRAM_BUCKETS - 1], 2);
	assert_true(histogram_quantile(&h, 0.5) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_one_has_no_quantiles),
		cmocka_unit_test(test_small_values_are_exact),
		cmocka_unit_test(test_quantiles_are_those_of_a_sorted_array),
		cmocka_unit_test(test_the_highest_value_has_a_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
