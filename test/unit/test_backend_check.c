/* SPDX-License-Identifier: MIT */
/* What checks make of an address: Rise and Fall, beside the marks that connects make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend_check.h"

#define TRIAL_NS NSEC_PER_SEC

static const uint64_t now = 1000 * NSEC_PER_SEC;
static const struct health_conf health = { .on = true, .rise = 2, .fall = 3 };

static struct addr addr(const char *host)
{
	struct addr a;

	assert_int_equal(addr_parse_host(host, &a), 0);
	return a;
}

/* With two addresses. */
static struct backend *new_backend(void)
{
	const struct target_conf conf = { .text = (char *)"two.example:80",
					  .at = { "two.example", 80 } };
	struct backend *b = backend_new(&conf);
	struct addr a[2] = { addr("10.0.0.1"), addr("10.0.0.2") };

	free(backend_set_addresses(b, a, 2));
	return b;
}

static struct endpoint *endpoint(struct backend *b, size_t i)
{
	return &((struct endpoint_set *)atomic_load(&b->set))->endpoint[i];
}

static unsigned int note(struct backend *b, size_t i, enum check_result result)
{
	const struct check_outcome o = { result, 0, NSEC_PER_MSEC };
	const struct addr at = endpoint(b, i)->addr;

	return backend_note_check(b, &at, &o, &health, now);
}

static const unsigned int went_down = CHECK_NEWS_DOWN | CHECK_NEWS_FOUND_DOWN;

static void the_first_check_decides_at_once(void **state)
{
	struct backend *b = new_backend();

	(void)state;
	assert_true(endpoint_up(endpoint(b, 0)));
	assert_int_equal(note(b, 0, CHECK_REFUSED), went_down);
	assert_false(endpoint_up(endpoint(b, 0)));
	assert_int_equal(note(b, 1, CHECK_PASSED), 0);
	assert_true(endpoint_up(endpoint(b, 1)));
	backend_put(b);
}

static void fall_and_rise_are_counted_in_a_row(void **state)
{
	struct backend *b = new_backend();

	(void)state;
	note(b, 0, CHECK_PASSED);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(note(b, 0, CHECK_TIMEOUT), 0);
		assert_int_equal(note(b, 0, CHECK_MISMATCH), 0);
		assert_int_equal(note(b, 0, CHECK_PASSED), 0); /* begins anew */
	}
	assert_int_equal(note(b, 0, CHECK_TIMEOUT), 0);
	assert_int_equal(note(b, 0, CHECK_TIMEOUT), 0);
	assert_int_equal(note(b, 0, CHECK_TIMEOUT), went_down);
	assert_int_equal(note(b, 0, CHECK_TIMEOUT), 0);
	assert_int_equal(note(b, 0, CHECK_PASSED), 0);
	assert_int_equal(note(b, 0, CHECK_REFUSED), 0);
	assert_int_equal(note(b, 0, CHECK_PASSED), 0);
	assert_int_equal(note(b, 0, CHECK_PASSED), CHECK_NEWS_UP);
	backend_put(b);
}

static void what_checks_have_down_is_not_used_but_can_be_tried(void **state)
{
	struct backend *b = new_backend();
	struct endpoint_choice c;
	struct endpoint_walk w;

	(void)state;
	note(b, 0, CHECK_REFUSED);
	assert_true(backend_usable(b, now));
	assert_false(backend_checked_down(b));
	for (int i = 0; i < 4; i++) {
		backend_walk_begin(b, &w);
		assert_true(backend_walk_next(b, &w, false, now, TRIAL_NS, &c));
		assert_true(addr_equal(&c.addr, &endpoint(b, 1)->addr));
		assert_false(backend_walk_next(b, &w, false, now, TRIAL_NS, &c));
		assert_true(backend_walk_next(b, &w, true, now, TRIAL_NS, &c));
	}
	note(b, 1, CHECK_REFUSED);
	assert_false(backend_usable(b, now));
	assert_true(backend_checked_down(b));
	assert_int_equal(backend_endpoints_up(b), 0);
	backend_put(b);
}

static void either_may_have_it_down_and_each_change_is_told_once(void **state)
{
	struct backend *b = new_backend();
	const struct endpoint_choice c = { .addr = endpoint(b, 0)->addr };

	(void)state;
	note(b, 0, CHECK_PASSED);
	assert_true(backend_report_failure(b, &c, now, 0));
	assert_int_equal(note(b, 0, CHECK_REFUSED), 0);
	assert_int_equal(note(b, 0, CHECK_REFUSED), 0);
	/* The operator knows already; who closes flows by checks does not. */
	assert_int_equal(note(b, 0, CHECK_REFUSED), CHECK_NEWS_FOUND_DOWN);
	assert_false(backend_report_success(b, &c));
	assert_false(endpoint_up(endpoint(b, 0)));
	assert_false(backend_report_failure(b, &c, now, 0));
	/* Checks that find it up are a trial of the mark, too. */
	assert_int_equal(note(b, 0, CHECK_PASSED), 0);
	assert_int_equal(note(b, 0, CHECK_PASSED), CHECK_NEWS_UP);
	assert_true(endpoint_up(endpoint(b, 0)));
	assert_int_equal(atomic_load(&endpoint(b, 0)->down_until_ns), 0);
	backend_put(b);
}

