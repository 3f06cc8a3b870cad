/* SPDX-License-Identifier: MIT */
/* Addresses: what is taken, what is refused and in which words, and that hashes mix. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"

static struct addr parsed(const char *host, uint16_t port)
{
	struct addr a;

	if (addr_parse_host(host, &a) < 0)
		fail_msg("\"%s\" was not taken", host);
	addr_set_port(&a, port);
	return a;
}

static void literals_are_taken_and_print_as_written(void **state)
{
	static const struct {
		const char *host, *printed;
	} row[] = {
		{ "192.0.2.1", "192.0.2.1:80" },
		{ "0.0.0.0", "0.0.0.0:80" },
		{ "::", "[::]:80" },
		{ "[::1]", "[::1]:80" },
		{ "2001:DB8:0:0::1", "[2001:db8::1]:80" },
		{ "::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80" },
		{ "fe80::1%1", "[fe80::1%1]:80" },
		{ "[fe80::1%lo]", "[fe80::1%1]:80" },
	};
	char buf[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct addr a = parsed(row[i].host, 80);

		assert_string_equal(addr_format(&a, buf), row[i].printed);
		assert_int_equal(addr_port(&a), 80);
		assert_int_equal(addr_len(&a),
				 a.sa.sa_family == AF_INET ? sizeof(a.in) : sizeof(a.in6));
	}
}

static void what_is_no_literal_is_refused(void **state)
{
	static const char *const text[] = {
		"",
		" 127.0.0.1",
		"127.0.0.1 ",
		"127.1",
		"010.0.0.1",
		"1.2.3.256",
		"1.2.3.4.5",
		"0x7f.0.0.1",
		"localhost",
		"[]",
		"[",
		"[::1",
		"::1]",
		"[127.0.0.1]",
		":::",
		"[[::1]]",
		"::1%lo",
		"fe80::1%",
		"fe80::1%no-such-if",
		"fe80::1%01",
		"fe80::1%4294967296",
		"fe80::1%1%1",
		"%1",
		"::1\n",
		"1111:2222:3333:4444:5555:6666:7777:8888:9999",
	};
	struct addr a;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(text); i++)
		if (addr_parse_host(text[i], &a) != -EINVAL)
			fail_msg("\"%s\" was taken", text[i]);
}

static void no_address_has_a_text_too(void **state)
{
	struct addr none = { .sa.sa_family = AF_UNSPEC };
	char buf[ADDR_TEXT_MAX];

	(void)state;
	assert_string_equal(addr_format(&none, buf), "-");
	assert_int_equal(addr_len(&none), 0);
	assert_int_equal(addr_port(&none), 0);
}

static void the_longest_text_fits(void **state)
{
	struct addr a = parsed("fe80:1111:2222:3333:4444:5555:6666:7777", UINT16_MAX);
	char buf[ADDR_TEXT_MAX];

	(void)state;
	a.in6.sin6_scope_id = UINT32_MAX;
	assert_string_equal(addr_format(&a, buf),
			    "[fe80:1111:2222:3333:4444:5555:6666:7777%4294967295]:65535");
}

static void equal_means_family_host_scope_and_port(void **state)
{
	struct addr v4 = parsed("192.0.2.1", 80), v6 = parsed("fe80::1%1", 80), other;

	(void)state;
	other = v4;
	assert_true(addr_equal(&v4, &other));
	addr_set_port(&other, 81);
	assert_false(addr_equal(&v4, &other));
	other = parsed("192.0.2.2", 80);
	assert_false(addr_equal(&v4, &other));
	other = parsed("::ffff:192.0.2.1", 80);
	assert_false(addr_equal(&v4, &other));
	other = v6;
	assert_true(addr_equal(&v6, &other));
	other.in6.sin6_scope_id = 2;
	assert_false(addr_equal(&v6, &other));
	other = parsed("fe80::2%1", 80);
	assert_false(addr_equal(&v6, &other));
}

static void unix_sockets_go_by_their_paths(void **state)
{
	struct addr a = addr_of_unix("/run/a"), same = addr_of_unix("/run/a"),
		    b = addr_of_unix("@b"), none = addr_of_unix("");
	char text[ADDR_TEXT_MAX], path[ADDR_UNIX_PATH_MAX + 2], same_path[] = "/run/a";

	(void)state;
	same.un.path = same_path; /* another place with the same text */
	assert_true(addr_equal(&a, &same));
	assert_int_equal(addr_compare_host(&a, &same), 0);
	assert_false(addr_equal(&a, &b));
	assert_true(addr_compare_host(&a, &b) < 0);
	assert_false(addr_is_ip(&a));
	assert_int_equal(addr_port(&a), 0);
	assert_int_equal(addr_hash_host(&a), addr_hash_host(&b));
	assert_string_equal(addr_format(&a, text), "unix:/run/a");
	assert_string_equal(addr_format(&b, text), "unix:@b");
	assert_string_equal(addr_format(&none, text), "unix:");
	assert_string_equal(addr_unix_path("unix:/run/a"), "/run/a");
	assert_string_equal(addr_unix_path("unix:@b"), "@b");
	assert_null(addr_unix_path("unix:80"));
	assert_null(addr_unix_path("unix:run/a"));
	assert_null(addr_unix_path("/run/a"));
	assert_null(addr_unix_path_fault("/a"));
	assert_non_null(addr_unix_path_fault("/"));
	assert_non_null(addr_unix_path_fault("@"));
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[ADDR_UNIX_PATH_MAX] = '\0';
	assert_null(addr_unix_path_fault(path));
	a = addr_of_unix(path);
	assert_int_equal(strlen(addr_format(&a, text)), ADDR_TEXT_MAX - 1);
	path[ADDR_UNIX_PATH_MAX] = 'x';
	path[ADDR_UNIX_PATH_MAX + 1] = '\0';
	assert_non_null(addr_unix_path_fault(path));
}

