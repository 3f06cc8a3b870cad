/* SPDX-License-Identifier: MIT */
/* When an app's connections are taken to be brief, and when not any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "brevity.h"

#define START_NS (1000 * NSEC_PER_SEC)
/* Just enough in a window. */
#define ENOUGH (BREVITY_MIN_PER_S * BREVITY_WINDOW_NS / NSEC_PER_SEC)

struct trial {
	struct brevity b;
	uint64_t now_ns;
};

/* So many end, and then, a window later, one begins. */
static void expect_after(struct trial *t, uint64_t brief, uint64_t others, bool likely,
			 bool changes)
{
	bool changed;

	for (uint64_t i = 0; i < brief + others; i++)
		brevity_note(&t->b, i < brief);
	t->now_ns += BREVITY_WINDOW_NS;
	assert_int_equal(brevity_look(&t->b, t->now_ns, &changed), likely);
	assert_int_equal(changed, changes);
}

/* What was before the first window is of unknown length. */
static struct trial begin(void)
{
	struct trial t = { .now_ns = START_NS };
	bool changed;

	assert_false(brevity_look(&t.b, t.now_ns, &changed));
	assert_false(changed);
	return t;
}

static void many_that_are_brief_make_it_likely(void **state)
{
	struct trial t = begin();

	(void)state;
	expect_after(&t, ENOUGH - 1, 0, false, false);
	expect_after(&t, ENOUGH, 0, true, true);
	expect_after(&t, ENOUGH, 0, true, false);
	expect_after(&t, ENOUGH - 1, 0, false, true);
}

static void a_window_is_judged_once_and_at_its_end(void **state)
{
	struct trial t = begin();
	bool changed;

	(void)state;
	for (uint64_t i = 0; i < ENOUGH; i++)
		brevity_note(&t.b, true);
	assert_false(brevity_look(&t.b, t.now_ns + BREVITY_WINDOW_NS - 1, &changed));
	expect_after(&t, 0, 0, true, true);
	assert_true(brevity_look(&t.b, t.now_ns, &changed));
	assert_false(changed);
	/* A thread whose clock was read before that of the one that has judged. */
	assert_true(brevity_look(&t.b, t.now_ns - 1, &changed));
	assert_false(changed);
}

static void some_others_make_it_unlikely(void **state)
{
	const uint64_t brief = ENOUGH * BREVITY_FOR_EACH_OTHER;
	struct trial t = begin();

	(void)state;
	expect_after(&t, brief, ENOUGH + 1, false, false);
	expect_after(&t, brief, ENOUGH, true, true);
	expect_after(&t, brief, ENOUGH + 1, true, false);
	expect_after(&t, brief, 2 * ENOUGH, true, false);
	expect_after(&t, brief, 2 * ENOUGH + 1, false, true);
}

static void silence_ends_it(void **state)
{
	struct trial t = begin();

	(void)state;
	expect_after(&t, ENOUGH, 0, true, true);
	/* As many as there must be in that time, but all of them long ago. */
	t.now_ns += BREVITY_STALE_NS - BREVITY_WINDOW_NS;
	expect_after(&t, ENOUGH * BREVITY_STALE_NS / BREVITY_WINDOW_NS, 0, false, true);
}

static void what_was_likely_is_remembered(void **state)
{
	const uint64_t while_ns = NSEC_PER_SEC;
	struct trial t = begin();

	(void)state;
	assert_false(brevity_was_likely(&t.b, t.now_ns, while_ns));
	expect_after(&t, ENOUGH, 0, true, true);
	assert_true(brevity_was_likely(&t.b, t.now_ns + 2 * while_ns, while_ns));
	expect_after(&t, 0, 0, false, true);
	assert_true(brevity_was_likely(&t.b, t.now_ns + while_ns - 1, while_ns));
	assert_false(brevity_was_likely(&t.b, t.now_ns + while_ns, while_ns));
}

static void it_can_be_called_off(void **state)
{
	struct trial t = begin();

	(void)state;
	assert_false(brevity_end(&t.b));
	expect_after(&t, ENOUGH, 0, true, true);
	assert_true(brevity_end(&t.b));
	assert_false(brevity_end(&t.b));
	expect_after(&t, ENOUGH, 0, true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_that_are_brief_make_it_likely),
		cmocka_unit_test(a_window_is_judged_once_and_at_its_end),
		cmocka_unit_test(some_others_make_it_unlikely),
		cmocka_unit_test(silence_ends_it),
		cmocka_unit_test(what_was_likely_is_remembered),
		cmocka_unit_test(it_can_be_called_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
