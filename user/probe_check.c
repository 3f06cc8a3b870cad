/* SPDX-License-Identifier: MIT */
#include "probe_check.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "net.h"

/* --- checks ---------------------------------------------------------------------------------- */

struct probe_result *probe_add(struct probe_report *report, const char *name, const char *tried,
			       const char *follows)
{
	struct probe_result *r = &report->list[report->n++];

	if (report->n > PROBE_RESULTS_MAX)
		abort(); /* the rows are constants */
	*r = (struct probe_result){ .name = name, .tried = tried, .follows = follows };
	return r;
}

int probe_found(struct probe_result *r, int rc, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(r->outcome, sizeof(r->outcome), fmt, args);
	va_end(args);
	return rc;
}

static int run(const struct probe_suite *suite, const struct probe_check *c, void *trial,
	       struct probe_result *r)
{
	int rc = c->run(trial, r);

	suite->clean(trial);
	r->status = rc < 0 ? PROBE_FAILS : rc == PROBE_NEEDLESS ? PROBE_NOT_TRIED : PROBE_WORKS;
	if (rc >= 0)
		r->follows = c->follows;
	return MIN(rc, 0);
}

static int run_all(struct probe_report *report, const struct probe_suite *suite, void *trial,
		   char *why, size_t size)
{
	int rc = 0;

	for (size_t i = 0; i < suite->n; i++) {
		const struct probe_check *c = &suite->checks[i];
		struct probe_result *r = probe_add(report, c->name, c->tried, suite->otherwise);

		if (rc)
			continue;
		rc = run(suite, c, trial, r);
		if (rc)
			snprintf(why, size, "%s", r->outcome);
	}
	return rc;
}

struct apart {
	struct probe_report *report;
	const struct probe_suite *suite;
	void *trial;
	char *why;
	size_t size;
	int rc;
};

static void *run_apart(void *arg)
{
	struct apart *a = arg;

	(void)!net_unshare();
	a->rc = run_all(a->report, a->suite, a->trial, a->why, a->size);
	return NULL;
}

int probe_run(struct probe_report *report, const struct probe_suite *suite, void *trial, char *why,
	      size_t size)
{
	struct apart a = { report, suite, trial, why, size, 0 };
	pthread_t thread;

	if (!suite->uses_loopback || pthread_create(&thread, NULL, run_apart, &a))
		return run_all(report, suite, trial, why, size);
	pthread_join(thread, NULL);
	return a.rc;
}

/* --- patience -------------------------------------------------------------------------------- */

void probe_patience_begin(struct probe_patience *p)
{
	*p = (struct probe_patience){ .end_ns = clock_ns() + PROBE_MAX_MS * NSEC_PER_MSEC };
}

int probe_patience_ends(struct probe_patience *p, struct probe_result *r, uint64_t now_ns,
			size_t moved)
{
	if (r != p->result || moved != p->moved)
		p->stuck_ns = now_ns + PROBE_STUCK_MS * NSEC_PER_MSEC;
	p->result = r;
	p->moved = moved;
	if (now_ns > p->stuck_ns)
		return probe_found(r, -ETIMEDOUT, "nothing moved any more");
	return now_ns > p->end_ns ? probe_found(r, -ETIMEDOUT, "it took too long") : 0;
}

/* --- streams --------------------------------------------------------------------------------- */

static uint8_t byte_at(int stream, size_t offset)
{
	return (uint8_t)((offset * 2654435761u) >> 13) ^ (uint8_t)(offset >> 8) ^ (uint8_t)stream;
}

size_t probe_send(int fd, int stream, size_t *sent, size_t len)
{
	uint8_t chunk[PROBE_CHUNK_BYTES];
	ssize_t n;

	len = MIN(len, sizeof(chunk));
	for (size_t k = 0; k < len; k++)
		chunk[k] = byte_at(stream, *sent + k);
	n = send(fd, chunk, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		*sent += (size_t)n;
	return n > 0 ? (size_t)n : 0;
}

int probe_receive(struct probe_result *r, int fd, int stream, size_t *received, size_t len,
		  bool *end)
{
	uint8_t chunk[PROBE_CHUNK_BYTES];
	ssize_t n = recv(fd, chunk, MIN(len, sizeof(chunk)), MSG_DONTWAIT);

	*end = n == 0;
	if (n < 0 && errno != EAGAIN)
		return probe_found(r, -errno, "a connection failed: %s", strerror(errno));
	for (ssize_t k = 0; k < n; k++)
		if (chunk[k] != byte_at(stream, *received + (size_t)k))
			return probe_found(r, -EIO,
					   "byte %zu was wrong: bytes are lost, doubled or moved",
					   *received + (size_t)k);
	if (n > 0)
		*received += (size_t)n;
	return 0;
}
