/* SPDX-License-Identifier: MIT */
/*
 * The small things: lists, counts, random numbers, and the guess at what a mistyped name was meant
 * to be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "list.h"
#include "util.h"

struct item {
	int value;
	struct list link;
};

static int sum(const struct list *head)
{
	int total = 0;

	list_for_each(e, head)
		total = total * 10 + list_entry(e, struct item, link)->value;
	return total;
}

static void a_list_keeps_its_order(void **state)
{
	struct item a = { .value = 1 }, b = { .value = 2 }, c = { .value = 3 };
	struct list head, other;

	(void)state;
	list_init(&head);
	list_init(&other);
	assert_true(list_empty(&head));
	list_append(&head, &b.link);
	list_append(&head, &c.link);
	list_push(&head, &a.link);
	assert_int_equal(sum(&head), 123);
	list_del(&b.link);
	list_del(&b.link); /* once more does no harm */
	assert_int_equal(sum(&head), 13);
	list_take(&head, &other);
	assert_true(list_empty(&head));
	assert_int_equal(sum(&other), 13);
	list_take(&head, &other); /* nothing to take */
	assert_int_equal(sum(&other), 13);
	list_for_each_safe(e, &other)
		list_del(e);
	assert_true(list_empty(&other));
}

static void a_count_stops_at_its_limit(void **state)
{
	_Atomic uint32_t n = 0;

	(void)state;
	assert_true(count_up_to(&n, 2));
	assert_true(count_up_to(&n, 2));
	assert_false(count_up_to(&n, 2));
	assert_false(count_up_to(&n, 1)); /* the limit has been lowered */
	assert_int_equal(n, 2);
	assert_true(count_up_to(&n, 0));
	assert_int_equal(n, 3);
}

static void distances_are_levenshteins(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned int distance;
	} row[] = {
		{ "", "", 0 },
		{ "", "abc", 3 },
		{ "abc", "", 3 },
		{ "Targets", "targets", 0 },
		{ "kitten", "sitting", 3 },
		{ "flaw", "lawn", 2 },
		{ "Prots", "Ports", 2 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		assert_int_equal(edit_distance(row[i].a, row[i].b), row[i].distance);
		assert_int_equal(edit_distance(row[i].b, row[i].a), row[i].distance);
	}
}

static void the_nearest_name_is_a_likely_one(void **state)
{
	static const char *const keys[] = { "Name", "Ports", "Targets", "ConnectTimeout" };

	(void)state;
	assert_string_equal(nearest_name("Prots", keys, ARRAY_SIZE(keys)), "Ports");
	assert_string_equal(nearest_name("target", keys, ARRAY_SIZE(keys)), "Targets");
	assert_string_equal(nearest_name("ConectTimout", keys, ARRAY_SIZE(keys)), "ConnectTimeout");
	assert_null(nearest_name("Frobnicate", keys, ARRAY_SIZE(keys)));
	assert_null(nearest_name("Name", keys, 0));
}

/* Longer names than the distance looks at must not be read or written out of bounds. */
static void very_long_names_are_compared_by_their_start(void **state)
{
	char longer[500], longest[5000];

	(void)state;
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(edit_distance(longer, longest), 0);
	assert_in_range(edit_distance(longer, "b"), 1, 500);
}

static void random_numbers_stay_below_their_bound_and_spread(void **state)
{
	uint64_t rng = 1;
	unsigned int count[10] = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint32_t n = rng_below(&rng, 10);

		assert_in_range(n, 0, 9);
		count[n]++;
	}
	for (size_t i = 0; i < ARRAY_SIZE(count); i++)
		assert_in_range(count[i], 9500, 10500);
	for (uint64_t salt = 0; salt < 1000; salt++)
		assert_true(rng_seed(salt) != 0);
}

static void allocations_of_nothing_are_something(void **state)
{
	void *none = xcalloc(0, 0);
	char *copy = xstrdup("text");

	(void)state;
	assert_non_null(none);
	none = xreallocarray(none, 0, 8);
	assert_non_null(none);
	assert_string_equal(copy, "text");
	free(copy);
	free(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_keeps_its_order),
		cmocka_unit_test(distances_are_levenshteins),
		cmocka_unit_test(the_nearest_name_is_a_likely_one),
		cmocka_unit_test(very_long_names_are_compared_by_their_start),
		cmocka_unit_test(random_numbers_stay_below_their_bound_and_spread),
		cmocka_unit_test(a_count_stops_at_its_limit),
		cmocka_unit_test(allocations_of_nothing_are_something),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
