/* SPDX-License-Identifier: MIT */
/* A backend's endpoints: health, back-off, trials, and what a new answer of the DNS keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend.h"

#define TRIAL_NS (2 * NSEC_PER_SEC)

static const struct target_conf conf = { .text = (char *)"two.example:80",
					 .at = { "two.example", 80 },
					 .weight = 1 };
static const uint64_t now = 1000 * NSEC_PER_SEC;

static struct addr addr(const char *host)
{
	struct addr a;

	assert_int_equal(addr_parse_host(host, &a), 0);
	return a;
}

static void set_addresses(struct backend *b, const char *first, const char *second)
{
	struct addr a[2] = { addr(first), addr(second) };

	free(backend_set_addresses(b, a, 2));
}

/* The endpoint that a walk finds first, by its last byte; 0: none. */
static int walk_first(struct backend *b, bool even_down, uint64_t at, struct endpoint_choice *c)
{
	struct endpoint_walk w;

	backend_walk_begin(b, &w);
	if (!backend_walk_next(b, &w, even_down, at, TRIAL_NS, c))
		return 0;
	return ((const uint8_t *)&c->addr.in.sin_addr)[3];
}

static void a_walk_visits_each_endpoint_once_and_starts_in_turn(void **state)
{
	struct endpoint_choice c;
	struct endpoint_walk w;
	struct backend *b;
	int first;

	(void)state;
	b = backend_new(&conf);
	assert_false(backend_resolved(b));
	assert_false(backend_usable(b, now));
	assert_int_equal(walk_first(b, true, now, &c), 0);
	set_addresses(b, "10.0.0.1", "10.0.0.2");
	first = walk_first(b, false, now, &c);
	assert_int_equal(walk_first(b, false, now, &c), 3 - first);
	assert_int_equal(addr_port(&c.addr), 80);
	backend_walk_begin(b, &w);
	assert_true(backend_walk_next(b, &w, false, now, TRIAL_NS, &c));
	assert_true(backend_walk_next(b, &w, false, now, TRIAL_NS, &c));
	assert_false(backend_walk_next(b, &w, false, now, TRIAL_NS, &c));
	backend_put(b);
}

static void a_failure_takes_it_out_until_its_trial(void **state)
{
	struct endpoint_choice c, trial;
	struct backend *b;
	int failed, other;

	(void)state;
	b = backend_new(&conf);
	set_addresses(b, "10.0.0.1", "10.0.0.2");
	failed = walk_first(b, false, now, &c);
	other = 3 - failed;
	assert_true(backend_report_failure(b, &c, now, 0));
	for (int i = 0; i < 4; i++)
		assert_int_equal(walk_first(b, false, now, &trial), other);
	/* Many that were under way fail too: that is no news, and must not stretch the back-off. */
	for (int i = 0; i < 50; i++)
		assert_false(backend_report_failure(b, &c, now, 0));

	uint64_t later = now + 2 * BACKOFF_MIN_MS * NSEC_PER_MSEC;

	while (walk_first(b, false, later, &trial) != failed)
		;
	assert_true(trial.is_trial);
	/* While it is being tried, nobody else is sent there. */
	for (int i = 0; i < 4; i++)
		assert_int_equal(walk_first(b, false, later, &c), other);
	assert_true(backend_report_success(b, &trial));
	assert_false(backend_report_success(b, &trial));
	while (walk_first(b, false, later, &c) != failed)
		;
	assert_false(c.is_trial);
	backend_put(b);
}

