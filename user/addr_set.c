/* SPDX-License-Identifier: MIT */
#include "addr_set.h"

#include <string.h>

#define UNSORTED_MIN 64 /* so many may wait to be sorted, however small the set */

/* What tells hosts apart: no port, no flow label, one form for both notations of an IPv4 address. */
static struct addr host_of(const struct addr *a)
{
	struct addr host;

	memset(&host, 0, sizeof(host));
	host.sa.sa_family = a->sa.sa_family;
	if (a->sa.sa_family == AF_INET) {
		host.in.sin_addr = a->in.sin_addr;
	} else if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		host.sa.sa_family = AF_INET;
		memcpy(&host.in.sin_addr, &a->in6.sin6_addr.s6_addr[12], sizeof(host.in.sin_addr));
	} else if (a->sa.sa_family == AF_INET6) {
		host.in6.sin6_addr = a->in6.sin6_addr;
		host.in6.sin6_scope_id = a->in6.sin6_scope_id;
	}
	return host;
}

static const uint8_t *address_bytes(const struct addr *a, size_t *len)
{
	*len = a->sa.sa_family == AF_INET ? sizeof(a->in.sin_addr) : sizeof(a->in6.sin6_addr);
	return a->sa.sa_family == AF_INET ? (const uint8_t *)&a->in.sin_addr
					  : a->in6.sin6_addr.s6_addr;
}

/* The order that makes a network's addresses neighbours: by family, address, scope. */
static int compare(const void *left, const void *right)
{
	const struct addr *a = left, *b = right;
	const uint8_t *bytes;
	size_t len;
	int order;

	if (a->sa.sa_family != b->sa.sa_family)
		return a->sa.sa_family < b->sa.sa_family ? -1 : 1;
	bytes = address_bytes(a, &len);
	order = memcmp(bytes, address_bytes(b, &len), len);
	if (order || a->sa.sa_family == AF_INET)
		return order;
	return (a->in6.sin6_scope_id > b->in6.sin6_scope_id) -
	       (a->in6.sin6_scope_id < b->in6.sin6_scope_id);
}

void addr_set_free(struct addr_set *s)
{
	free(s->at);
	*s = (struct addr_set){ 0 };
}

void addr_set_sort(struct addr_set *s)
{
	size_t n = 0;

	if (s->n_sorted == s->n)
		return;
	qsort(s->at, s->n, sizeof(*s->at), compare);
	for (size_t i = 0; i < s->n; i++)
		if (!n || compare(&s->at[n - 1], &s->at[i]))
			s->at[n++] = s->at[i];
	s->n = s->n_sorted = n;
}

/* Duplicates are found when they are sorted: often enough that they never take half of the memory. */
void addr_set_add(struct addr_set *s, const struct addr *a)
{
	if (a->sa.sa_family != AF_INET && a->sa.sa_family != AF_INET6)
		return;
	if (s->n - s->n_sorted >= MAX(UNSORTED_MIN, s->n_sorted))
		addr_set_sort(s);
	if (s->n == s->capacity) {
		s->capacity = MAX(UNSORTED_MIN, s->capacity * 2);
		s->at = xreallocarray(s->at, s->capacity, sizeof(*s->at));
	}
	s->at[s->n++] = host_of(a);
}

/* The first one that does not come before `host`; s->n: there is none. */
static size_t lower_bound(struct addr_set *s, const struct addr *host)
{
	size_t low = 0, high;

	addr_set_sort(s);
	for (high = s->n; low < high;) {
		size_t middle = low + (high - low) / 2;

		if (compare(&s->at[middle], host) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool addr_set_has(struct addr_set *s, const struct addr *a)
{
	struct addr host = host_of(a);
	size_t i = lower_bound(s, &host);

	return i < s->n && !compare(&s->at[i], &host);
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole))
		return false;
	return !rest || !((a[whole] ^ b[whole]) >> (8 - rest));
}

bool addr_set_has_any_in(struct addr_set *s, const struct addr *network, unsigned int prefix_bits)
{
	struct addr first = *network;
	const uint8_t *bytes;
	size_t len, i;

	if (first.sa.sa_family == AF_INET6)
		first.in6.sin6_scope_id = 0;
	bytes = address_bytes(&first, &len);
	i = lower_bound(s, &first);
	return i < s->n && s->at[i].sa.sa_family == first.sa.sa_family && prefix_bits <= len * 8 &&
	       same_prefix(address_bytes(&s->at[i], &len), bytes, prefix_bits);
}
