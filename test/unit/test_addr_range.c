/* SPDX-License-Identifier: MIT */
/* Ranges of hosts: as they are written, and what is in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "addr_range.h"

static void what_is_parsed_is_formatted_alike(void **state)
{
	static const char *const same[] = {
		"192.0.2.1",          "10.0.0.0/8",
		"0.0.0.0/0",          "192.0.2.128/25",
		"255.255.255.254/31", "::1",
		"2001:db8::/32",      "::/0",
		"fe80::%1/64",        "2001:db8::/127",
		"fe80::1%1",          "2001:db8:8000::/33",
	};
	char text[ADDR_RANGE_TEXT_MAX];
	struct addr_range r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		if (addr_range_parse(same[i], &r))
			fail_msg("%s is refused", same[i]);
		assert_string_equal(addr_range_format(&r, text), same[i]);
	}
	assert_int_equal(addr_range_parse("192.0.2.1/32", &r), 0);
	assert_string_equal(addr_range_format(&r, text), "192.0.2.1");
	assert_int_equal(addr_range_parse("[::1]/128", &r), 0);
	assert_string_equal(addr_range_format(&r, text), "::1");
}

static void slips_are_refused(void **state)
{
	static const char *const slips[] = {
		"",        "/8",          "10.0.0.0/",     "10.0.0.0/33",   "10.0.0.0/08",
		"10/8",    "10.0.0.1/8",  "192.0.2.1/31",  "::1/127",       "::/129",
		"::/0x10", "10.0.0.0/-1", "10.0.0.0/8/8",  "10.0.0.0 /8",   "name/8",
		"::/1000", "10.0.0.0/+8", "2001:db8::/16", "10.0.0.0:80/8", "*",
	};
	struct addr_range r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(slips); i++)
		if (addr_range_parse(slips[i], &r) != -EINVAL)
			fail_msg("%s is taken", slips[i]);
}

static bool is_in(const char *range, const char *host)
{
	struct addr_range r;
	struct addr a;

	assert_int_equal(addr_range_parse(range, &r), 0);
	assert_int_equal(addr_parse_host(host, &a), 0);
	addr_set_port(&a, 4321);
	return addr_ranges_have(&r, 1, &a);
}

static void a_range_has_what_shares_its_prefix(void **state)
{
	(void)state;
	assert_true(is_in("10.0.0.0/8", "10.255.255.255"));
	assert_false(is_in("10.0.0.0/8", "11.0.0.0"));
	assert_true(is_in("192.0.2.128/25", "192.0.2.128"));
	assert_true(is_in("192.0.2.128/25", "192.0.2.255"));
	assert_false(is_in("192.0.2.128/25", "192.0.2.127"));
	assert_true(is_in("192.0.2.1", "192.0.2.1"));
	assert_false(is_in("192.0.2.1", "192.0.2.0"));
	assert_true(is_in("0.0.0.0/0", "255.255.255.255"));
	assert_false(is_in("0.0.0.0/0", "::1"));
	assert_false(is_in("0.0.0.0/0", "::ffff:192.0.2.1"));
	assert_true(is_in("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(is_in("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(is_in("::/0", "::1"));
	assert_false(is_in("::/0", "192.0.2.1"));
	assert_true(is_in("fe80::/64", "fe80::1%1"));
}

static void any_of_a_list_is_enough(void **state)
{
	struct addr_range list[2];
	struct addr a, no_host = { .sa.sa_family = AF_UNSPEC };

	(void)state;
	assert_int_equal(addr_range_parse("10.0.0.0/8", &list[0]), 0);
	assert_int_equal(addr_range_parse("::1", &list[1]), 0);
	assert_int_equal(addr_parse_host("::1", &a), 0);
	assert_true(addr_ranges_have(list, 2, &a));
	assert_false(addr_ranges_have(list, 1, &a));
	assert_false(addr_ranges_have(list, 2, &no_host));
	assert_false(addr_range_equal(&list[0], &list[1]));
	assert_true(addr_range_equal(&list[1], &list[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_parsed_is_formatted_alike),
		cmocka_unit_test(slips_are_refused),
		cmocka_unit_test(a_range_has_what_shares_its_prefix),
		cmocka_unit_test(any_of_a_list_is_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