static void the_back_off_doubles_up_to_its_bound(void **state)
{
	struct endpoint_choice c;
	struct backend *b;
	uint64_t at = now, expected_ms = BACKOFF_MIN_MS;

	(void)state;
	b = backend_new(&conf);
	set_addresses(b, "10.0.0.1", "10.0.0.1");
	for (int i = 0; i < 12; i++) {
		uint64_t low = expected_ms * 9 / 10 * NSEC_PER_MSEC;
		uint64_t high = expected_ms * 11 / 10 * NSEC_PER_MSEC;

		assert_int_not_equal(walk_first(b, false, at, &c), 0);
		c.addr = addr("10.0.0.1");
		addr_set_port(&c.addr, 80);
		c.is_trial = true;
		backend_report_failure(b, &c, at, (uint32_t)i * 7919);

		struct endpoint_set *set = atomic_load(&b->set);
		uint64_t until = atomic_load(&set->endpoint[0].down_until_ns);

		assert_in_range(until - at, low, high);
		at = until + 1;
		atomic_store(&set->endpoint[1].down_until_ns, UINT64_MAX);
		expected_ms = MIN(expected_ms * 2, BACKOFF_MAX_MS);
	}
	backend_put(b);
}

static void a_new_answer_keeps_the_health_of_what_stays(void **state)
{
	struct endpoint_choice c;
	struct backend *b;

	(void)state;
	b = backend_new(&conf);
	set_addresses(b, "10.0.0.1", "10.0.0.2");
	while (walk_first(b, false, now, &c) != 1)
		;
	backend_report_failure(b, &c, now, 0);
	set_addresses(b, "10.0.0.1", "10.0.0.3");
	for (int i = 0; i < 4; i++)
		assert_int_equal(walk_first(b, false, now, &c), 3);
	set_addresses(b, "10.0.0.4", "10.0.0.5");
	assert_true(walk_first(b, false, now, &c) >= 4);
	/* A failure of an address that is gone concerns nobody. */
	c.addr = addr("10.0.0.1");
	assert_false(backend_report_failure(b, &c, now, 0));
	backend_put(b);
}

static void when_all_are_down_they_can_be_had_all_the_same(void **state)
{
	struct endpoint_choice c;
	struct backend *b;

	(void)state;
	b = backend_new(&conf);
	set_addresses(b, "10.0.0.1", "10.0.0.2");
	for (int i = 0; i < 2; i++) {
		walk_first(b, false, now, &c);
		backend_report_failure(b, &c, now, 0);
	}
	assert_false(backend_usable(b, now));
	assert_int_equal(walk_first(b, false, now, &c), 0);
	assert_int_not_equal(walk_first(b, true, now, &c), 0);
	assert_true(backend_report_success(b, &c));
	assert_true(backend_usable(b, now));
	backend_put(b);
}

static void a_walk_comes_back_for_what_it_passed_over(void **state)
{
	struct endpoint_choice c;
	struct endpoint_walk w;
	struct backend *b;
	int down, up;

	(void)state;
	b = backend_new(&conf);
	set_addresses(b, "10.0.0.1", "10.0.0.2");
	down = walk_first(b, false, now, &c);
	backend_report_failure(b, &c, now, 0);
	up = 3 - down;
	backend_walk_begin(b, &w);
	assert_true(backend_walk_next(b, &w, false, now, TRIAL_NS, &c));
	assert_int_equal(((const uint8_t *)&c.addr.in.sin_addr)[3], up);
	assert_false(backend_walk_next(b, &w, false, now, TRIAL_NS, &c));
	assert_true(backend_walk_next(b, &w, true, now, TRIAL_NS, &c));
	assert_int_equal(((const uint8_t *)&c.addr.in.sin_addr)[3], down);
	assert_false(backend_walk_next(b, &w, true, now, TRIAL_NS, &c));
	backend_put(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_walk_visits_each_endpoint_once_and_starts_in_turn),
		cmocka_unit_test(a_failure_takes_it_out_until_its_trial),
		cmocka_unit_test(the_back_off_doubles_up_to_its_bound),
		cmocka_unit_test(a_new_answer_keeps_the_health_of_what_stays),
		cmocka_unit_test(when_all_are_down_they_can_be_had_all_the_same),
		cmocka_unit_test(a_walk_comes_back_for_what_it_passed_over),
	};

	return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
