/* SPDX-License-Identifier: MIT */
/*
 * What the probes of engines share: their checks, which are run one after the other until one
 * fails, each a row of the report; and a stream of bytes by which both ends of a connection find
 * out whether any was lost, doubled or moved.
 */
#ifndef SHUNT_PROBE_CHECK_H
#define SHUNT_PROBE_CHECK_H

#include "probe.h"

#define PROBE_CHUNK_BYTES (64u << 10)
/* A check's result: this host can't have what it is about, and so will not miss it. */
#define PROBE_NEEDLESS 1

struct probe_check {
	const char *name, *tried, *follows;
	/* 0, PROBE_NEEDLESS, or -errno; with what it found, told by probe_found(). */
	int (*run)(void *trial, struct probe_result *r);
};

struct probe_suite {
	const struct probe_check *checks;
	size_t n;
	const char *otherwise; /* what follows when one of them fails */
	/* Makes the trial ready for the next check, however the last one went. */
	void (*clean)(void *trial);
	/* It connects by the loopback. Where that is permitted, it does so in a network of its own,
	 * and leaves no ports in TIME_WAIT in the process's, which somebody may want to listen on. */
	bool uses_loopback;
};

/* 0, or what the first check that failed returned, with what it found in why. */
int probe_run(struct probe_report *report, const struct probe_suite *suite, void *trial, char *why,
	      size_t size) must_check;

/* A new row, not tried yet. */
struct probe_result *probe_add(struct probe_report *report, const char *name, const char *tried,
			       const char *follows);
/* Says what a check has found. Returns rc. */
int probe_found(struct probe_result *r, int rc, const char *fmt, ...) printf_like(3, 4);

/* For how long it is waited. */
struct probe_patience {
	uint64_t stuck_ns, end_ns;
	const struct probe_result *result; /* of the check that ran last */
	size_t moved;
};

void probe_patience_begin(struct probe_patience *p);
/*
 * At each turn of a check: `moved` changes with whatever is sent or received. 0, or -ETIMEDOUT and
 * found: it has been waited for long enough.
 */
int probe_patience_ends(struct probe_patience *p, struct probe_result *r, uint64_t now_ns,
			size_t moved) must_check;

/* Sends more of a stream, without waiting, at most len bytes. How many; 0: the socket is full. */
size_t probe_send(int fd, int stream, size_t *sent, size_t len);
/*
 * Receives more of it, without waiting. 0, or -errno and found: a byte was wrong, or the
 * connection failed. Sets *end at the end of the stream.
 */
int probe_receive(struct probe_result *r, int fd, int stream, size_t *received, size_t len,
		  bool *end) must_check;

#endif
