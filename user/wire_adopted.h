/* SPDX-License-Identifier: MIT */
/*
 * The flows of a daemon before, found in the maps that were taken over. What it left half-made, as
 * it was killed between two steps, is cleaned up. A part of wire.c.
 *
 * The sockets of these flows are gone with their process, and so is what kept their local ports
 * from being used again. In their place each gets a socket that is as if connected, and says
 * nothing.
 */
#ifndef SHUNT_WIRE_ADOPTED_H
#define SHUNT_WIRE_ADOPTED_H

#include <stddef.h>
#include <stdint.h>

#include "wire_maps.h"

struct wire_adopted {
	uint32_t *flows; /* that were found, by index */
	size_t n;
	int *sockets; /* of each flow of the table, -1: none; NULL: none at all */
};

/* wire_adopted_free() is due. */
void wire_adopted_find(struct wire_adopted *a, struct wire_maps *m);
void wire_adopted_free(struct wire_adopted *a, const struct wire_maps *m); /* takes a zeroed one */

/* Holds the local port of a found flow's leg to the backend. 0 or -errno. */
int wire_adopted_hold(struct wire_adopted *a, const struct wire_maps *m, uint32_t flow) must_check;
/* For any flow. */
void wire_adopted_release(struct wire_adopted *a, uint32_t flow);

#endif
