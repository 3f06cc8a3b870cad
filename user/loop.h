/* SPDX-License-Identifier: MIT */
/*
 * The event loop of one thread: epoll, timers, and work put off to the end of the turn. A leaf that
 * knows nothing of proxies. A turn is: wait, dispatch, run timers, run what asked to be run again,
 * run what was deferred.
 *
 * Invariants: nothing that a turn's events may still refer to is freed before the turn's end: free
 * it by loop_defer(). A watch is added once and then left alone; its events are edge-triggered by
 * the caller's choice.
 */
#ifndef SHUNT_LOOP_H
#define SHUNT_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "list.h"
#include "timer.h"
#include "util.h"

struct loop;

struct watch {
	int fd; /* -1: not added; owned by whoever embeds the watch */
	void (*ready)(struct watch *w, uint32_t events);
};

/* Work for later: at the end of this turn (deferred) or at the next (again). In one list at a time.
 */
struct work {
	struct list link;
	void (*run)(struct work *w);
};

#define LOOP_BATCH 128 /* events a turn */

struct loop {
	int epoll_fd;
	bool stopping;
	uint64_t now_ns; /* CLOCK_MONOTONIC, read once a turn */
	struct timer_wheel timers;
	struct list again, deferred;
	int batch_at, batch_n; /* what of this turn's events is still to be dispatched */
	struct epoll_event batch[LOOP_BATCH];
};

int loop_init(struct loop *l) must_check; /* 0 or -errno; on error there is nothing to close */
void loop_close(struct loop *l); /* takes a loop that was never opened, too (epoll_fd = -1) */

int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events) must_check;
/* Changes what is waited for; off the steady path. */
int loop_change(struct loop *l, struct watch *w, uint32_t events) must_check;
/* Takes it out of epoll and sets fd to -1; does not close it. Events of this turn for it are not
 * delivered any more. */
void loop_remove(struct loop *l, struct watch *w);
/* The same for an fd that the caller closes right now and that has no duplicate: closing takes it
 * out of epoll. */
void loop_forget(struct loop *l, struct watch *w);

void work_init(struct work *w, void (*run)(struct work *w));
/* Once more in the next turn, after new events were looked at: how a busy flow lets others go
 * first. */
void loop_again(struct loop *l, struct work *w);
/* At the end of this turn, when no event refers to anything any more: where things are freed. */
void loop_defer(struct loop *l, struct work *w);
void work_cancel(struct work *w);

/* One turn, waiting for events no longer than max_wait_ms; -1: as long as it takes. 0 or -errno. */
int loop_turn(struct loop *l, int max_wait_ms) must_check;
int loop_run(struct loop *l) must_check; /* until loop_stop(); 0 or -errno */
void loop_stop(struct loop *l);

/* After work that has taken its time: what is armed from here on is not due for that. */
static inline void loop_look_at_clock(struct loop *l)
{
	l->now_ns = clock_ns();
}

static inline void loop_arm_in(struct loop *l, struct timer *t, uint64_t delay_ns)
{
	timer_arm(&l->timers, t, l->now_ns + delay_ns);
}

#endif
