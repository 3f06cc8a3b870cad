/* SPDX-License-Identifier: MIT */
#include "addr_range.h"

#include <stdio.h>
#include <string.h>

static unsigned int host_bits(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? 32 : 128;
}

/* Are the first bits the same? */
static bool alike(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	unsigned int rest = bits % 8;

	if (memcmp(a, b, bits / 8))
		return false;
	return !rest || !((a[bits / 8] ^ b[bits / 8]) >> (8 - rest));
}

/* Is there nothing but zeros after the prefix? */
static bool ends_in_zeros(const struct addr_range *r)
{
	const uint8_t *host = addr_host(&r->host);

	for (unsigned int bit = r->prefix_bits; bit < host_bits(&r->host); bit++)
		if (host[bit / 8] >> (7 - bit % 8) & 1)
			return false;
	return true;
}

/* Without sign, blanks or leading zeros. */
static bool parse_bits(const char *text, unsigned int max, uint8_t *bits)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long n;

	if (!digits || digits > 3 || text[digits] || (text[0] == '0' && digits > 1))
		return false;
	n = strtoul(text, NULL, 10);
	*bits = (uint8_t)n;
	return n <= max;
}

int addr_range_parse(const char *text, struct addr_range *out)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char host[ADDR_TEXT_MAX];

	*out = (struct addr_range){ 0 };
	if (!len || len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	if (addr_parse_host(host, &out->host))
		return -EINVAL;
	out->prefix_bits = (uint8_t)host_bits(&out->host);
	if (slash && !parse_bits(slash + 1, host_bits(&out->host), &out->prefix_bits))
		return -EINVAL;
	return ends_in_zeros(out) ? 0 : -EINVAL;
}

const char *addr_range_format(const struct addr_range *r, char buf[ADDR_RANGE_TEXT_MAX])
{
	char host[ADDR_TEXT_MAX];
	const char *first = host;

	/* A range needs no brackets. */
	addr_format_host(&r->host, host);
	if (host[0] == '[') {
		*strrchr(host, ']') = '\0';
		first++;
	}
	if (r->prefix_bits == host_bits(&r->host))
		snprintf(buf, ADDR_RANGE_TEXT_MAX, "%s", first);
	else
		snprintf(buf, ADDR_RANGE_TEXT_MAX, "%.56s/%u", first, r->prefix_bits);
	return buf;
}

bool addr_range_equal(const struct addr_range *a, const struct addr_range *b)
{
	return a->prefix_bits == b->prefix_bits && addr_equal(&a->host, &b->host);
}

bool addr_ranges_have(const struct addr_range *list, size_t n, const struct addr *a)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].host.sa.sa_family == a->sa.sa_family &&
		    alike(addr_host(&list[i].host), addr_host(a), list[i].prefix_bits))
			return true;
	return false;
}
