/* SPDX-License-Identifier: MIT */
#include "waitq.h"

#include <sys/eventfd.h>
#include <unistd.h>

void waitq_init(struct waitq *q)
{
	*q = (struct waitq){ 0 };
	pthread_mutex_init(&q->lock, NULL);
	list_init(&q->waiting);
}

void waitq_destroy(struct waitq *q)
{
	pthread_mutex_destroy(&q->lock);
}

void waiter_init(struct waiter *w, struct waitq_desk *desk, void (*turn)(struct waiter *w))
{
	*w = (struct waiter){ .desk = desk, .turn = turn };
	list_init(&w->link);
}

/* Under the queue's lock: calls the first one, if nobody is called already. */
static void call_first(struct waitq *q)
{
	uint64_t one = 1;
	struct waiter *w;

	if (q->called || list_empty(&q->waiting))
		return;
	w = list_entry(q->waiting.next, struct waiter, link);
	list_del(&w->link);
	q->called = w;
	q->again = false;
	pthread_mutex_lock(&w->desk->lock);
	list_append(&w->desk->called, &w->link);
	pthread_mutex_unlock(&w->desk->lock);
	/* It fails only when the counter is full, and then the desk has been told already. */
	if (write(w->desk->watch.fd, &one, sizeof(one)) < 0)
		return;
}

bool waitq_join(struct waitq *q, struct waiter *w, uint32_t max)
{
	bool joins;

	pthread_mutex_lock(&q->lock);
	joins = atomic_load(&q->n) < max;
	if (joins) {
		w->queue = q;
		list_append(&q->waiting, &w->link);
		atomic_fetch_add(&q->n, 1);
		/* The first one is called at once: a place may have come free before it counted. */
		if (q->waiting.next == &w->link)
			call_first(q);
	}
	pthread_mutex_unlock(&q->lock);
	return joins;
}

void waitq_stay(struct waiter *w)
{
	struct waitq *q = w->queue;

	pthread_mutex_lock(&q->lock);
	q->called = NULL;
	list_push(&q->waiting, &w->link);
	if (q->again)
		call_first(q);
	pthread_mutex_unlock(&q->lock);
}

void waitq_leave(struct waiter *w)
{
	struct waitq *q = w->queue;

	if (!q)
		return;
	pthread_mutex_lock(&q->lock);
	if (q->called == w) {
		/* It may not have been told yet. */
		pthread_mutex_lock(&w->desk->lock);
		list_del(&w->link);
		pthread_mutex_unlock(&w->desk->lock);
		q->called = NULL;
		call_first(q);
	} else {
		bool was_first = q->waiting.next == &w->link;

		list_del(&w->link);
		if (was_first)
			call_first(q);
	}
	w->queue = NULL;
	atomic_fetch_sub(&q->n, 1);
	pthread_mutex_unlock(&q->lock);
}

void waitq_kick(struct waitq *q)
{
	if (!waitq_count(q))
		return;
	pthread_mutex_lock(&q->lock);
	q->again = true;
	call_first(q);
	pthread_mutex_unlock(&q->lock);
}

static struct waiter *next_called(struct waitq_desk *d, struct list *due)
{
	struct waiter *w = NULL;

	pthread_mutex_lock(&d->lock);
	if (!list_empty(due)) {
		w = list_entry(due->next, struct waiter, link);
		list_del(&w->link);
	}
	pthread_mutex_unlock(&d->lock);
	return w;
}

/* Who is called from now on has his turn in the loop's next one, after events of others. */
static void on_called(struct watch *watch, uint32_t events)
{
	struct waitq_desk *d = container_of(watch, struct waitq_desk, watch);
	struct list due;
	struct waiter *w;
	uint64_t count;

	(void)events;
	/* The value does not matter, only that the fd is quiet again. */
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return;
	list_init(&due);
	pthread_mutex_lock(&d->lock);
	list_take(&d->called, &due);
	pthread_mutex_unlock(&d->lock);
	while ((w = next_called(d, &due)))
		w->turn(w);
}

int waitq_desk_open(struct waitq_desk *d, struct loop *loop)
{
	int fd, rc;

	*d = (struct waitq_desk){ .loop = loop, .watch = { .fd = -1, .ready = on_called } };
	pthread_mutex_init(&d->lock, NULL);
	list_init(&d->called);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = loop_add(loop, &d->watch, fd, EPOLLIN);
	if (rc)
		close(fd);
	return rc;
}

void waitq_desk_close(struct waitq_desk *d)
{
	int fd = d->watch.fd;

	if (!d->loop)
		return;
	if (fd >= 0) {
		loop_remove(d->loop, &d->watch);
		close(fd);
	}
	pthread_mutex_destroy(&d->lock);
	*d = (struct waitq_desk){ .watch.fd = -1 };
}