static void a_host_has_one_hash(void **state)
{
	struct addr v4 = parsed("192.0.2.1", 80), v4_again = parsed("192.0.2.1", 8080);
	struct addr mapped = parsed("::ffff:192.0.2.1", 80), scoped = parsed("fe80::1%1", 80);
	struct addr swapped = parsed("0:0:0:1::", 80), loopback = parsed("::1", 80);
	struct addr scoped_elsewhere = scoped;

	(void)state;
	scoped_elsewhere.in6.sin6_scope_id = 2;
	assert_int_equal(addr_hash_host(&v4), addr_hash_host(&v4_again));
	assert_int_equal(addr_hash_host(&v4), addr_hash_host(&mapped));
	assert_int_not_equal(addr_hash_host(&scoped), addr_hash_host(&scoped_elsewhere));
	assert_int_not_equal(addr_hash_host(&swapped), addr_hash_host(&loopback));
	/* Across machines and releases, or a cluster's source_hash would move every client. */
	assert_int_equal(addr_hash_host(&v4), 0x5edcc9ad5ee408e0ull);
}

/*
 * The hosts of a /16, one after another, fall into 16 buckets by the low and by the high bits
 * alike.
 */
static void neighbours_spread_over_buckets(void **state)
{
	unsigned int low[16] = { 0 }, high[16] = { 0 };
	struct addr a = parsed("10.1.0.0", 0);

	(void)state;
	for (uint32_t i = 0; i < 65536; i++) {
		a.in.sin_addr.s_addr = htonl(0x0a010000u + i);
		low[addr_hash_host(&a) & 15]++;
		high[addr_hash_host(&a) >> 60]++;
	}
	for (size_t i = 0; i < 16; i++) {
		assert_in_range(low[i], 4096 - 400, 4096 + 400); /* 6.5 standard deviations */
		assert_in_range(high[i], 4096 - 400, 4096 + 400);
	}
}

static void host_and_port_come_apart(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} row[] = {
		{ "localhost:1", "localhost", 1 },
		{ "10.0.0.1:65535", "10.0.0.1", 65535 },
		{ "[::1]:80", "::1", 80 },
		{ "[fe80::1%1]:80", "fe80::1%1", 80 },
		{ "tcp-echo.fly.dev:5001", "tcp-echo.fly.dev", 5001 },
		{ "my_db.internal.:5432", "my_db.internal.", 5432 },
		{ "1and1.com:80", "1and1.com", 80 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct host_port hp;
		const char *why;

		if (host_port_parse(row[i].text, &hp, &why) < 0)
			fail_msg("\"%s\": %s", row[i].text, why);
		assert_null(why);
		assert_string_equal(hp.host, row[i].host);
		assert_int_equal(hp.port, row[i].port);
	}
}

