/* SPDX-License-Identifier: MIT */
/*
 * Bounded pools of what a flow needs only while bytes wait in it: copy buffers and pipes. One pool
 * a worker, so no locks. Last in, first out: the one that was just used is warm in the cache. A
 * pool that is at its limit returns NULL, and the caller has another way (copy: peek; splice:
 * copy), so nobody waits for a flow that is stuck.
 */
#ifndef SHUNT_POOL_H
#define SHUNT_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define BUFFER_BYTES (64u << 10)
#define BUFFERS_IDLE_MAX 64     /* kept for the next burst; what comes back over that is unmapped */
#define BUFFERS_PER_WORKER 1024 /* 64 MiB of bytes that slow readers have not taken */
#define PIPE_BYTES (1u << 20)   /* asked for; an unprivileged user may get less */
#define PIPE_SLOT_BYTES 4096    /* at most, of each of a pipe's slots: a page */
#define PIPES_IDLE_MAX 16
#define PIPES_PER_WORKER 256

struct buffer {
	struct buffer *next;
	uint32_t start, len; /* the bytes that wait: data[start .. start + len) */
	uint8_t data[BUFFER_BYTES];
};

struct buffer_pool {
	struct buffer *idle;
	size_t n_idle, n_out, limit;
};

void buffer_pool_init(struct buffer_pool *p, size_t limit);
void buffer_pool_close(struct buffer_pool *p);               /* all buffers must be back */
struct buffer *buffer_get(struct buffer_pool *p) must_check; /* NULL: at the limit, or no memory */
void buffer_put(struct buffer_pool *p, struct buffer *b);    /* takes NULL */

struct pipe {
	struct pipe *next;
	int read_fd, write_fd;
	uint32_t capacity; /* bytes, if every page of it is full */
	uint32_t len;      /* the bytes that wait in it */
};

struct pipe_pool {
	struct pipe *idle;
	size_t n_idle, n_out, limit;
};

void pipe_pool_init(struct pipe_pool *p, size_t limit);
void pipe_pool_close(struct pipe_pool *p);
struct pipe *pipe_get(struct pipe_pool *p)
	must_check; /* NULL: at the limit, or no fds, or no memory */
/* Takes NULL. A pipe that still holds bytes is closed: nobody else may ever read them. */
void pipe_put(struct pipe_pool *p, struct pipe *pipe);

#endif
