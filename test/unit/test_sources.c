/* SPDX-License-Identifier: MIT */
/* Limits of a client's address: who counts as one source, the token bucket, and a table that is
 * full. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>

#include "sources.h"

#define MANY (4 * SOURCES_MAX)
#define THREADS 4
#define ROUNDS 20000

static const struct source_limits two_at_once = { .connections = 2 };
/* 10 a second, 3 at once. */
static const struct source_limits slow = { .interval_ns = 100 * NSEC_PER_MSEC, .burst = 3 };
static const uint64_t now = 1000 * NSEC_PER_SEC;
static const int app, other_app;

static struct sources *table;

static int setup(void **state)
{
	(void)state;
	table = sources_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sources_free(table);
	return 0;
}

static enum source_verdict admit_from(const char *host, const void *owner,
				      const struct source_limits *l, uint64_t at,
				      struct source **held)
{
	struct addr a;

	assert_int_equal(addr_parse_host(host, &a), 0);
	return sources_admit(table, owner, &a, l, at, held);
}

static enum source_verdict admit_number(uint32_t n, const struct source_limits *l, uint64_t at,
					struct source **held)
{
	struct addr a = { .in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(n) } };

	return sources_admit(table, &app, &a, l, at, held);
}

static void connections_are_counted_by_app_and_source(void **state)
{
	struct source *a, *b, *other;

	(void)state;
	assert_int_equal(admit_from("192.0.2.1", &app, &two_at_once, now, &a), SOURCE_ADMITTED);
	assert_int_equal(admit_from("192.0.2.1", &app, &two_at_once, now, &b), SOURCE_ADMITTED);
	assert_ptr_equal(a, b);
	assert_int_equal(admit_from("192.0.2.1", &app, &two_at_once, now, &other), SOURCE_TOO_MANY);
	assert_null(other);
	assert_int_equal(admit_from("::ffff:192.0.2.1", &app, &two_at_once, now, &other),
			 SOURCE_TOO_MANY);
	assert_int_equal(admit_from("192.0.2.2", &app, &two_at_once, now, &other), SOURCE_ADMITTED);
	assert_int_equal(admit_from("192.0.2.1", &other_app, &two_at_once, now, &other),
			 SOURCE_ADMITTED);
	sources_leave(table, a);
	assert_int_equal(admit_from("192.0.2.1", &app, &two_at_once, now, &a), SOURCE_ADMITTED);
}

static void a_network_of_ipv6_is_one_source(void **state)
{
	const struct source_limits one = { .connections = 1 };
	struct source *s;

	(void)state;
	assert_int_equal(admit_from("2001:db8::1", &app, &one, now, &s), SOURCE_ADMITTED);
	assert_int_equal(admit_from("2001:db8::2:1", &app, &one, now, &s), SOURCE_TOO_MANY);
	assert_int_equal(admit_from("2001:db8:0:1::1", &app, &one, now, &s), SOURCE_ADMITTED);
	/* All of a link's hosts have the same one. */
	assert_int_equal(admit_from("fe80::1%lo", &app, &one, now, &s), SOURCE_ADMITTED);
	assert_int_equal(admit_from("fe80::2%lo", &app, &one, now, &s), SOURCE_ADMITTED);
	assert_int_equal(admit_from("fe80::2%lo", &app, &one, now, &s), SOURCE_TOO_MANY);
}