static void a_refusal_says_what_would_be_right(void **state)
{
	static const struct {
		const char *text, *why; /* the start of the phrase */
	} row[] = {
		{ "", "empty: write host:port" },
		{ "localhost", "no port: write host:port" },
		{ "[::1]", "no port: write \"[::1]:80\"" },
		{ "localhost:", "no port after the colon" },
		{ "[::1]:", "no port after the colon" },
		{ ":80", "no host: write host:port" },
		{ "::1", "an IPv6 address needs brackets: \"[::1]:80\"" },
		{ "2001:db8::1:80", "an IPv6 address needs brackets" },
		{ "1:2:3:4:5:6:7:8:80", "an IPv6 address needs brackets" },
		{ "fe80::1%lo:80", "an IPv6 address needs brackets" },
		{ "[::1", "no closing bracket" },
		{ "[::1]80", "no colon after the bracket" },
		{ "[localhost]:80", "not an IPv6 address between the brackets" },
		{ "[]:80", "not an IPv6 address between the brackets" },
		{ "[::1%lo]:80", "only link-local addresses have a \"%\"" },
		{ "[fe80::1]:80", "a link-local address needs its interface" },
		{ "[fe80::1%no-such-if]:80", "only link-local addresses have a \"%\"" },
		{ "a:b:80", "more than one colon" },
		{ "http://example.com:80", "a URL: write host:port alone" },
		{ "10.0.0.256:80", "not an IPv4 address" },
		{ "010.0.0.1:80", "not an IPv4 address" },
		{ "127.1:80", "not an IPv4 address" },
		{ " localhost:80", "not a host name" },
		{ "two words:80", "not a host name" },
		{ "a..b:80", "not a host name" },
		{ "b\303\274cher.example:80", "not a host name" },
		{ "localhost:0", "the port is not a number from 1 to 65535" },
		{ "localhost:65536", "the port is not a number" },
		{ "localhost:080", "the port is not a number" },
		{ "localhost: 80", "the port is not a number" },
		{ "localhost:+80", "the port is not a number" },
		{ "localhost:80 ", "the port is not a number" },
		{ "localhost:http", "the port is not a number" },
		{ "localhost:99999999999999999999", "the port is not a number" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		struct host_port hp;
		const char *why = NULL;

		if (host_port_parse(row[i].text, &hp, &why) != -EINVAL)
			fail_msg("\"%s\" was taken", row[i].text);
		if (strncmp(why, row[i].why, strlen(row[i].why)) != 0)
			fail_msg("\"%s\": \"%s\", not \"%s\"", row[i].text, why, row[i].why);
	}
}

/* A name of `labels` labels of `chars` letters each, with ":80" behind it. */
static const char *name_of(char *buf, size_t labels, size_t chars)
{
	char *p = buf;

	for (size_t i = 0; i < labels; i++) {
		memset(p, 'a', chars);
		p += chars;
		*p++ = '.';
	}
	memcpy(p - 1, ":80", sizeof(":80"));
	return buf;
}

static void names_end_where_dns_ends(void **state)
{
	char text[2048];
	struct host_port hp;
	const char *why;

	(void)state;
	assert_int_equal(host_port_parse(name_of(text, 1, 63), &hp, &why), 0);
	assert_int_equal(host_port_parse(name_of(text, 1, 64), &hp, &why), -EINVAL);
	assert_int_equal(host_port_parse(name_of(text, 127, 1), &hp, &why), 0); /* 253 characters */
	assert_int_equal(host_port_parse(name_of(text, 128, 1), &hp, &why), -EINVAL);
	assert_int_equal(host_port_parse(name_of(text, 500, 1), &hp, &why), -EINVAL);
	assert_string_equal(why, "the host is longer than the 253 characters that DNS allows");

	assert_true(host_name_valid("example.com."));
	assert_false(host_name_valid("."));
	assert_false(host_name_valid("example.com.."));
	assert_false(host_name_valid(".example.com"));
	assert_false(host_name_valid("ex/ample"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_are_taken_and_print_as_written),
		cmocka_unit_test(what_is_no_literal_is_refused),
		cmocka_unit_test(no_address_has_a_text_too),
		cmocka_unit_test(the_longest_text_fits),
		cmocka_unit_test(equal_means_family_host_scope_and_port),
		cmocka_unit_test(unix_sockets_go_by_their_paths),
		cmocka_unit_test(a_host_has_one_hash),
		cmocka_unit_test(neighbours_spread_over_buckets),
		cmocka_unit_test(host_and_port_come_apart),
		cmocka_unit_test(a_refusal_says_what_would_be_right),
		cmocka_unit_test(names_end_where_dns_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