static void a_passed_check_is_the_trial_of_a_mark_whose_pause_is_over(void **state)
{
	struct health_conf other_port = health;
	struct backend *b = new_backend();
	const struct check_outcome passed = { CHECK_PASSED, 0, NSEC_PER_MSEC };
	const struct endpoint_choice c = { .addr = endpoint(b, 0)->addr };
	uint64_t later = now + 2 * BACKOFF_MIN_MS * NSEC_PER_MSEC;

	(void)state;
	other_port.port = 81;
	for (int round = 0; round < 2; round++) { /* with its first check, and with others before */
		assert_true(backend_report_failure(b, &c, now, 0));
		assert_int_equal(note(b, 0, CHECK_PASSED), 0); /* the pause is not over */
		if (round)
			assert_int_equal(note(b, 0, CHECK_REFUSED), 0);
		assert_int_equal(backend_note_check(b, &c.addr, &passed, &other_port, later), 0);
		assert_false(endpoint_up(endpoint(b, 0)));
		assert_int_equal(backend_note_check(b, &c.addr, &passed, &health, later),
				 CHECK_NEWS_UP);
		assert_true(endpoint_up(endpoint(b, 0)));
	}
	backend_put(b);
}

static void without_checks_only_connects_count(void **state)
{
	struct backend *b = new_backend();

	(void)state;
	note(b, 0, CHECK_REFUSED);
	note(b, 1, CHECK_REFUSED);
	backend_forget_checks(b, now);
	assert_int_equal(backend_endpoints_up(b), 2);
	assert_int_equal(endpoint(b, 0)->check.at_ns, 0);
	backend_put(b);
}

static void a_new_answer_of_the_dns_keeps_what_checks_know(void **state)
{
	struct backend *b = new_backend();
	struct addr a[2] = { addr("10.0.0.3"), addr("10.0.0.1") };
	const struct check_outcome o = { CHECK_PASSED, 0, 1 };
	const struct addr gone = endpoint(b, 1)->addr;

	(void)state;
	note(b, 0, CHECK_REFUSED);
	free(backend_set_addresses(b, a, 2));
	assert_true(endpoint_up(endpoint(b, 0)));
	assert_false(endpoint_up(endpoint(b, 1)));
	assert_int_equal(endpoint(b, 1)->check.result, CHECK_REFUSED);
	/* A check that was under way for an address that is gone. */
	assert_int_equal(backend_note_check(b, &gone, &o, &health, now), 0);
	backend_put(b);
}

static void the_share_grows_from_a_tenth_to_all(void **state)
{
	struct backend *b = new_backend();
	const uint64_t s = NSEC_PER_SEC;

	(void)state;
	assert_int_equal(backend_share(b, 10000, now), SHARE_WHOLE); /* never down */
	note(b, 0, CHECK_REFUSED);
	note(b, 1, CHECK_REFUSED);
	note(b, 0, CHECK_PASSED);
	note(b, 0, CHECK_PASSED);
	assert_int_equal(backend_share(b, 10000, now), SHARE_AT_RECOVERY);
	assert_int_equal(backend_share(b, 10000, now - s), SHARE_AT_RECOVERY); /* another clock */
	assert_int_equal(backend_share(b, 10000, now + 5 * s), 550);
	assert_int_equal(backend_share(b, 10000, now + 10 * s), SHARE_WHOLE);
	assert_int_equal(backend_share(b, 0, now), SHARE_WHOLE);
	/* Its second address comes to one that serves already. */
	note(b, 1, CHECK_PASSED);
	note(b, 1, CHECK_PASSED);
	assert_int_equal(atomic_load(&b->recovered_ns), now);
	backend_put(b);
}

static void who_is_enabled_again_starts_slowly(void **state)
{
	struct backend *b = new_backend();

	(void)state;
	assert_int_equal(backend_set_order(b, BACKEND_DRAINED, now), BACKEND_ENABLED);
	assert_false(backend_enabled(b));
	assert_int_equal(backend_set_order(b, BACKEND_DISABLED, now), BACKEND_DRAINED);
	assert_int_equal(backend_share(b, 10000, now), SHARE_WHOLE);
	assert_int_equal(backend_set_order(b, BACKEND_ENABLED, now), BACKEND_DISABLED);
	assert_int_equal(backend_share(b, 10000, now), SHARE_AT_RECOVERY);
	backend_put(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_check_decides_at_once),
		cmocka_unit_test(fall_and_rise_are_counted_in_a_row),
		cmocka_unit_test(what_checks_have_down_is_not_used_but_can_be_tried),
		cmocka_unit_test(either_may_have_it_down_and_each_change_is_told_once),
		cmocka_unit_test(a_passed_check_is_the_trial_of_a_mark_whose_pause_is_over),
		cmocka_unit_test(without_checks_only_connects_count),
		cmocka_unit_test(a_new_answer_of_the_dns_keeps_what_checks_know),
		cmocka_unit_test(the_share_grows_from_a_tenth_to_all),
		cmocka_unit_test(who_is_enabled_again_starts_slowly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
