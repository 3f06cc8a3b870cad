/* SPDX-License-Identifier: MIT */
/*
 * The BPF side of the sockmap engine: loads the verdict program (bpf/shunt.bpf.c), attaches it to
 * the map of sockets, pins what is worth looking at, and hands out the records and rings. It knows
 * sockets and slots, no relays. The only module that includes the skeleton; in a build without BPF
 * sockmap_none.c stands in for it.
 *
 * Threads: what sockmap_open() made does not change until sockmap_close(); a slot and a ring belong
 * to one worker, so nothing here needs a lock.
 */
#ifndef SHUNT_SOCKMAP_H
#define SHUNT_SOCKMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shunt_abi.h"
#include "util.h"

#define SOCKMAP_BACKLOG_CAP_DEFAULT_BYTES (1u << 20)
#define SOCKMAP_PIN_FOLDER "/sys/fs/bpf/shunt"

struct sockmap_conf {
	uint32_t workers;
	uint32_t flows_per_worker;  /* two slots each: worker w has slots [w * 2n, (w + 1) * 2n) */
	uint32_t backlog_cap_bytes; /* of one direction */
	bool pin;                   /* under SOCKMAP_PIN_FOLDER, if there is a bpffs */
};

struct sockmap;
struct sockmap_ring;

/*
 * Loads and attaches. 0 with *out for sockmap_close(), or -errno with a phrase for the operator in
 * `why`. What could not be pinned is logged and no error.
 */
int sockmap_open(const struct sockmap_conf *conf, struct sockmap **out, char *why,
		 size_t size) must_check;
void sockmap_close(struct sockmap *m); /* takes NULL; no socket may be left in it */

const struct sockmap_conf *sockmap_conf(const struct sockmap *m);
/* Bytes of kernel memory that its maps take, used or not. */
uint64_t sockmap_memory(const struct sockmap *m);
/* What became of the segments so far: sums over all CPUs. 0 or -errno. */
int sockmap_counters(const struct sockmap *m, uint64_t out[N_SHUNT_COUNTERS]) must_check;
/* What each of them is called, for whoever tells of them. */
extern const char *const sockmap_counter_names[N_SHUNT_COUNTERS];
/* Entries of the map of cookies: the sockets that have a slot. */
size_t sockmap_entries(const struct sockmap *m);

/* The record of the direction that starts at a slot. Shared with the program: see shunt_abi.h. */
struct shunt_direction *sockmap_direction(const struct sockmap *m, uint32_t slot);

/*
 * Puts a socket into the map: from now on the program judges what arrives on it. 0 with its cookie,
 * or -errno (EOPNOTSUPP: it is not established), and then it is as it was. There is no way out but
 * to close it.
 */
int sockmap_insert(struct sockmap *m, uint32_t slot, int fd, uint64_t *cookie) must_check;
/* After a socket was closed: its slot may be used again. */
void sockmap_forget(struct sockmap *m, uint64_t cookie);

/* A worker's events. */
typedef void (*sockmap_event_fn)(void *arg, uint32_t slot, uint32_t generation);

int sockmap_ring_open(struct sockmap *m, uint32_t worker, sockmap_event_fn on_event, void *arg,
		      struct sockmap_ring **out) must_check; /* 0 or -errno */
int sockmap_ring_fd(const struct sockmap_ring *r);           /* readable when there are events */
void sockmap_ring_consume(struct sockmap_ring *r);           /* calls on_event for each */
void sockmap_ring_close(struct sockmap_ring *r);             /* takes NULL */

#endif
