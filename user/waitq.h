/* SPDX-License-Identifier: MIT */
/*
 * A queue, first come first served, of those who wait for a place that any thread may free:
 * sessions before an app's limit, listeners before the daemon's. The queue hands out no places: it
 * calls the first one, on its own thread, who looks for a place and then leaves the queue or stays
 * at its head. Only one is called at a time, so nobody is overtaken; when one has left, the next is
 * called.
 *
 * No call is lost: who waits is counted before he looks, and who frees a place does so before he
 * looks at that count (both sequentially consistent), so one of them sees the other; and a place
 * that comes free while somebody is called has him called again if he stays. While nobody waits,
 * freeing a place costs one load and no lock.
 */
#ifndef SHUNT_WAITQ_H
#define SHUNT_WAITQ_H

#include <pthread.h>
#include <stdatomic.h>

#include "loop.h"

struct waiter;

struct waitq {
	pthread_mutex_t lock; /* all but n for readers; taken before a desk's */
	struct list waiting;
	struct waiter *called;
	bool again;         /* a place has come free since he was called */
	_Atomic uint32_t n; /* waiting or called */
};

/* Where the waiters of one thread are called. */
struct waitq_desk {
	struct loop *loop;
	struct watch watch; /* an eventfd */
	pthread_mutex_t lock;
	struct list called;
};

struct waiter {
	struct list link;    /* in the queue's waiting, or in the desk's called */
	struct waitq *queue; /* NULL: it waits for nothing */
	struct waitq_desk *desk;
	/* On its own thread: must end in waitq_stay() or waitq_leave(). */
	void (*turn)(struct waiter *w);
};

void waitq_init(struct waitq *q);
void waitq_destroy(struct waitq *q);

/* For `loop`, on its thread or before it runs. 0 or -errno; waitq_desk_close() takes it in either
 * case, when nobody of the desk waits any more. */
int waitq_desk_open(struct waitq_desk *d, struct loop *loop) must_check;
void waitq_desk_close(struct waitq_desk *d); /* takes a zeroed one, too */

void waiter_init(struct waiter *w, struct waitq_desk *desk, void (*turn)(struct waiter *w));

/* How many wait. Whoever finds some must not take a place before them. */
static inline uint32_t waitq_count(const struct waitq *q)
{
	return atomic_load(&q->n);
}

/* The rest but waitq_kick() is for the waiter's own thread. */

/* Waits at the end of the queue. False: `max` wait there already. */
bool waitq_join(struct waitq *q, struct waiter *w, uint32_t max) must_check;
/* It has been called, and there was no place: it is the first in the queue again. */
void waitq_stay(struct waiter *w);
/* It has found a place, or waits no longer; takes one that is in no queue, too. */
void waitq_leave(struct waiter *w);

/* From any thread: a place has, or may have, come free. */
void waitq_kick(struct waitq *q);

#endif
