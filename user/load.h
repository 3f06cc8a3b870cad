/* SPDX-License-Identifier: MIT */
/*
 * Load, on both sides of what is measured. Clients (load_run()) send messages and wait for their
 * echo, on lasting connections or on a new one for each, or send bulk as fast as it is taken.
 * Request loads are closed loops: each connection has one message under way. Servers
 * (load_serve()) echo what they get, or count it and throw it away. Nothing here prints.
 */
#ifndef SHUNT_LOAD_H
#define SHUNT_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "histogram.h"
#include "util.h"

#define LOAD_MESSAGE_MAX_BYTES (1u << 20)

enum load_kind {
	LOAD_REQUESTS, /* a message and its echo, again and again on the same connection */
	LOAD_CHURN,    /* connect, one message and its echo, close */
	LOAD_BULK,     /* one way, to a server that does not echo */
};

struct load_conf {
	enum load_kind kind;
	struct addr at;
	unsigned int connections, threads; /* threads: 1 to connections */
	unsigned int size;                 /* bytes of a message; for bulk, of a send() */
	uint32_t warmup_ms, measure_ms;
	/* Called when the measured time begins and when it ends; NULL: nobody wants to know. */
	void (*on_window)(void *arg, bool begins);
	void *arg;
};

struct load_result {
	struct histogram latency; /* ns, of messages (churn: from the connect) within the measured
				     time; empty for bulk */
	uint64_t all_messages;    /* also those of the warm-up */
	uint64_t errors;          /* connections that failed or ended early */
};

/* Runs for warmup_ms + measure_ms. 0, or -errno when it could not start. */
int load_run(const struct load_conf *conf, struct load_result *out) must_check;

struct load_server_conf {
	struct addr at;
	unsigned int threads; /* each with a listening socket of its own (SO_REUSEPORT) */
	bool echo;
	atomic_uint_fast64_t *received; /* counts the bytes as they arrive; NULL: nobody does */
};

/*
 * Starts a server's threads, which serve until the process ends. What comes from the moment of the
 * return is served. 0 or -errno.
 */
int load_serve(const struct load_server_conf *conf) must_check;

#endif
