/* SPDX-License-Identifier: MIT */
/*
 * What the modules that load BPF programs (sockmap, wire_maps) have in common: getting ready,
 * saying why it did not work, folders for pins, counters, and what the maps cost. Not in a build
 * without BPF.
 */
#ifndef SHUNT_BPF_LOAD_H
#define SHUNT_BPF_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "util.h"

struct bpf_object;

/* Before libbpf is used: its messages go to the log, and locked memory has no limit. */
void bpf_load_begin(void);
/*
 * A phrase for the operator about a failed load. error: a positive errno; first_kernel: the first
 * version that can have the program.
 */
void bpf_load_explain(int error, const char *first_kernel, char *why, size_t size);

/* Makes a folder in a bpffs, and those above it, for root alone. 0, -ENODEV: there is no bpffs; or
 * another -errno. */
int bpf_load_folder(const char *path) must_check;

/* The bytes of kernel memory that an object's maps take, used or not. */
uint64_t bpf_load_memory(const struct bpf_object *object);
/* The entries of a per-CPU array of n 64-bit numbers, each summed over all CPUs. 0 or -errno. */
int bpf_load_counters(int map_fd, uint32_t n, uint64_t *out) must_check;
/* How many entries a hash with 64-bit keys has, or had a moment ago. */
size_t bpf_load_count_keys(int map_fd);

#endif
