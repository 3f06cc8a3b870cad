/* SPDX-License-Identifier: MIT */
#include "pool.h"

#include <assert.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

void buffer_pool_init(struct buffer_pool *p, size_t limit)
{
	*p = (struct buffer_pool){ .limit = limit };
}

/* mmap and not malloc: after a burst the memory really goes back to the system. */
static struct buffer *buffer_map(void)
{
	void *m = mmap(NULL, sizeof(struct buffer), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return m == MAP_FAILED ? NULL : m;
}

static void buffer_unmap(struct buffer *b)
{
	munmap(b, sizeof(*b));
}

void buffer_pool_close(struct buffer_pool *p)
{
	assert(!p->n_out);
	while (p->idle) {
		struct buffer *b = p->idle;

		p->idle = b->next;
		buffer_unmap(b);
	}
	p->n_idle = 0;
}

struct buffer *buffer_get(struct buffer_pool *p)
{
	struct buffer *b = p->idle;

	if (p->n_out >= p->limit)
		return NULL;
	if (b) {
		p->idle = b->next;
		p->n_idle--;
	} else {
		b = buffer_map();
		if (!b)
			return NULL;
	}
	p->n_out++;
	b->start = b->len = 0;
	return b;
}

void buffer_put(struct buffer_pool *p, struct buffer *b)
{
	if (!b)
		return;
	p->n_out--;
	if (p->n_idle >= BUFFERS_IDLE_MAX) {
		buffer_unmap(b);
		return;
	}
	b->next = p->idle;
	p->idle = b;
	p->n_idle++;
}

void pipe_pool_init(struct pipe_pool *p, size_t limit)
{
	*p = (struct pipe_pool){ .limit = limit };
}

static struct pipe *pipe_open(void)
{
	struct pipe *pipe = calloc(1, sizeof(*pipe));
	int fds[2], size;

	if (!pipe)
		return NULL;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC)) {
		free(pipe);
		return NULL;
	}
	pipe->read_fd = fds[0];
	pipe->write_fd = fds[1];
	/* Refused over pipe-max-size or the user's share of pipe pages: then it stays as it is. */
	size = fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
	if (size < 0)
		size = fcntl(fds[1], F_GETPIPE_SZ);
	pipe->capacity = size > 0 ? (uint32_t)size : 4096;
	return pipe;
}

static void pipe_close(struct pipe *pipe)
{
	close(pipe->read_fd);
	close(pipe->write_fd);
	free(pipe);
}

void pipe_pool_close(struct pipe_pool *p)
{
	assert(!p->n_out);
	while (p->idle) {
		struct pipe *pipe = p->idle;

		p->idle = pipe->next;
		pipe_close(pipe);
	}
	p->n_idle = 0;
}

struct pipe *pipe_get(struct pipe_pool *p)
{
	struct pipe *pipe = p->idle;

	if (p->n_out >= p->limit)
		return NULL;
	if (pipe) {
		p->idle = pipe->next;
		p->n_idle--;
	} else {
		pipe = pipe_open();
		if (!pipe)
			return NULL;
	}
	p->n_out++;
	return pipe;
}

void pipe_put(struct pipe_pool *p, struct pipe *pipe)
{
	if (!pipe)
		return;
	p->n_out--;
	if (pipe->len || p->n_idle >= PIPES_IDLE_MAX) {
		pipe_close(pipe);
		return;
	}
	pipe->next = p->idle;
	p->idle = pipe;
	p->n_idle++;
}
