/* SPDX-License-Identifier: MIT */
/*
 * The timer wheel, held against a model that keeps every deadline in an array and looks at all of
 * them. SHUNT_TEST_SEED repeats a random run; a failure prints the seed that it had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "timer.h"

#define N_TIMERS 200
#define N_STEPS 50000
#define HOUR_NS (3600 * NSEC_PER_SEC)

static struct timer_wheel wheel;
static uint64_t now;

struct probe {
	struct timer timer;
	uint64_t at_ns; /* what the model thinks; so is `armed` */
	unsigned int fired;
	bool armed;
};

static struct probe probe[N_TIMERS];
static uint64_t rng;

static uint64_t up_to_tick(uint64_t ns)
{
	return (ns + TIMER_TICK_NS - 1) / TIMER_TICK_NS;
}

/*
 * Deadlines of every magnitude: some in the past, most near, some hours, years and centuries off.
 */
static uint64_t random_deadline(void)
{
	uint64_t span = 1ull << rng_below(&rng, 63);
	uint64_t offset = ((uint64_t)rng_next(&rng) << 32 | rng_next(&rng)) % span;

	switch (rng_below(&rng, 10)) {
	case 0:
		return now - offset % (now + 1);
	case 1:
		return now / TIMER_TICK_NS * TIMER_TICK_NS + offset % 64 * TIMER_TICK_NS;
	case 2:
		return UINT64_MAX;
	default:
		return now + offset % (UINT64_MAX - now);
	}
}

static void probe_arm(struct probe *p, uint64_t at_ns)
{
	p->armed = true;
	p->at_ns = at_ns;
	timer_arm(&wheel, &p->timer, at_ns);
}

static void probe_disarm(struct probe *p)
{
	p->armed = false;
	timer_disarm(&wheel, &p->timer);
}

static void probe_fire(struct timer *t)
{
	struct probe *p = container_of(t, struct probe, timer);

	assert_true(p->armed);
	assert_false(timer_armed(t));
	assert_true(p->at_ns <= now);
	p->armed = false;
	p->fired++;

	switch (rng_below(&rng, 8)) {
	case 0:
		probe_arm(p, random_deadline());
		break;
	case 1:
		probe_arm(&probe[rng_below(&rng, N_TIMERS)], random_deadline());
		break;
	case 2:
		probe_disarm(&probe[rng_below(&rng, N_TIMERS)]);
		break;
	default:
		break;
	}
}

/* When the model's earliest deadline can have fired at the latest: at the end of its tick. */
static uint64_t model_next_tick(void)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < N_TIMERS; i++)
		if (probe[i].armed)
			next = MIN(next, probe[i].at_ns == UINT64_MAX ? UINT64_MAX
								      : up_to_tick(probe[i].at_ns));
	return next;
}

static void check_against_model(void)
{
	uint64_t next_ns = timer_wheel_next_ns(&wheel), next_tick = model_next_tick();

	for (size_t i = 0; i < N_TIMERS; i++)
		assert_int_equal(timer_armed(&probe[i].timer), probe[i].armed);
	if (next_tick > now / TIMER_TICK_NS) { /* nothing is due: no spinning, no oversleeping */
		assert_true(next_ns > now);
		assert_true(next_ns == UINT64_MAX || next_ns / TIMER_TICK_NS <= next_tick);
	} else {
		assert_true(next_ns <= now);
	}
}

/* Runs the wheel; afterwards only what was armed from within fire() may be due. */
static void run_against_model(void)
{
	bool was_due[N_TIMERS];
	unsigned int fired_before[N_TIMERS];
	uint64_t at_before[N_TIMERS];

	for (size_t i = 0; i < N_TIMERS; i++) {
		was_due[i] = probe[i].armed && up_to_tick(probe[i].at_ns) <= now / TIMER_TICK_NS &&
			     probe[i].at_ns != UINT64_MAX;
		fired_before[i] = probe[i].fired;
		at_before[i] = probe[i].at_ns;
	}
	timer_wheel_run(&wheel, now);
	for (size_t i = 0; i < N_TIMERS; i++)
		if (was_due[i] && probe[i].armed && probe[i].at_ns == at_before[i])
			assert_int_not_equal(probe[i].fired, fired_before[i]);
}

