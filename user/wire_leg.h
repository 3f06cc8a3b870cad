/* SPDX-License-Identifier: MIT */
/*
 * Legs as the wire's maps know them (struct wire_tuple: what arrives, IPv4 as IPv4-mapped), and as
 * the rest of the program does: sockets and addresses. wire_leg_of() is in wire.h.
 */
#ifndef SHUNT_WIRE_LEG_H
#define SHUNT_WIRE_LEG_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "wire_abi.h"

void wire_leg_put_host(uint32_t out[4], const struct addr *a);
bool wire_leg_is_ipv6(const struct wire_tuple *leg);
/* The two ends of a leg: ours, and the peer's. */
void wire_leg_own(const struct wire_tuple *leg, struct addr *out);
void wire_leg_peer(const struct wire_tuple *leg, struct addr *out);
/* The largest segment that fits into a packet to a leg's peer, as its connected socket knows the
 * way; 0: not known. */
uint32_t wire_leg_mss(int fd, const struct wire_tuple *leg);

#endif
