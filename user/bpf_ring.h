/* SPDX-License-Identifier: MIT */
/*
 * A BPF ring buffer in an array of rings: a thread reads one of its own, and the program finds it
 * there by its index. Not in a build without BPF.
 */
#ifndef SHUNT_BPF_RING_H
#define SHUNT_BPF_RING_H

#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct bpf_ring;

typedef void (*bpf_ring_fn)(void *arg, const void *entry, size_t size);

/*
 * Makes a ring with room for `entries` of `entry_bytes` each, and puts it into the array, in place
 * of one that is there. 0 or -errno.
 */
int bpf_ring_open(int array_fd, uint32_t index, size_t entries, size_t entry_bytes,
		  bpf_ring_fn each, void *arg, struct bpf_ring **out) must_check;
int bpf_ring_fd(const struct bpf_ring *r); /* readable when there are entries */
void bpf_ring_consume(struct bpf_ring *r); /* calls `each` for every entry */
void bpf_ring_close(struct bpf_ring *r);   /* takes NULL; it stays in the array */

#endif
