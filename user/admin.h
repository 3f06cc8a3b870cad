/* SPDX-License-Identifier: MIT */
/*
 * The admin socket: a unix socket for the daemon's own user, served by the main thread. A request
 * is one line of JSON, {"command": "flows", "app": "web"}; the answer is one JSON object a line, of
 * which the last is {"end": true, "rows": N} or {"error": "what is wrong and what would be right"}.
 * A connection may ask again and again, one answer after the other.
 *
 * Bounded: in clients, in the length of a request, and in what waits for a client that does not
 * read: rows are made as it reads, and one that reads nothing for a while is closed.
 */
#ifndef SHUNT_ADMIN_H
#define SHUNT_ADMIN_H

#include "bypassing.h"
#include "health.h"
#include "loop.h"
#include "names.h"
#include "reload.h"
#include "sockmap.h"
#include "wiring.h"
#include "workers.h"

#define ADMIN_CLIENTS_MAX 16
#define ADMIN_REQUEST_MAX_BYTES (64u << 10)
#define ADMIN_STALL_MAX_MS 10000 /* a client that has an answer to read, and reads nothing */
#define ADMIN_IDLE_MAX_MS 600000 /* a client that asks nothing */

struct admin;

/* What the daemon as a whole can be asked to do; on its main thread. */
struct admin_control {
	void *daemon; /* is handed to each */
	void (*drain)(void *daemon);
	void (*stop)(void *daemon);
};

/* What there is to be told. All of it outlives the admin socket. */
struct admin_context {
	const char *version;
	const struct config *config; /* without its apps */
	struct apps *apps;
	const struct names *names; /* NULL: there are none */
	struct reload *reload;     /* NULL: it can't be asked to */
	struct workers *workers;
	const struct fd_budget *fds;
	const struct admission *admission;
	const struct sockmap *sockmap; /* NULL: the engine is off */
	const struct wiring *wiring;   /* likewise */
	const struct health *health;   /* NULL: none */
	struct cutter *cutter;         /* likewise: then backends can't be disabled */
	struct bypassing *bypassing;   /* likewise */
	struct admin_control control;
};

/*
 * Makes the socket and serves it from the loop. 0 with *out for admin_close(), or -errno with the
 * reason, and where possible the remedy, as a phrase in why.
 */
int admin_open(struct loop *loop, const char *path, const struct admin_context *context,
	       struct admin **out, char *why, size_t size) must_check;
/* Removes the socket. To be called when no worker runs any more; takes NULL. */
void admin_close(struct admin *a);

#endif
