/* SPDX-License-Identifier: MIT */
/*
 * A set of hosts: addresses without their ports, IPv4-mapped IPv6 ones as IPv4. It is an array that
 * is sorted when it is asked after something was added, so that filling it with many costs no more
 * than sorting them, and what lies in a network is found by a binary search. A zeroed one is empty.
 */
#ifndef SHUNT_ADDR_SET_H
#define SHUNT_ADDR_SET_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"

struct addr_set {
	struct addr *at; /* after addr_set_sort(): ascending, each once */
	size_t n, n_sorted, capacity;
};

void addr_set_free(struct addr_set *s); /* leaves it empty */
/* Of no effect for what is in the set already, or no address (AF_UNSPEC). */
void addr_set_add(struct addr_set *s, const struct addr *a);
/* Brings `at` and `n` in order, to walk over them. */
void addr_set_sort(struct addr_set *s);

bool addr_set_has(struct addr_set *s, const struct addr *a);
/* Is any of them in this network, whatever its scope? */
bool addr_set_has_any_in(struct addr_set *s, const struct addr *network, unsigned int prefix_bits);

#endif
