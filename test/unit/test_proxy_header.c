/* SPDX-License-Identifier: MIT */
/*
 * Headers of the PROXY protocol: what is right, cut at every byte; what is wrong, in every way that
 * the specification names; and what is written is read as it was meant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proxy_header.h"

#define MARK "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

static struct addr at(const char *host, uint16_t port)
{
	struct addr a;

	assert_int_equal(addr_parse_host(host, &a), 0);
	addr_set_port(&a, port);
	return a;
}

static void names(const struct proxy_header *h, const char *from, const char *to)
{
	char text[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(&h->from, text), from);
	assert_string_equal(addr_format(&h->to, text), to);
}

/* A right header, with what follows it and cut short. */
static void right(const uint8_t *data, size_t len, size_t needed, const char *from, const char *to)
{
	uint8_t with_more[512];
	struct proxy_header h;

	assert_true(len + 4 <= sizeof(with_more));
	for (size_t n = 0; n < needed; n++)
		assert_int_equal(proxy_header_parse(data, n, &h), PROXY_HEADER_PARTIAL);
	memcpy(with_more, data, len);
	memset(with_more + len, '!', 4);
	for (size_t n = needed; n <= len + 4; n++) {
		assert_int_equal(proxy_header_parse(with_more, n, &h), PROXY_HEADER_WHOLE);
		assert_int_equal(h.len, len);
		names(&h, from, to);
	}
}

