/* SPDX-License-Identifier: MIT */
/*
 * A hierarchical timer wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987,
 * scheme 7): arming, moving and disarming are O(1), and a run costs what expires in it, however
 * many timers wait and however long nobody ran it. TIMER_LEVELS levels of 64 slots, a tick of 4 ms
 * at the lowest. A timer never fires early, and less than a tick late; on its way it moves down a
 * level at most TIMER_LEVELS - 1 times.
 */
#ifndef SHUNT_TIMER_H
#define SHUNT_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"

#define TIMER_TICK_NS (4 * NSEC_PER_MSEC)
#define TIMER_LEVELS 8 /* 64^8 ticks: more than 64 bits of nanoseconds, so no time is too far off */
#define TIMER_SLOTS 64

struct timer {
	struct list link; /* in a slot or among the due; in itself when not armed */
	uint64_t at_ns;
	uint8_t level, slot;
	void (*fire)(struct timer *t);
};

struct timer_wheel {
	uint64_t tick;   /* where the wheel stands: what waits in a slot is due after this tick */
	struct list due; /* to be fired by the next run */
	uint64_t occupied[TIMER_LEVELS]; /* a bit for each slot that holds a timer */
	struct list slot[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ns);

void timer_init(struct timer *t, void (*fire)(struct timer *t));
bool timer_armed(const struct timer *t);
/* Arms or moves. A time in the past fires at the next run. Allowed from within fire(). */
void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t at_ns);
void timer_disarm(struct timer_wheel *w, struct timer *t);

/*
 * Fires all that is due at now_ns, in the order of the ticks. A timer is disarmed before it fires;
 * it may arm, disarm and free itself and others. now_ns never goes back.
 */
void timer_wheel_run(struct timer_wheel *w, uint64_t now_ns);
/*
 * When timer_wheel_run() has work next, in CLOCK_MONOTONIC nanoseconds; UINT64_MAX: never. That is
 * when the next timer is due, or before it, when timers move down a level.
 */
uint64_t timer_wheel_next_ns(const struct timer_wheel *w);

#endif
