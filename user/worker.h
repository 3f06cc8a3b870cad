/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread with its own loop, listeners, sessions and pools, sharing nothing but the
 * apps' atomics. Everything else that reaches it is a message, which runs on its thread in a turn
 * of its loop.
 */
#ifndef SHUNT_WORKER_H
#define SHUNT_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "listener.h"
#include "session.h"

struct sockmap;
struct wire_share_conf;
struct worker;

struct message {
	struct list link;
	void (*run)(struct message *m, struct worker *w); /* owns m */
};

struct worker {
	struct loop loop;
	struct session_ctx sessions;
	struct listener_set listeners;
	pthread_t thread;
	bool started;         /* thread is to be joined */
	bool draining;        /* ends with its last session */
	int done_fd;          /* an eventfd of the owner's: written to when the thread ends */
	int cut_fd;           /* another: when a backend's sessions are to be cut; -1: none */
	_Atomic bool done;    /* the thread has ended, or is about to */
	pthread_mutex_t lock; /* inbox */
	struct list inbox;
	struct watch inbox_watch; /* an eventfd */
	struct work check_done;
};

struct worker_conf {
	size_t max_buffers, max_pipes;
	struct fd_budget *fds;
	struct admission *admission;
	bool access_log;
	int done_fd, cut_fd;
	uint64_t seed;
};

/* 0 or -errno; worker_close() takes it in either case. */
int worker_init(struct worker *w, const struct worker_conf *conf) must_check;
/* Before the start: its flows may join `m`, which outlives it; pays: see probe_cost.h. 0 or -errno.
 */
int worker_use_sockmap(struct worker *w, uint32_t index, struct sockmap *m, bool pays) must_check;
/* Before the start: see wire_share_open(), but for `describe`. 0 or -errno. */
int worker_use_wire(struct worker *w, uint32_t index,
		    const struct wire_share_conf *conf) must_check;
int worker_start(struct worker *w, unsigned int index) must_check;
void worker_close(struct worker *w); /* the thread must have ended, or not have been started */
void worker_join(struct worker *w);

/* From any thread. The message runs on the worker's thread or, when that has ended, in
 * worker_run_orphans() or worker_close(). */
void worker_post(struct worker *w, struct message *m);

/* Runs what was posted on the caller's thread, if the worker has none (any more). For the thread
 * that starts and joins the worker. */
void worker_run_orphans(struct worker *w);

/* On the worker's thread: no new connections; the thread ends with the last session. */
void worker_drain(struct worker *w);
/* The same, and what is on the wire is left there, without this daemon. */
void worker_leave(struct worker *w);
/* The same, and all sessions are closed now. */
void worker_stop(struct worker *w, enum close_reason reason);

#endif
