/* SPDX-License-Identifier: MIT */
/*
 * Takes the place of bypass.c in a build without BPF: there is nothing to open, so the functions
 * that want something opened are never called, and only say so.
 */
#include <stdio.h>

#include "bypass.h"

int bypass_open(const struct bypass_conf *conf, struct bypass **out, char *why, size_t size)
{
	(void)conf;
	(void)out;
	snprintf(why, size, "this shunt was built without BPF");
	return -EOPNOTSUPP;
}

void bypass_close(struct bypass *b)
{
	(void)b;
}

const struct bypass_conf *bypass_conf(const struct bypass *b)
{
	(void)b;
	return NULL;
}

uint64_t bypass_memory(const struct bypass *b)
{
	(void)b;
	return 0;
}

int bypass_counters(const struct bypass *b, uint64_t out[N_BYPASS_COUNTERS])
{
	(void)b;
	(void)out;
	return -EOPNOTSUPP;
}

size_t bypass_ends(const struct bypass *b)
{
	(void)b;
	return 0;
}

int bypass_listen(struct bypass *b, const struct addr *at, bool on)
{
	(void)b;
	(void)at;
	(void)on;
	return -EOPNOTSUPP;
}

int bypass_expect(struct bypass *b, int fd, uint64_t *cookie)
{
	(void)b;
	(void)fd;
	(void)cookie;
	return -EOPNOTSUPP;
}

bool bypass_recognizes(struct bypass *b, uint64_t cookie)
{
	(void)b;
	(void)cookie;
	return false;
}

void bypass_release(struct bypass *b, uint64_t cookie)
{
	(void)b;
	(void)cookie;
}

void bypass_forget(struct bypass *b, uint64_t cookie)
{
	(void)b;
	(void)cookie;
}

int bypass_cookie(int fd, uint64_t *cookie)
{
	(void)fd;
	(void)cookie;
	return -EOPNOTSUPP;
}

struct bypass_direction *bypass_direction(const struct bypass *b, uint32_t flow, int from)
{
	(void)b;
	(void)flow;
	(void)from;
	return NULL;
}

enum bypass_pairing bypass_pair(struct bypass *b, uint32_t flow, const uint64_t own[2])
{
	(void)b;
	(void)flow;
	(void)own;
	return BYPASS_CLIENT_UNKNOWN;
}

enum bypass_pairing bypass_halve(struct bypass *b, uint32_t flow, int from, const uint64_t own[2],
				 int outlet, uint64_t written)
{
	(void)b;
	(void)flow;
	(void)from;
	(void)own;
	(void)outlet;
	(void)written;
	return BYPASS_CLIENT_UNKNOWN;
}

void bypass_part(struct bypass *b, uint32_t flow)
{
	(void)b;
	(void)flow;
}
