/* SPDX-License-Identifier: MIT */
/*
 * All workers together, as the main thread sees them: made, started, told to drain or stop, and
 * waited for. And the way to free what they may still be looking at.
 */
#ifndef SHUNT_WORKERS_H
#define SHUNT_WORKERS_H

#include "worker.h"

struct workers {
	struct worker *list;
	size_t n, n_inited;
	bool running;  /* the threads have been started */
	bool draining; /* they have been told to end */
	int done_fd;   /* an eventfd: readable when a worker has ended */
};

/* conf: without done_fd, seed and index. 0 or -errno, logged; workers_close() takes it in either
 * case. */
int workers_init(struct workers *ws, size_t n, const struct worker_conf *conf) must_check;
/* Before the start; see worker_use_sockmap(). 0 or -errno: `m` must not be closed before the
 * workers. */
int workers_use_sockmap(struct workers *ws, struct sockmap *m, bool pays) must_check;
/* The same for worker_use_wire(); on error no worker uses it. */
int workers_use_wire(struct workers *ws, const struct wire_share_conf *conf) must_check;
int workers_start(struct workers *ws) must_check; /* 0 or -errno, logged */
void workers_drain(struct workers *ws);
void workers_leave(struct workers *ws);
void workers_stop(struct workers *ws, enum close_reason reason);
/* To be called after a worker has ended, and after posting what must not wait for one to start. */
void workers_run_orphans(struct workers *ws);
bool workers_all_done(const struct workers *ws);
bool workers_ready(const struct workers *ws);        /* new connections are accepted */
const char *workers_state(const struct workers *ws); /* "starting", "ready" or "draining" */
void workers_close(struct workers *ws); /* waits for the threads: tell them to stop before */

/*
 * Something that each worker is to do on its own thread: embedded by whoever sends it, filled in
 * but for left and parts.
 */
struct errand {
	void (*run)(struct errand *e, struct worker *w, size_t index);
	void (*done)(struct errand *e); /* on the thread of the last one; owns the errand */
	_Atomic size_t left;
	struct errand_part *parts;
};

/* Workers whose threads have not begun, or have ended, are served on the caller's. */
void workers_send(struct workers *ws, struct errand *e);

/*
 * Frees `what` when no worker can hold a pointer to it any more: when each has begun a new turn of
 * its loop since. The caller has made it unreachable before. (The idea of RCU's grace period, with
 * messages.)
 */
void workers_retire(struct workers *ws, void *what);

#endif
