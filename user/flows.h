/* SPDX-License-Identifier: MIT */
/*
 * All live sessions of all workers, for the main thread: it asks each worker by a message, each
 * takes its own on its own thread, and the last one that is done sends the whole back through a
 * mailbox with an eventfd. A worker that has ended, or not begun, has none.
 */
#ifndef SHUNT_FLOWS_H
#define SHUNT_FLOWS_H

#include <pthread.h>

#include "session_snapshot.h"
#include "workers.h"

struct flows;

/* The mailbox; one for all questions. */
struct flows_desk {
	struct loop *loop;
	struct workers *workers;
	struct watch returned; /* an eventfd */
	pthread_mutex_t lock;  /* mailbox */
	struct list mailbox;
};

/* A question and, once done() is called, its answer. */
struct flows {
	struct list link;
	struct flows_desk *desk;
	/* On the main thread, which owns the flows from then on; NULL: nobody waits any more. */
	void (*done)(struct flows *f, void *arg);
	void *arg;
	_Atomic size_t left; /* workers that have not answered */
	_Atomic bool failed; /* one had no memory for it: the answer is not complete */
	size_t n;
	struct flows_part {
		struct message message;
		struct flows *flows;
		struct session_snapshots sessions;
	} part[]; /* one a worker */
};

/* 0 or -errno; flows_desk_close() takes it in either case. */
int flows_desk_open(struct flows_desk *d, struct loop *loop, struct workers *workers) must_check;
/* When no worker runs any more. What has come back and was not handed out is freed. */
void flows_desk_close(struct flows_desk *d);

/* Asks. done() is called later, never from within. */
struct flows *flows_ask(struct flows_desk *d, void (*done)(struct flows *f, void *arg), void *arg);
/* Nobody waits for it any more: done() will not be called, and it is freed when it comes back. */
void flows_forget(struct flows *f); /* takes NULL */
void flows_free(struct flows *f);   /* of those that done() was called for; takes NULL */

size_t flows_count(const struct flows *f);

#define flows_for_each(s, f)                                                                       \
	for (const struct flows_part *s##_part = (f)->part; s##_part < (f)->part + (f)->n;         \
	     s##_part++)                                                                           \
		for (const struct session_snapshot *s = s##_part->sessions.list,                   \
						   *s##_end = s + s##_part->sessions.n;            \
		     s < s##_end; s++)

#endif
