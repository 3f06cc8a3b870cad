/* SPDX-License-Identifier: MIT */
/*
 * Why a session ended: one table with the name that logs and counters use, the first of the two
 * HAProxy-like termination letters, and whether the peers must be told by a RST. A FIN says "that
 * was all"; where it was not all, only a RST is the truth.
 */
#ifndef SHUNT_REASON_H
#define SHUNT_REASON_H

#include <stdbool.h>

enum close_reason {
	CLOSE_DONE,
	CLOSE_CLIENT_RESET,
	CLOSE_CLIENT_LOST,
	CLOSE_BACKEND_RESET,
	CLOSE_BACKEND_LOST,
	CLOSE_NO_BACKEND,
	CLOSE_NO_ENABLED_BACKEND,
	CLOSE_BACKEND_DOWN,
	CLOSE_BACKEND_DISABLED,
	CLOSE_CONNECT_TIMEOUT,
	CLOSE_IDLE_TIMEOUT,
	CLOSE_HALF_CLOSE_TIMEOUT,
	CLOSE_MAX_CONNECTIONS,
	CLOSE_QUEUE_FULL,
	CLOSE_QUEUE_TIMEOUT,
	CLOSE_SOURCE_CONNECTIONS,
	CLOSE_SOURCE_RATE,
	CLOSE_HEADER_UNTRUSTED,
	CLOSE_HEADER_MISSING,
	CLOSE_HEADER_MALFORMED,
	CLOSE_HEADER_TIMEOUT,
	CLOSE_NO_RESOURCES,
	CLOSE_STOPPED,
	CLOSE_DRAIN_TIMEOUT,
	CLOSE_LEFT,
	CLOSE_INTERNAL,
	N_CLOSE_REASONS
};

struct close_reason_info {
	const char *name;
	/*
	 * As in HAProxy's log: C the client, S the backend, P a rule of the proxy's, R resources,
	 * K killed by the operator, I internal, - nothing. T becomes c or s, by the side whose
	 * silence it was.
	 */
	char letter;
	bool resets;   /* the peers get a RST */
	bool is_flood; /* of an attack there may be very many: the log tells of them together */
};

extern const struct close_reason_info close_reasons[N_CLOSE_REASONS];

#endif
