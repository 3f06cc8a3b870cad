/* SPDX-License-Identifier: MIT */
/*
 * The copy engine: recv and send through a pooled buffer. A small message costs one recv and one
 * send: a recv that brings less than it had room for has emptied the socket, and whatever comes
 * later is a new edge. When the pool is empty it still moves bytes and still holds none: it peeks,
 * sends what the destination takes, and only then consumes that much. It costs a call more, and
 * nobody waits for a flow that is stuck.
 */
#include <string.h>
#include <sys/socket.h>

#include "engine.h"

static int copy_probe(char *why, size_t size)
{
	(void)why;
	(void)size;
	return 0;
}

static int copy_start(struct relay *r, int from)
{
	(void)r;
	(void)from;
	return 0;
}

static void copy_stop(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];

	buffer_put(&r->pools->buffers, d->buffer);
	d->buffer = NULL;
}

/* Bytes taken (> 0), 0 when the destination is full, or -errno. */
static ssize_t send_some(struct relay *r, int from, const uint8_t *data, size_t len)
{
	struct side *to = &r->side[!from];
	ssize_t n;

	do
		n = send(to->watch.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return relay_fail(r, !from, errno);
	if (n < 0)
		n = 0;
	if ((size_t)n < len)
		to->writable = false; /* the next edge comes when a third of its buffer is free */
	direction_note_written(r, &r->dir[from], (size_t)n);
	return n;
}

/* Bytes read (> 0), 0 when there is nothing now or never again, or -errno. */
static ssize_t receive(struct relay *r, int from, uint8_t *data, size_t room, int flags)
{
	struct direction *d = &r->dir[from];
	struct side *s = &r->side[from];
	ssize_t n;

	do
		n = recv(s->watch.fd, data, room, flags | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != EAGAIN)
		return relay_fail(r, from, errno);
	if (n == 0)
		d->eof = true;
	if (n <= 0) {
		s->readable = s->urgent = false;
		return 0;
	}
	if ((size_t)n < room && !s->hangup && !s->urgent)
		s->readable = false;
	return n;
}

/* Sends what waits; the buffer goes back as soon as it is empty. 0 or -errno. */
static int flush(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];
	struct buffer *b = d->buffer;
	ssize_t n = send_some(r, from, b->data + b->start, b->len);

	if (n < 0)
		return (int)n;
	b->start += (uint32_t)n;
	b->len -= (uint32_t)n;
	if (!b->len)
		copy_stop(r, from);
	return 0;
}

/* Consumes n bytes that were peeked at and have been sent. They are in the queue, so it can't fall
 * short. */
static int discard(struct relay *r, int from, size_t n)
{
	while (n) {
		ssize_t gone = recv(r->side[from].watch.fd, r->pools->scratch, n,
				    MSG_TRUNC | MSG_DONTWAIT);

		if (gone <= 0 && !(gone < 0 && errno == EINTR))
			return relay_fail(r, from, gone ? errno : EPROTO);
		if (gone > 0)
			n -= (size_t)gone;
	}
	return 0;
}

/* One read and one write without a buffer. Bytes read, 0 for nothing, or -errno. */
static ssize_t move_by_peeking(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];
	ssize_t n = receive(r, from, r->pools->scratch, BUFFER_BYTES, MSG_PEEK), sent;
	int rc;

	if (n <= 0)
		return n;
	sent = send_some(r, from, r->pools->scratch, (size_t)n);
	if (sent < 0)
		return sent;
	rc = discard(r, from, (size_t)sent);
	if (rc)
		return rc;
	direction_note_read(r, d, (size_t)sent);
	if (sent < n)
		r->side[from].readable =
			true; /* the rest is still in its queue, and no edge will say so */
	return n;
}

/* The same with one. */
static ssize_t move_by_buffer(struct relay *r, int from, struct buffer *b)
{
	struct direction *d = &r->dir[from];
	ssize_t n;
	int rc;

	d->buffer = b;
	n = receive(r, from, b->data, BUFFER_BYTES, 0);
	if (n <= 0) {
		copy_stop(r, from);
		return n;
	}
	direction_note_read(r, d, (size_t)n);
	b->len = (uint32_t)n;
	rc = flush(r, from);
	return rc ? rc : n;
}

/* One read and one write. Bytes read, 0 for nothing, or -errno. */
static ssize_t copy_move(struct relay *r, int from)
{
	struct buffer *b = buffer_get(&r->pools->buffers);

	return b ? move_by_buffer(r, from, b) : move_by_peeking(r, from);
}

static int copy_pump(struct relay *r, int from)
{
	return direction_pump(r, from, flush, copy_move);
}

const struct engine engine_copy = {
	.name = "copy",
	.summary = "recv and send through a pooled buffer",
	.probe = copy_probe,
	.start = copy_start,
	.pump = copy_pump,
	.stop = copy_stop,
};
