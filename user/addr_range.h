/* SPDX-License-Identifier: MIT */
/*
 * Ranges of hosts as configurations name them: an address, or a network with the length of its
 * prefix. A v4-mapped IPv6 address is in no range of IPv4.
 */
#ifndef SHUNT_ADDR_RANGE_H
#define SHUNT_ADDR_RANGE_H

#include <stddef.h>

#include "addr.h"

#define ADDR_RANGE_TEXT_MAX ADDR_TEXT_MAX

struct addr_range {
	struct addr host; /* port 0 */
	uint8_t prefix_bits;
};

/* "10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1". 0, or -EINVAL; also if bits beyond the prefix
 * are set, which would be a slip. */
int addr_range_parse(const char *text, struct addr_range *out) must_check;
/* As parsed; a single host without "/32" or "/128". Returns buf. */
const char *addr_range_format(const struct addr_range *r, char buf[ADDR_RANGE_TEXT_MAX]);
bool addr_range_equal(const struct addr_range *a, const struct addr_range *b);
/* Is the address, whatever its port and scope, in one of them? */
bool addr_ranges_have(const struct addr_range *list, size_t n, const struct addr *a);

#endif
