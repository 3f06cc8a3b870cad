/* SPDX-License-Identifier: MIT */
/* Sets of hosts, against a list that is searched from its start to its end. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "addr_set.h"

static struct addr host(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse_host(text, &a), 0);
	return a;
}

static bool has(struct addr_set *s, const char *text)
{
	struct addr a = host(text);

	return addr_set_has(s, &a);
}

static bool has_in(struct addr_set *s, const char *text, unsigned int bits)
{
	struct addr a = host(text);

	return addr_set_has_any_in(s, &a, bits);
}

static void add(struct addr_set *s, const char *text, uint16_t port)
{
	struct addr a = host(text);

	addr_set_port(&a, port);
	addr_set_add(s, &a);
}

static void ports_and_notations_make_no_difference(void **state)
{
	struct addr_set s = { 0 };

	(void)state;
	add(&s, "10.0.0.1", 80);
	add(&s, "::ffff:10.0.0.1", 443);
	add(&s, "10.0.0.1", 0);
	assert_true(has(&s, "10.0.0.1"));
	assert_true(has(&s, "::ffff:10.0.0.1"));
	assert_false(has(&s, "10.0.0.2"));
	assert_false(has(&s, "::"));
	addr_set_sort(&s);
	assert_int_equal(s.n, 1);
	addr_set_free(&s);
	assert_false(has(&s, "10.0.0.1"));
}

static void link_local_hosts_differ_by_scope(void **state)
{
	struct addr_set s = { 0 };

	(void)state;
	add(&s, "fe80::1%7", 1);
	assert_true(has(&s, "fe80::1%7"));
	assert_false(has(&s, "fe80::1%8"));
	assert_false(has(&s, "fe80::1"));
	assert_true(has_in(&s, "fe80::", 64));
	addr_set_free(&s);
}

static void no_address_is_no_host(void **state)
{
	struct addr none = { .sa.sa_family = AF_UNSPEC };
	struct addr_set s = { 0 };

	(void)state;
	addr_set_add(&s, &none);
	assert_int_equal(s.n, 0);
	assert_false(addr_set_has(&s, &none));
	assert_false(has_in(&s, "0.0.0.0", 0));
}

static void networks_contain_what_their_prefix_says(void **state)
{
	struct addr_set s = { 0 };

	(void)state;
	add(&s, "10.1.2.3", 1);
	add(&s, "2001:db8::42", 1);
	assert_true(has_in(&s, "0.0.0.0", 0));
	assert_true(has_in(&s, "10.0.0.0", 8));
	assert_true(has_in(&s, "10.1.2.0", 23));
	assert_true(has_in(&s, "10.1.2.3", 32));
	assert_false(has_in(&s, "10.1.2.0", 31));
	assert_false(has_in(&s, "10.1.4.0", 22));
	assert_false(has_in(&s, "11.0.0.0", 8));
	assert_true(has_in(&s, "::", 0));
	assert_true(has_in(&s, "2001:db8::40", 122));
	assert_false(has_in(&s, "2001:db8::48", 125));
	assert_false(has_in(&s, "2001:db9::", 32));
	addr_set_free(&s);
}

/* Added in a wild order and many times over, the set holds each once and stays within its bounds. */
static void many_are_found_and_kept_once(void **state)
{
	enum { HOSTS = 5000, ADDS = 200000 };
	static bool added[2 * HOSTS];
	struct addr_set s = { 0 };
	uint64_t rng = 1;
	size_t n = 0;

	(void)state;
	for (int k = 0; k < ADDS; k++) {
		uint32_t i = rng_below(&rng, HOSTS) * 2; /* the odd ones are never added */
		struct addr a = { .in = { .sin_family = AF_INET,
					  .sin_addr.s_addr = htonl(0x0a000000 + i) } };

		addr_set_add(&s, &a);
		n += !added[i];
		added[i] = true;
	}
	assert_in_range(s.capacity, n, 4 * n);
	for (uint32_t i = 0; i < 2 * HOSTS; i++) {
		struct addr a = { .in = { .sin_family = AF_INET,
					  .sin_addr.s_addr = htonl(0x0a000000 + i) } };

		assert_int_equal(addr_set_has(&s, &a), added[i]);
		assert_int_equal(addr_set_has_any_in(&s, &a, 32), added[i]);
	}
	assert_int_equal(s.n, n);
	addr_set_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_and_notations_make_no_difference),
		cmocka_unit_test(link_local_hosts_differ_by_scope),
		cmocka_unit_test(no_address_is_no_host),
		cmocka_unit_test(networks_contain_what_their_prefix_says),
		cmocka_unit_test(many_are_found_and_kept_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
