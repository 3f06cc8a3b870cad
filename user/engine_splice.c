/* SPDX-License-Identifier: MIT */
/*
 * The splice engine: splice(2) from socket to pipe to socket; the bytes never come to userspace. A
 * pipe is taken from the pool for each fill and goes back when it is empty, so an idle flow holds
 * none. Two things that recv knows and splice does not: how to get past an urgent mark, and what to
 * do without a pipe. In both cases the direction goes to copy.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "engine.h"

static int splice_probe(char *why, size_t size)
{
	struct pipe_pool pool;
	struct pipe *pipe;

	pipe_pool_init(&pool, 1);
	pipe = pipe_get(&pool);
	if (!pipe) {
		snprintf(why, size, "no pipe could be made: %m");
		return -errno;
	}
	pipe_put(&pool, pipe);
	pipe_pool_close(&pool);
	return 0;
}

static int splice_start(struct relay *r, int from)
{
	/* splice(2) never sees bytes that went through a sockmap. */
	return r->side[from].urgent || r->joined ? -EOPNOTSUPP : 0;
}

static void splice_stop(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];

	pipe_put(&r->pools->pipes, d->pipe);
	d->pipe = NULL;
}

static ssize_t splice_some(int from_fd, int to_fd, size_t len)
{
	ssize_t n;

	do
		n = splice(from_fd, NULL, to_fd, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	return n;
}

/*
 * splice(2) says 0 at the end of a stream, and also at an urgent mark that the end is known to come
 * after. recv tells them apart. 0 or -errno.
 */
static int end_or_mark(struct relay *r, int from)
{
	struct side *s = &r->side[from];
	char next;
	ssize_t n = recv(s->watch.fd, &next, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN)
		return relay_fail(r, from, errno);
	if (n > 0) {
		s->urgent = true;
		return 0;
	}
	r->dir[from].eof = n == 0;
	s->readable = false;
	return 0;
}

/*
 * Fills the empty pipe. Bytes read, 0 when there is nothing now or never again, or -errno. A short
 * fill says that the socket is empty only if it has brought fewer bytes than the pipe has slots,
 * since each slot holds at least one: otherwise the slots may have run out first.
 */
static ssize_t fill(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];
	struct side *s = &r->side[from];
	ssize_t n = splice_some(s->watch.fd, d->pipe->write_fd, d->pipe->capacity);

	if (n < 0 && errno != EAGAIN)
		return relay_fail(r, from, errno);
	if (n == 0)
		return end_or_mark(r, from);
	if (n < 0) {
		s->readable = false;
		return 0;
	}
	if ((size_t)n < d->pipe->capacity / PIPE_SLOT_BYTES && !s->hangup)
		s->readable = false;
	direction_note_read(r, d, (size_t)n);
	d->pipe->len = (uint32_t)n;
	return n;
}

/* Empties the pipe into the destination; it goes back as soon as it is empty. 0 or -errno. */
static int drain(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];
	struct side *to = &r->side[!from];

	while (d->pipe->len) {
		ssize_t n = splice_some(d->pipe->read_fd, to->watch.fd, d->pipe->len);

		if (n < 0 && errno != EAGAIN)
			return relay_fail(r, !from, errno);
		if (n <= 0) {
			to->writable = false;
			return 0;
		}
		d->pipe->len -= (uint32_t)n;
		direction_note_written(r, d, (size_t)n);
	}
	splice_stop(r, from);
	return 0;
}

/* One fill and one drain. Bytes read, 0 for nothing or when it has gone to copy, or -errno. */
static ssize_t splice_move(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];
	ssize_t n;
	int rc;

	if (r->side[from].urgent) {
		direction_switch(r, from, &engine_copy, ENGINE_URGENT_DATA);
		return 0;
	}
	d->pipe = pipe_get(&r->pools->pipes);
	if (!d->pipe) {
		direction_switch(r, from, &engine_copy, ENGINE_NO_PIPE);
		return 0;
	}
	n = fill(r, from);
	if (n <= 0) {
		splice_stop(r, from);
		return n;
	}
	rc = drain(r, from);
	return rc ? rc : n;
}

static int splice_pump(struct relay *r, int from)
{
	return direction_pump(r, from, drain, splice_move);
}

const struct engine engine_splice = {
	.name = "splice",
	.summary = "splice(2) through a pooled pipe",
	.probe = splice_probe,
	.start = splice_start,
	.pump = splice_pump,
	.stop = splice_stop,
};