static uint64_t random_pause(void)
{
	switch (rng_below(&rng, 4)) {
	case 0:
		return 0;
	case 1:
		return rng_below(&rng, 64) * NSEC_PER_MSEC;
	case 2:
		return (1ull << rng_below(&rng, 42)) + rng_below(&rng, 1000);
	default: { /* as the loop does: until the wheel wants to run */
		uint64_t next = timer_wheel_next_ns(&wheel);

		return next > now && next < now + 1000 * HOUR_NS ? next - now : 1;
	}
	}
}

static void behaves_as_a_list_of_deadlines(void **state)
{
	const char *given = getenv("SHUNT_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : rng_seed(1);

	(void)state;
	fprintf(stderr, "SHUNT_TEST_SEED=%#llx\n", (unsigned long long)seed);
	rng = seed;
	now = 12345678901ull;
	timer_wheel_init(&wheel, now);
	for (size_t i = 0; i < N_TIMERS; i++) {
		probe[i] = (struct probe){ 0 };
		timer_init(&probe[i].timer, probe_fire);
	}
	for (size_t step = 0; step < N_STEPS; step++) {
		struct probe *p = &probe[rng_below(&rng, N_TIMERS)];

		switch (rng_below(&rng, 4)) {
		case 0:
		case 1:
			probe_arm(p, random_deadline());
			break;
		case 2:
			probe_disarm(p);
			break;
		default:
			now += random_pause();
			run_against_model();
		}
		check_against_model();
	}
}

struct one {
	struct timer timer;
	struct one *other; /* what fire() does something to */
	unsigned int fired;
	uint64_t fired_ns;
};

static void one_fire(struct timer *t)
{
	struct one *o = container_of(t, struct one, timer);

	o->fired++;
	o->fired_ns = now;
}

static void fresh_wheel(uint64_t now_ns)
{
	now = now_ns;
	timer_wheel_init(&wheel, now);
}

/* Sleeps and runs as the loop does; returns how often it had to wake up. */
static unsigned int sleep_until_fired(struct one *o)
{
	unsigned int turns = 0;

	while (!o->fired) {
		now = timer_wheel_next_ns(&wheel);
		assert_true(now != UINT64_MAX);
		timer_wheel_run(&wheel, now);
		turns++;
	}
	return turns;
}

static void fires_within_a_tick_and_wakes_few_times(void **state)
{
	static const uint64_t delay[] = {
		1,
		TIMER_TICK_NS,
		TIMER_TICK_NS + 1,
		300 * NSEC_PER_MSEC,
		NSEC_PER_SEC,
		HOUR_NS,
		HOUR_NS * 24 * 30,
		HOUR_NS * 24 * 365 * 100,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(delay); i++) {
		struct one o = { 0 };
		uint64_t at;

		fresh_wheel(987654321);
		timer_init(&o.timer, one_fire);
		at = now + delay[i];
		timer_arm(&wheel, &o.timer, at);
		assert_true(sleep_until_fired(&o) <= TIMER_LEVELS);
		assert_in_range(o.fired_ns - at, 0, TIMER_TICK_NS - 1);
		assert_int_equal(timer_wheel_next_ns(&wheel), UINT64_MAX);
	}
}

/* 292 years in ticks would take hours: the wheel has to jump. */
static void sleeping_long_costs_nothing(void **state)
{
	struct one near = { 0 }, far = { 0 };

	(void)state;
	fresh_wheel(0);
	timer_init(&near.timer, one_fire);
	timer_init(&far.timer, one_fire);
	timer_arm(&wheel, &near.timer, NSEC_PER_SEC);
	timer_arm(&wheel, &far.timer, UINT64_MAX / 2 + NSEC_PER_SEC);
	now = UINT64_MAX / 2;
	timer_wheel_run(&wheel, now);
	assert_int_equal(near.fired, 1);
	assert_int_equal(far.fired, 0);
	now += 2 * NSEC_PER_SEC;
	timer_wheel_run(&wheel, now);
	assert_int_equal(far.fired, 1);
}

static void a_past_time_fires_at_the_next_run(void **state)
{
	struct one o = { 0 };

	(void)state;
	fresh_wheel(5 * NSEC_PER_SEC + 1);
	timer_init(&o.timer, one_fire);
	timer_arm(&wheel, &o.timer, 0);
	assert_true(timer_wheel_next_ns(&wheel) <= now);
	timer_wheel_run(&wheel, now);
	assert_int_equal(o.fired, 1);
}

static void rearm_fire(struct timer *t)
{
	one_fire(t);
	timer_arm(&wheel, t, now);
}

static void arming_itself_for_now_does_not_hold_up_the_run(void **state)
{
	struct one o = { 0 };

	(void)state;
	fresh_wheel(NSEC_PER_SEC);
	timer_init(&o.timer, rearm_fire);
	timer_arm(&wheel, &o.timer, now);
	for (unsigned int i = 1; i <= 3; i++) {
		timer_wheel_run(&wheel, now);
		assert_int_equal(o.fired, i);
	}
	timer_disarm(&wheel, &o.timer);
	timer_disarm(&wheel, &o.timer);
	assert_int_equal(timer_wheel_next_ns(&wheel), UINT64_MAX);
}

/* Frees itself and, when there is one, another timer that is due in this very run. */
static void freeing_fire(struct timer *t)
{
	struct one *o = container_of(t, struct one, timer);

	if (o->other) {
		timer_disarm(&wheel, &o->other->timer);
		free(o->other);
	}
	free(o);
}

static void fire_may_free_itself_and_others(void **state)
{
	struct one *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	fresh_wheel(NSEC_PER_SEC);
	timer_init(&a->timer, freeing_fire);
	timer_init(&b->timer, freeing_fire);
	a->other = b;
	timer_arm(&wheel, &a->timer, now + NSEC_PER_SEC);
	timer_arm(&wheel, &b->timer, now + NSEC_PER_SEC);
	now += 2 * NSEC_PER_SEC;
	timer_wheel_run(&wheel, now);
	assert_int_equal(timer_wheel_next_ns(&wheel), UINT64_MAX);
}

static unsigned int order[3], n_fired;

static void ordered_fire(struct timer *t)
{
	struct one *o = container_of(t, struct one, timer);

	order[n_fired++] = o->fired; /* here: the timer's own number */
}

static void a_late_run_fires_in_the_order_of_the_deadlines(void **state)
{
	struct one o[3] = { { .fired = 0 }, { .fired = 1 }, { .fired = 2 } };

	(void)state;
	fresh_wheel(NSEC_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(o); i++) {
		unsigned int number = o[i].fired;

		timer_init(&o[i].timer, ordered_fire);
		o[i].fired = number;
	}
	timer_arm(&wheel, &o[2].timer, now + 2 * HOUR_NS);
	timer_arm(&wheel, &o[0].timer, now + NSEC_PER_SEC);
	timer_arm(&wheel, &o[1].timer, now + 2 * NSEC_PER_SEC);
	now += 3 * HOUR_NS;
	timer_wheel_run(&wheel, now);
	assert_int_equal(n_fired, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(order[i], i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behaves_as_a_list_of_deadlines),
		cmocka_unit_test(fires_within_a_tick_and_wakes_few_times),
		cmocka_unit_test(sleeping_long_costs_nothing),
		cmocka_unit_test(a_past_time_fires_at_the_next_run),
		cmocka_unit_test(arming_itself_for_now_does_not_hold_up_the_run),
		cmocka_unit_test(fire_may_free_itself_and_others),
		cmocka_unit_test(a_late_run_fires_in_the_order_of_the_deadlines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
