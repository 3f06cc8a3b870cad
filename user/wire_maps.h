/* SPDX-License-Identifier: MIT */
/*
 * The programs and maps of the wire: loaded, or taken over from a daemon before by their pins, and
 * pinned. A part of wire.c: only it and wire_adopted.c use this. The only module that includes the
 * skeleton.
 *
 * One process at a time has the pins of a folder: it holds a lock on it, which goes with it.
 */
#ifndef SHUNT_WIRE_MAPS_H
#define SHUNT_WIRE_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"
#include "wire_abi.h"

struct wire_bpf;

struct wire_maps {
	struct wire_bpf *skeleton;
	int lock_fd;      /* the pin folder; -1: there are no pins */
	char *pin_folder; /* NULL: likewise */
	uint32_t capacity;
	bool is_taken_over;

	/* Shared with the programs: see wire_abi.h. */
	struct wire_direction *directions;
	struct wire_flow *identities;
	struct wire_settings *settings;
	/* Owned by the skeleton. */
	int flows, holds, listeners, expected, rings, counters;
	int forward_program, join_program, deaf_program;
};

/*
 * A new table has room for `flows`. pin_folder NULL: there are no pins. 0, or -errno with a phrase
 * in `why`, and then there is nothing to close. What can't be pinned is logged and no error.
 */
int wire_maps_open(struct wire_maps *m, uint32_t flows, const char *pin_folder, char *why,
		   size_t size) must_check;
/* With `leave` the pins stay, and so what they pin. */
void wire_maps_close(struct wire_maps *m, bool leave);
/* Removes pins that nobody has any more. How many flows there were, or -errno (-EBUSY: a process
 * has them). */
int wire_maps_clear(const char *pin_folder) must_check;

/* From now on a socket takes nothing, and acknowledges nothing. 0, or -1 with errno. */
int wire_maps_deafen(const struct wire_maps *m, int fd) must_check;

uint64_t wire_maps_memory(const struct wire_maps *m);

#endif
