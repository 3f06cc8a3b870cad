/* SPDX-License-Identifier: MIT */
/*
 * Takes the place of sockmap.c in a build without BPF: there is nothing to open, so the functions
 * that want something opened are never called, and only say so.
 */
#include <stdio.h>

#include "sockmap.h"

int sockmap_open(const struct sockmap_conf *conf, struct sockmap **out, char *why, size_t size)
{
	(void)conf;
	(void)out;
	snprintf(why, size, "this shunt was built without BPF");
	return -EOPNOTSUPP;
}

void sockmap_close(struct sockmap *m)
{
	(void)m;
}

const struct sockmap_conf *sockmap_conf(const struct sockmap *m)
{
	(void)m;
	return NULL;
}

uint64_t sockmap_memory(const struct sockmap *m)
{
	(void)m;
	return 0;
}

int sockmap_counters(const struct sockmap *m, uint64_t out[N_SHUNT_COUNTERS])
{
	(void)m;
	(void)out;
	return -EOPNOTSUPP;
}

size_t sockmap_entries(const struct sockmap *m)
{
	(void)m;
	return 0;
}

struct shunt_direction *sockmap_direction(const struct sockmap *m, uint32_t slot)
{
	(void)m;
	(void)slot;
	return NULL;
}

int sockmap_insert(struct sockmap *m, uint32_t slot, int fd, uint64_t *cookie)
{
	(void)m;
	(void)slot;
	(void)fd;
	(void)cookie;
	return -EOPNOTSUPP;
}

void sockmap_forget(struct sockmap *m, uint64_t cookie)
{
	(void)m;
	(void)cookie;
}

int sockmap_ring_open(struct sockmap *m, uint32_t worker, sockmap_event_fn on_event, void *arg,
		      struct sockmap_ring **out)
{
	(void)m;
	(void)worker;
	(void)on_event;
	(void)arg;
	(void)out;
	return -EOPNOTSUPP;
}

int sockmap_ring_fd(const struct sockmap_ring *r)
{
	(void)r;
	return -1;
}

void sockmap_ring_consume(struct sockmap_ring *r)
{
	(void)r;
}

void sockmap_ring_close(struct sockmap_ring *r)
{
	(void)r;
}
