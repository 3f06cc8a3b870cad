/* SPDX-License-Identifier: MIT */
/*
 * One thread's event loop. The batch that epoll_wait() filled is kept in the loop while it is
 * dispatched, so that loop_remove() can strike out what the batch still holds for a watch that goes.
 */
#include "loop.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

int loop_init(struct loop *l)
{
	*l = (struct loop){ .epoll_fd = -1 };
	list_init(&l->again);
	list_init(&l->deferred);
	l->now_ns = clock_ns();
	timer_wheel_init(&l->timers, l->now_ns);
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return l->epoll_fd < 0 ? -errno : 0;
}

void loop_close(struct loop *l)
{
	if (l->epoll_fd >= 0)
		close(l->epoll_fd);
	l->epoll_fd = -1;
}

static int control(struct loop *l, int op, struct watch *w, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	return epoll_ctl(l->epoll_fd, op, fd, &ev) ? -errno : 0;
}

int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events)
{
	int rc = control(l, EPOLL_CTL_ADD, w, fd, events);

	if (!rc)
		w->fd = fd;
	return rc;
}

int loop_change(struct loop *l, struct watch *w, uint32_t events)
{
	return control(l, EPOLL_CTL_MOD, w, w->fd, events);
}

void loop_forget(struct loop *l, struct watch *w)
{
	for (int i = l->batch_at; i < l->batch_n; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
	w->fd = -1;
}

void loop_remove(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	/* It can fail only for an fd that is not in the set, and then there is nothing to take out.
	 */
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	loop_forget(l, w);
}

void work_init(struct work *w, void (*run)(struct work *w))
{
	list_init(&w->link);
	w->run = run;
}

void loop_again(struct loop *l, struct work *w)
{
	if (list_empty(&w->link))
		list_append(&l->again, &w->link);
}

void loop_defer(struct loop *l, struct work *w)
{
	list_del(&w->link);
	list_append(&l->deferred, &w->link);
}

void work_cancel(struct work *w)
{
	list_del(&w->link);
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
}

/* Runs what is in the list, and with it what these runs cancel or put elsewhere, but not what they
 * add. */
static void run_all(struct list *works)
{
	struct list due;

	list_init(&due);
	list_take(works, &due);
	while (!list_empty(&due)) {
		struct work *w = list_entry(due.next, struct work, link);

		list_del(&w->link);
		w->run(w);
	}
}

static int wait_ms(const struct loop *l, bool more)
{
	uint64_t next, ms;

	if (more)
		return 0;
	next = timer_wheel_next_ns(&l->timers);
	if (next == UINT64_MAX)
		return -1;
	if (next <= l->now_ns)
		return 0;
	ms = (next - l->now_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

static void dispatch(struct loop *l)
{
	while (l->batch_at < l->batch_n) {
		struct epoll_event *ev = &l->batch[l->batch_at++];
		struct watch *w = ev->data.ptr;

		if (w)
			w->ready(w, ev->events);
	}
	l->batch_at = l->batch_n = 0;
}

int loop_turn(struct loop *l, int max_wait_ms)
{
	struct list again;
	int n, wait;

	list_init(&again);
	list_take(&l->again, &again);
	wait = wait_ms(l, !list_empty(&again));
	if (max_wait_ms >= 0 && (wait < 0 || wait > max_wait_ms))
		wait = max_wait_ms;
	n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, wait);
	if (n < 0 && errno != EINTR)
		return -errno;
	l->batch_n = n < 0 ? 0 : n;
	loop_look_at_clock(l);
	dispatch(l);
	timer_wheel_run(&l->timers, l->now_ns);
	run_all(&again);
	while (!list_empty(&l->deferred))
		run_all(&l->deferred);
	return 0;
}

int loop_run(struct loop *l)
{
	int rc = 0;

	while (!rc && !l->stopping)
		rc = loop_turn(l, -1);
	return rc;
}