static void version_1(void **state)
{
	static const struct {
		const char *line, *from, *to;
	} lines[] = {
		{ "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "192.0.2.1:56324",
		  "198.51.100.7:443" },
		{ "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255:65535",
		  "0.0.0.0:0" },
		{ "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "[2001:db8::1]:1", "[::1]:65535" },
		{ "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
		  "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
		{ "PROXY UNKNOWN\r\n", "-", "-" },
		{ "PROXY UNKNOWN \r\n", "-", "-" },
		{ "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
		  "-", "-" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		size_t len = strlen(lines[i].line);

		assert_true(len <= PROXY_HEADER_MAX_BYTES);
		right((const uint8_t *)lines[i].line, len, len, lines[i].from, lines[i].to);
	}
}

#define INET "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"
#define INET6                                                                                      \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"                                               \
	"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x01\xff\xff"

static void version_2(void **state)
{
	uint8_t unix_pair[16 + 216] = MARK "\x21\x31\x00\xd8";

	(void)state;
	right(BYTES(MARK "\x21\x11\x00\x0c" INET), 28, "192.0.2.1:56324", "198.51.100.7:443");
	right(BYTES(MARK "\x21\x21\x00\x24" INET6), 52, "[2001:db8::1]:1", "[::1]:65535");
	/* With TLVs, which need not be there yet. */
	right(BYTES(MARK "\x21\x11\x00\x13" INET "\x04\x00\x04\1\2\3\4"), 28, "192.0.2.1:56324",
	      "198.51.100.7:443");
	/* What names nobody: LOCAL, whatever its family, and PROXY of other families. */
	right(BYTES(MARK "\x20\x00\x00\x00"), 16, "-", "-");
	right(BYTES(MARK "\x20\xff\x00\x03\1\2\3"), 16, "-", "-");
	right(BYTES(MARK "\x20\x11\x00\x0c" INET), 16, "-", "-");
	right(BYTES(MARK "\x21\x00\x00\x00"), 16, "-", "-");
	right(BYTES(MARK "\x21\x00\x00\x02zz"), 16, "-", "-");
	right(BYTES(MARK "\x21\x12\x00\x0c" INET), 16, "-", "-");
	right(BYTES(MARK "\x21\x22\x00\x24" INET6), 16, "-", "-");
	right(BYTES(MARK "\x21\x10\x00\x0c" INET), 16, "-", "-");
	right(unix_pair, sizeof(unix_pair), 16, "-", "-");
}

static void the_longest_header_is_65551_bytes(void **state)
{
	struct proxy_header h;

	(void)state;
	assert_int_equal(proxy_header_parse(BYTES(MARK "\x21\x11\xff\xff" INET), &h),
			 PROXY_HEADER_WHOLE);
	assert_int_equal(h.len, 65551);
}

/* The answer, which is to come as soon as the last byte of `data` is there. */
static void wrong(const uint8_t *data, size_t len, enum proxy_header_result result)
{
	struct proxy_header h;

	for (size_t n = 0; n < len; n++)
		if (proxy_header_parse(data, n, &h) != PROXY_HEADER_PARTIAL)
			fail_msg("%.*s: known after %zu bytes", (int)len, (const char *)data, n);
	if (proxy_header_parse(data, len, &h) != result)
		fail_msg("%.*s: not %d", (int)len, (const char *)data, result);
}

static void no_header(void **state)
{
	(void)state;
	wrong(BYTES("G"), PROXY_HEADER_MISSING);
	wrong(BYTES("PROXX"), PROXY_HEADER_MISSING);
	wrong(BYTES("\r\n\r\n\0\r\nQUIT\r"), PROXY_HEADER_MISSING);
}

static void malformed_version_1(void **state)
{
	static const char *const lines[] = {
		"PROXY\r\n",
		"PROXY \r\n",
		"PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
		"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
		"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
		"PROXY UNKNOWNS\r\n",
		"PROXY TCP4\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
		"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n",
		"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
		"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
		"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
		"PROXY TCP4 ::1 ::1 1 2\r\n",
		"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
		"PROXY TCP6 ::1 192.0.2.2 1 2\r\n",
		"PROXY TCP6 1::2::3 ::1 1 2\r\n",
		"PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 100000\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2\r\n",
		/* The line ends with both, and with nothing else. */
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
		"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r ",
		"PROXY UNKNOWN\n",
	};
	char endless[PROXY_HEADER_MAX_BYTES] = "PROXY UNKNOWN ";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		wrong((const uint8_t *)lines[i], strlen(lines[i]), PROXY_HEADER_MALFORMED);
	wrong(BYTES("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"), PROXY_HEADER_MALFORMED);
	memset(endless + strlen(endless), 'x', sizeof(endless) - strlen(endless));
	wrong((const uint8_t *)endless, sizeof(endless), PROXY_HEADER_MALFORMED);
	endless[sizeof(endless) - 1] = '\r';
	wrong((const uint8_t *)endless, sizeof(endless), PROXY_HEADER_MALFORMED);
}

static void malformed_version_2(void **state)
{
	static const char *const ends[] = { "\x11", "\x01", "\x31", "\x22", "\x2f" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		uint8_t data[13] = MARK;

		data[12] = (uint8_t)ends[i][0];
		wrong(data, sizeof(data), PROXY_HEADER_MALFORMED);
	}
	wrong(BYTES(MARK "\x21\x41\x00\x0c"), PROXY_HEADER_MALFORMED);
	wrong(BYTES(MARK "\x21\x13\x00\x0c"), PROXY_HEADER_MALFORMED);
	wrong(BYTES(MARK "\x21\x11\x00\x0b"), PROXY_HEADER_MALFORMED);
	wrong(BYTES(MARK "\x21\x21\x00\x23"), PROXY_HEADER_MALFORMED);
	wrong(BYTES(MARK "\x21\x31\x00\xd7"), PROXY_HEADER_MALFORMED);
}

static void written_headers_are_read(void **state)
{
	static const struct {
		const char *from, *to, *read_from, *read_to;
	} pairs[] = {
		{ "192.0.2.1", "192.0.2.2", "192.0.2.1:1000", "192.0.2.2:80" },
		{ "2001:db8::1", "::1", "[2001:db8::1]:1000", "[::1]:80" },
		{ "192.0.2.1", "::1", "[::ffff:192.0.2.1]:1000", "[::1]:80" },
		{ "::1", "192.0.2.2", "[::1]:1000", "[::ffff:192.0.2.2]:80" },
	};
	uint8_t data[PROXY_HEADER_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		struct addr from = at(pairs[i].from, 1000), to = at(pairs[i].to, 80);
		size_t len;

		len = proxy_header_write(data, PROXY_HEADER_V1, &from, &to);
		right(data, len, len, pairs[i].read_from, pairs[i].read_to);
		len = proxy_header_write(data, PROXY_HEADER_V2, &from, &to);
		right(data, len, len, pairs[i].read_from, pairs[i].read_to);
	}
}

static void a_client_without_an_ip_address_is_unknown(void **state)
{
	struct addr from = { .sa.sa_family = AF_UNIX }, to = at("192.0.2.2", 80);
	uint8_t data[PROXY_HEADER_MAX_BYTES];
	size_t len;

	(void)state;
	len = proxy_header_write(data, PROXY_HEADER_V1, &from, &to);
	assert_int_equal(len, strlen("PROXY UNKNOWN\r\n"));
	assert_memory_equal(data, "PROXY UNKNOWN\r\n", len);
	len = proxy_header_write(data, PROXY_HEADER_V2, &from, &to);
	assert_int_equal(len, 16);
	assert_memory_equal(data, MARK "\x21\x00\x00\x00", len);
	assert_int_equal(proxy_header_write(data, PROXY_HEADER_NONE, &from, &to), 0);
}

static void a_connection_of_ones_own_is_local(void **state)
{
	struct addr from = at("192.0.2.1", 1000), to = at("192.0.2.2", 80);
	uint8_t data[PROXY_HEADER_MAX_BYTES];
	size_t len;

	(void)state;
	len = proxy_header_write_own(data, PROXY_HEADER_V2, &from, &to);
	assert_int_equal(len, 16);
	assert_memory_equal(data, MARK "\x20\x00\x00\x00", len);
	len = proxy_header_write_own(data, PROXY_HEADER_V1, &from, &to);
	right(data, len, len, "192.0.2.1:1000", "192.0.2.2:80");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_1),
		cmocka_unit_test(version_2),
		cmocka_unit_test(the_longest_header_is_65551_bytes),
		cmocka_unit_test(no_header),
		cmocka_unit_test(malformed_version_1),
		cmocka_unit_test(malformed_version_2),
		cmocka_unit_test(written_headers_are_read),
		cmocka_unit_test(a_client_without_an_ip_address_is_unknown),
		cmocka_unit_test(a_connection_of_ones_own_is_local),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
