/* SPDX-License-Identifier: MIT */
/*
 * The timer wheel. A timer waits at the level of the highest group of six bits in which its tick
 * differs from the wheel's, in the slot that this group of its own tick names. So the occupied
 * slots of a level all lie ahead of the wheel, those of a lower level come before those of a higher
 * one, and the next slot to look at is the lowest bit of the first level that has one: having slept
 * for hours costs nothing. When the wheel comes to the start of a slot, its timers move to lower
 * levels or are due.
 */
#include "timer.h"

#define TIMER_SLOT_BITS 6
#define TIMER_DUE TIMER_LEVELS /* the "level" of a timer that waits for the next run */

_Static_assert(TIMER_SLOTS == 1 << TIMER_SLOT_BITS, "a slot's number has TIMER_SLOT_BITS bits");
_Static_assert(UINT64_MAX / TIMER_TICK_NS < 1ull << (TIMER_LEVELS * TIMER_SLOT_BITS),
	       "the levels hold every time that there is");

/* The first tick that is not before at_ns: rounded up, so that no timer fires early. */
static uint64_t due_tick(uint64_t at_ns)
{
	return at_ns / TIMER_TICK_NS + (at_ns % TIMER_TICK_NS != 0);
}

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ns)
{
	w->tick = now_ns / TIMER_TICK_NS;
	list_init(&w->due);
	for (size_t level = 0; level < TIMER_LEVELS; level++) {
		w->occupied[level] = 0;
		for (size_t slot = 0; slot < TIMER_SLOTS; slot++)
			list_init(&w->slot[level][slot]);
	}
}

void timer_init(struct timer *t, void (*fire)(struct timer *t))
{
	*t = (struct timer){ .fire = fire };
	list_init(&t->link);
}

bool timer_armed(const struct timer *t)
{
	return !list_empty(&t->link);
}

/* Puts a timer that is in no list where it belongs as seen from the wheel's tick. */
static void timer_place(struct timer_wheel *w, struct timer *t)
{
	uint64_t due = due_tick(t->at_ns);
	unsigned int top_bit;

	if (due <= w->tick) {
		t->level = TIMER_DUE;
		list_append(&w->due, &t->link);
		return;
	}
	top_bit = 63u - (unsigned int)__builtin_clzll(due ^ w->tick);
	t->level = (uint8_t)(top_bit / TIMER_SLOT_BITS);
	t->slot = (due >> (t->level * TIMER_SLOT_BITS)) % TIMER_SLOTS;
	list_append(&w->slot[t->level][t->slot], &t->link);
	w->occupied[t->level] |= 1ull << t->slot;
}

void timer_disarm(struct timer_wheel *w, struct timer *t)
{
	if (!timer_armed(t))
		return;
	list_del(&t->link);
	if (t->level != TIMER_DUE && list_empty(&w->slot[t->level][t->slot]))
		w->occupied[t->level] &= ~(1ull << t->slot);
}

void timer_arm(struct timer_wheel *w, struct timer *t, uint64_t at_ns)
{
	timer_disarm(w, t);
	t->at_ns = at_ns;
	timer_place(w, t);
}

/* The next slot that holds timers, and the tick at which it starts. False: all slots are empty. */
static bool next_slot(const struct timer_wheel *w, unsigned int *level, unsigned int *slot,
		      uint64_t *start)
{
	for (unsigned int l = 0; l < TIMER_LEVELS; l++) {
		unsigned int shift = l * TIMER_SLOT_BITS;
		uint64_t round;

		if (!w->occupied[l])
			continue;
		round = w->tick >> (shift + TIMER_SLOT_BITS) << TIMER_SLOT_BITS;
		*level = l;
		*slot = (unsigned int)__builtin_ctzll(w->occupied[l]);
		*start = (round | *slot) << shift;
		return true;
	}
	return false;
}

/*
 * Turns the wheel to `tick`; what comes due on the way goes to w->due, in the order of its ticks.
 */
static void wheel_turn(struct timer_wheel *w, uint64_t tick)
{
	unsigned int level, slot;
	uint64_t start;

	while (next_slot(w, &level, &slot, &start) && start <= tick) {
		struct list moved;

		list_init(&moved);
		list_take(&w->slot[level][slot], &moved);
		w->occupied[level] &= ~(1ull << slot);
		w->tick = start;
		list_for_each_safe(e, &moved) {
			list_del(e);
			timer_place(w, list_entry(e, struct timer, link));
		}
	}
	w->tick = tick;
}

/*
 * The wheel is turned first and the timers fired then: whatever fire() does to the wheel finds it
 * whole, and what fire() arms for now waits for the next run instead of holding up this one.
 */
void timer_wheel_run(struct timer_wheel *w, uint64_t now_ns)
{
	uint64_t tick = now_ns / TIMER_TICK_NS;
	struct list firing;

	if (tick > w->tick)
		wheel_turn(w, tick);

	list_init(&firing);
	list_take(&w->due, &firing);
	while (!list_empty(&firing)) {
		struct timer *t = list_entry(firing.next, struct timer, link);

		list_del(&t->link);
		t->fire(t);
	}
}

uint64_t timer_wheel_next_ns(const struct timer_wheel *w)
{
	unsigned int level, slot;
	uint64_t start;

	if (!list_empty(&w->due))
		return w->tick * TIMER_TICK_NS;
	if (!next_slot(w, &level, &slot, &start) || start > UINT64_MAX / TIMER_TICK_NS)
		return UINT64_MAX;
	return start * TIMER_TICK_NS;
}
