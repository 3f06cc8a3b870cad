/* SPDX-License-Identifier: MIT */
/*
 * HTTP for those who watch the daemon: /metrics for Prometheus, /healthz and /readyz for whoever
 * restarts or routes. libmicrohttpd does the protocol, and is driven by the main thread's loop: so
 * an answer may look at apps and backends as the admin socket does, and asks the workers in the
 * same way (flows.h).
 *
 * Bounded: in clients, in the memory of each, and in how long one may be silent.
 */
#ifndef SHUNT_HTTP_H
#define SHUNT_HTTP_H

#include "admin.h"

#define HTTP_CLIENTS_MAX 64
#define HTTP_CLIENT_MEMORY_BYTES (16u << 10)
#define HTTP_SILENCE_MAX_S 10

struct http;

/*
 * Listens and serves from the loop. 0 with *out for http_close(), or -errno with the reason as a
 * phrase in why. The context is copied; what it points to must outlive the server.
 */
int http_open(struct loop *loop, const struct addr *at, const struct admin_context *context,
	      struct http **out, char *why, size_t size) must_check;
/* To be called when no worker runs any more; takes NULL. */
void http_close(struct http *h);

#endif
