/* SPDX-License-Identifier: MIT */
/*
 * Takes the place of wire.c in a build without BPF: there is nothing to open, so the functions that
 * want something opened are never called, and only say so.
 */
#include <stdio.h>

#include "wire.h"

int wire_open(const struct wire_conf *conf, struct wire **out, char *why, size_t size)
{
	(void)conf;
	(void)out;
	snprintf(why, size, "this shunt was built without BPF");
	return -EOPNOTSUPP;
}

void wire_close(struct wire *w, bool leave)
{
	(void)w;
	(void)leave;
}

int wire_clear(const char *pin_folder)
{
	(void)pin_folder;
	return -EOPNOTSUPP;
}

int wire_program_fd(const struct wire *w)
{
	(void)w;
	return -1;
}

const char *wire_pin_folder(const struct wire *w)
{
	(void)w;
	return NULL;
}

struct park *wire_park(const struct wire *w)
{
	(void)w;
	return NULL;
}

uint32_t wire_capacity(const struct wire *w)
{
	(void)w;
	return 0;
}

uint64_t wire_memory(const struct wire *w)
{
	(void)w;
	return 0;
}

int wire_counters(const struct wire *w, uint64_t out[N_WIRE_COUNTERS])
{
	(void)w;
	(void)out;
	return -EOPNOTSUPP;
}

void wire_lose(struct wire *w, uint32_t per_million)
{
	(void)w;
	(void)per_million;
}

int wire_listen(struct wire *w, const struct addr *at, bool on)
{
	(void)w;
	(void)at;
	(void)on;
	return -EOPNOTSUPP;
}

int wire_listen_late(struct wire *w, const struct addr *at, bool late)
{
	(void)w;
	(void)at;
	(void)late;
	return -EOPNOTSUPP;
}

int wire_expect(struct wire *w, int fd)
{
	(void)w;
	(void)fd;
	return -EOPNOTSUPP;
}

int wire_watch(struct wire *w, const struct wire_tuple *leg)
{
	(void)w;
	(void)leg;
	return -EOPNOTSUPP;
}

bool wire_is_seen(const struct wire *w, const struct wire_tuple *leg)
{
	(void)w;
	(void)leg;
	return false;
}

int wire_hold(struct wire *w, const struct wire_tuple *leg)
{
	(void)w;
	(void)leg;
	return -EOPNOTSUPP;
}

bool wire_is_held(struct wire *w, const struct wire_tuple *leg, struct wire_hold *hold)
{
	(void)w;
	(void)leg;
	(void)hold;
	return false;
}

void wire_release(struct wire *w, const struct wire_tuple *leg)
{
	(void)w;
	(void)leg;
}

struct wire_flow *wire_flow(struct wire *w, uint32_t flow)
{
	(void)w;
	(void)flow;
	return NULL;
}

struct wire_direction *wire_direction(struct wire *w, uint32_t flow, int side)
{
	(void)w;
	(void)flow;
	(void)side;
	return NULL;
}

int64_t wire_take(struct wire *w, uint64_t now_ns)
{
	(void)w;
	(void)now_ns;
	return -ENOSPC;
}

enum wire_refusal wire_join(struct wire *w, uint32_t flow, const int fds[2], uint32_t ring,
			    bool must_be_seen, struct wire_request *request)
{
	(void)w;
	(void)flow;
	(void)fds;
	(void)ring;
	(void)must_be_seen;
	(void)request;
	return WIRE_NO_SOCKET;
}

void wire_kill(struct wire *w, uint32_t flow)
{
	(void)w;
	(void)flow;
}

void wire_end(struct wire *w, uint32_t flow, uint64_t now_ns)
{
	(void)w;
	(void)flow;
	(void)now_ns;
}

void wire_give(struct wire *w, uint32_t flow, uint64_t now_ns)
{
	(void)w;
	(void)flow;
	(void)now_ns;
}

size_t wire_reroute(struct wire *w)
{
	(void)w;
	return 0;
}

size_t wire_adopt(struct wire *w, uint32_t ring, void (*each)(void *arg, uint32_t flow), void *arg)
{
	(void)w;
	(void)ring;
	(void)each;
	(void)arg;
	return 0;
}

int wire_ring_open(struct wire *w, uint32_t ring, wire_event_fn on_event, void *arg,
		   struct wire_ring **out)
{
	(void)w;
	(void)ring;
	(void)on_event;
	(void)arg;
	(void)out;
	return -EOPNOTSUPP;
}

int wire_ring_fd(const struct wire_ring *r)
{
	(void)r;
	return -1;
}

bool wire_ring_consume(struct wire_ring *r)
{
	(void)r;
	return true;
}

void wire_ring_close(struct wire_ring *r)
{
	(void)r;
}