static void a_bucket_has_its_burst_and_fills_up(void **state)
{
	struct source *s;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(admit_from("192.0.2.1", &app, &slow, now, &s), SOURCE_ADMITTED);
	assert_null(s);
	/* However often it tries, it pays only for what it gets. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(admit_from("192.0.2.1", &app, &slow, now, &s), SOURCE_TOO_FAST);
	assert_int_equal(admit_from("192.0.2.1", &app, &slow, now + slow.interval_ns - 1, &s),
			 SOURCE_TOO_FAST);
	assert_int_equal(admit_from("192.0.2.1", &app, &slow, now + slow.interval_ns, &s),
			 SOURCE_ADMITTED);
	assert_int_equal(admit_from("192.0.2.1", &app, &slow, now + slow.interval_ns, &s),
			 SOURCE_TOO_FAST);
	/* No fuller than full. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(admit_from("192.0.2.1", &app, &slow, now + NSEC_PER_SEC * 60, &s),
				 SOURCE_ADMITTED);
	assert_int_equal(admit_from("192.0.2.1", &app, &slow, now + NSEC_PER_SEC * 60, &s),
			 SOURCE_TOO_FAST);
}

static void the_rate_over_time_is_the_one_that_was_asked_for(void **state)
{
	unsigned int admitted = 0;
	struct source *s;

	(void)state;
	for (uint64_t at = now; at < now + 10 * NSEC_PER_SEC; at += NSEC_PER_MSEC)
		admitted += admit_from("192.0.2.1", &app, &slow, at, &s) == SOURCE_ADMITTED;
	assert_in_range(admitted, 100, 103);
}

/* Some that have connections stay whatever comes; of the others those go that were silent longest. */
static void a_full_table_forgets_who_is_idle(void **state)
{
	const struct source_limits one = { .connections = 1 };
	struct source *held, *s;

	(void)state;
	assert_int_equal(admit_from("192.0.2.1", &app, &one, now, &held), SOURCE_ADMITTED);
	for (uint32_t n = 0; n < MANY; n++)
		assert_int_equal(admit_number(n, &slow, now + n, &s), SOURCE_ADMITTED);
	assert_int_equal(sources_untracked(table), 0);
	assert_int_equal(admit_from("192.0.2.1", &app, &one, now, &s), SOURCE_TOO_MANY);
	/* The last one is known: it has two tokens left. */
	assert_int_equal(admit_number(MANY - 1, &slow, now + MANY, &s), SOURCE_ADMITTED);
	assert_int_equal(admit_number(MANY - 1, &slow, now + MANY, &s), SOURCE_ADMITTED);
	assert_int_equal(admit_number(MANY - 1, &slow, now + MANY, &s), SOURCE_TOO_FAST);
}

static void a_table_full_of_connections_lets_the_rest_in(void **state)
{
	const struct source_limits one = { .connections = 1 };
	struct source **held = xcalloc(MANY, sizeof(struct source *)), *s;
	size_t tracked = 0;

	(void)state;
	for (uint32_t n = 0; n < MANY; n++) {
		assert_int_equal(admit_number(n, &one, now, &held[n]), SOURCE_ADMITTED);
		tracked += held[n] != NULL;
	}
	/* With four sources for each place there is no set that is not full. */
	assert_int_equal(tracked, SOURCES_MAX);
	assert_int_equal(sources_untracked(table), MANY - SOURCES_MAX);
	for (uint32_t n = 0; n < MANY; n++)
		if (held[n])
			sources_leave(table, held[n]);
	assert_int_equal(admit_number(MANY, &one, now, &s), SOURCE_ADMITTED);
	assert_non_null(s);
	free(held);
}

/* --- threads ---------------------------------------------------------------------------------- */

static _Atomic unsigned int inside, over;

static void *come_and_go(void *arg)
{
	struct addr a;

	(void)arg;
	if (addr_parse_host("192.0.2.1", &a))
		return NULL;
	for (int i = 0; i < ROUNDS; i++) {
		struct source *s;

		if (sources_admit(table, &app, &a, &two_at_once, now, &s) != SOURCE_ADMITTED)
			continue;
		over += atomic_fetch_add(&inside, 1) >= two_at_once.connections;
		atomic_fetch_sub(&inside, 1);
		sources_leave(table, s);
	}
	return NULL;
}

static void threads_keep_the_limit(void **state)
{
	pthread_t thread[THREADS];
	struct source *s;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(over, 0);
	/* All have left. */
	for (uint32_t i = 0; i < two_at_once.connections; i++)
		assert_int_equal(admit_from("192.0.2.1", &app, &two_at_once, now, &s),
				 SOURCE_ADMITTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(connections_are_counted_by_app_and_source),
		TEST(a_network_of_ipv6_is_one_source),
		TEST(a_bucket_has_its_burst_and_fills_up),
		TEST(the_rate_over_time_is_the_one_that_was_asked_for),
		TEST(a_full_table_forgets_who_is_idle),
		TEST(a_table_full_of_connections_lets_the_rest_in),
		TEST(threads_keep_the_limit),
	};

	return cmocka_run_group_tests_name("sources", tests, NULL, NULL);
}
