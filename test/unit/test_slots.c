/* SPDX-License-Identifier: MIT */
/* Slots: the one that has rested longest comes first, none before it has rested, each use with a
 * new generation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "slots.h"

static void a_slot_rests_before_it_is_used_again(void **state)
{
	struct slots s;

	(void)state;
	slots_init(&s, 2);
	assert_int_equal(slots_take(&s, 1000), 0);
	assert_int_equal(slots_take(&s, 1000), 1);
	assert_int_equal(slots_take(&s, 1000), -ENOSPC);
	slots_give(&s, 1, 1000);
	slots_give(&s, 0, 2000);
	assert_int_equal(slots_take(&s, 1000 + SLOT_REST_NS - 1), -ENOSPC);
	assert_int_equal(slots_take(&s, 1000 + SLOT_REST_NS), 1);
	assert_int_equal(slots_take(&s, 1000 + SLOT_REST_NS), -ENOSPC);
	assert_int_equal(slots_take(&s, 2000 + SLOT_REST_NS), 0);
	assert_int_equal(s.n_free, 0);
	slots_free(&s);
}

static void each_use_has_a_generation_of_its_own(void **state)
{
	uint32_t last = 0;
	struct slots s;

	(void)state;
	slots_init(&s, 1);
	for (uint64_t now = 1; now < 100 * SLOT_REST_NS; now += SLOT_REST_NS) {
		assert_int_equal(slots_take(&s, now), 0);
		assert_int_not_equal(s.generation[0], last);
		last = s.generation[0];
		slots_give(&s, 0, now);
	}
	slots_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_rests_before_it_is_used_again),
		cmocka_unit_test(each_use_has_a_generation_of_its_own),
	};

	return cmocka_run_group_tests_name("slots", tests, NULL, NULL);
}
