/* SPDX-License-Identifier: MIT */
/*
 * The queue before a limit: its order, its bound, and, with threads that take, free and give up at
 * random, that no call is lost and nobody waits for ever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "waitq.h"

#define TURN_MAX_MS 100
#define THREADS 4
#define GUESTS 16 /* of one thread */
#define PLACES 3
#define VISITS 10000 /* of one thread, in all */
#define STRESS_MAX_NS (60 * NSEC_PER_SEC)

/* --- one thread ------------------------------------------------------------------------------- */

static struct loop loop;
static struct waitq_desk desk;
static struct waitq queue;
static char order[64];
static unsigned int places;

struct guest {
	struct waiter waiter;
	const char *name;
};

static void look(struct waiter *w)
{
	strcat(order, container_of(w, struct guest, waiter)->name);
	if (!places) {
		strcat(order, "-");
		waitq_stay(w);
		return;
	}
	places--;
	waitq_leave(w);
}

static int setup(void **state)
{
	(void)state;
	order[0] = '\0';
	places = 0;
	waitq_init(&queue);
	return loop_init(&loop) || waitq_desk_open(&desk, &loop);
}

static int teardown(void **state)
{
	(void)state;
	waitq_desk_close(&desk);
	loop_close(&loop);
	waitq_destroy(&queue);
	return 0;
}

static void guest_join(struct guest *g, const char *name)
{
	g->name = name;
	waiter_init(&g->waiter, &desk, look);
	assert_true(waitq_join(&queue, &g->waiter, UINT32_MAX));
}

static void run_loop(void)
{
	for (int i = 0; i < 8; i++)
		assert_int_equal(loop_turn(&loop, 0), 0);
}

static void serves_in_the_order_of_coming(void **state)
{
	struct guest a, b, c;

	(void)state;
	guest_join(&a, "a");
	guest_join(&b, "b");
	guest_join(&c, "c");
	run_loop();
	assert_string_equal(order, "a-");
	places = 2;
	waitq_kick(&queue);
	run_loop();
	assert_string_equal(order, "a-abc-");
	assert_int_equal(waitq_count(&queue), 1);
	places = 1;
	waitq_kick(&queue);
	run_loop();
	assert_int_equal(waitq_count(&queue), 0);
}

static void is_bounded(void **state)
{
	struct guest a, b;

	(void)state;
	guest_join(&a, "a");
	waiter_init(&b.waiter, &desk, look);
	assert_false(waitq_join(&queue, &b.waiter, 1));
	waitq_leave(&b.waiter);
	assert_int_equal(waitq_count(&queue), 1);
	waitq_leave(&a.waiter);
	assert_true(waitq_join(&queue, &b.waiter, 1));
	waitq_leave(&b.waiter);
}

/* One that is called and leaves before it has its turn must not take the call with it. */
static void a_call_is_passed_on(void **state)
{
	struct guest a, b;

	(void)state;
	guest_join(&a, "a");
	guest_join(&b, "b");
	run_loop();
	places = 1;
	waitq_kick(&queue);
	waitq_leave(&a.waiter);
	run_loop();
	assert_string_equal(order, "a-b");
	assert_int_equal(places, 0);
	assert_int_equal(waitq_count(&queue), 0);
}

static void look_as_a_place_comes_free(struct waiter *w)
{
	strcat(order, ".");
	if (strlen(order) > 1) {
		waitq_leave(w);
		return;
	}
	waitq_kick(&queue);
	waitq_stay(w);
}

static void who_is_called_is_called_again(void **state)
{
	struct waiter w;

	(void)state;
	waiter_init(&w, &desk, look_as_a_place_comes_free);
	assert_true(waitq_join(&queue, &w, 1));
	run_loop();
	assert_string_equal(order, "..");
	assert_int_equal(waitq_count(&queue), 0);
}

/* --- threads ---------------------------------------------------------------------------------- */

static struct waitq stress_queue;
static _Atomic unsigned int taken;

struct crowd;

struct visitor {
	struct waiter waiter;
	struct work later; /* to come, to give up, or to go */
	uint32_t turns;    /* of the loop, until then */
	struct crowd *crowd;
	bool is_in;
};

struct crowd {
	pthread_t thread;
	struct loop loop;
	struct waitq_desk desk;
	struct visitor visitor[GUESTS];
	uint64_t rng;
	unsigned int visits, gave_up;
	int failed;
};

static bool take_place(void)
{
	unsigned int n = atomic_load(&taken);

	do {
		if (n >= PLACES)
			return false;
	} while (!atomic_compare_exchange_weak(&taken, &n, n + 1));
	return true;
}

static void act_within(struct visitor *v, uint32_t turns)
{
	v->turns = rng_below(&v->crowd->rng, turns);
	loop_again(&v->crowd->loop, &v->later);
}

static void enter(struct visitor *v)
{
	work_cancel(&v->later); /* to give up */
	v->is_in = true;
	act_within(v, 8);
}

static void on_stress_turn(struct waiter *w)
{
	struct visitor *v = container_of(w, struct visitor, waiter);

	if (!take_place()) {
		waitq_stay(w);
		return;
	}
	waitq_leave(w);
	enter(v);
}

static void come(struct visitor *v)
{
	if (!waitq_count(&stress_queue) && take_place()) {
		enter(v);
		return;
	}
	if (!waitq_join(&stress_queue, &v->waiter, THREADS * GUESTS))
		v->crowd->failed++;
	/* One in four is not patient. */
	if (!rng_below(&v->crowd->rng, 4))
		act_within(v, 200);
}

static void on_later(struct work *w)
{
	struct visitor *v = container_of(w, struct visitor, later);
	struct crowd *c = v->crowd;

	if (v->turns) {
		v->turns--;
		loop_again(&c->loop, &v->later);
		return;
	}
	if (!v->is_in && !v->waiter.queue) {
		come(v);
		return;
	}
	if (v->is_in) {
		v->is_in = false;
		atomic_fetch_sub(&taken, 1);
		waitq_kick(&stress_queue);
	} else {
		waitq_leave(&v->waiter);
		c->gave_up++;
	}
	if (++c->visits + GUESTS <= VISITS)
		act_within(v, 4);
}

static void *crowd_main(void *arg)
{
	struct crowd *c = arg;
	uint64_t until = clock_ns() + STRESS_MAX_NS;

	for (int i = 0; i < GUESTS; i++)
		act_within(&c->visitor[i], 4);
	while (c->visits < VISITS && clock_ns() < until && !c->failed) {
		int rc = loop_turn(&c->loop, TURN_MAX_MS);

		if (rc)
			c->failed = rc;
	}
	return NULL;
}

static void crowd_init(struct crowd *c, uint64_t seed)
{
	c->rng = rng_seed(seed);
	assert_int_equal(loop_init(&c->loop), 0);
	assert_int_equal(waitq_desk_open(&c->desk, &c->loop), 0);
	for (int i = 0; i < GUESTS; i++) {
		struct visitor *v = &c->visitor[i];

		v->crowd = c;
		waiter_init(&v->waiter, &c->desk, on_stress_turn);
		work_init(&v->later, on_later);
	}
}

static void nobody_is_forgotten(void **state)
{
	static struct crowd crowds[THREADS];
	unsigned int gave_up = 0;

	(void)state;
	waitq_init(&stress_queue);
	for (int i = 0; i < THREADS; i++)
		crowd_init(&crowds[i], (uint64_t)i + 1);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&crowds[i].thread, NULL, crowd_main, &crowds[i]),
				 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(crowds[i].thread, NULL);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(crowds[i].failed, 0);
		assert_int_equal(crowds[i].visits, VISITS); /* or some wait still, or for ever */
		gave_up += crowds[i].gave_up;
		waitq_desk_close(&crowds[i].desk);
		loop_close(&crowds[i].loop);
	}
	assert_int_equal(taken, 0);
	assert_int_equal(waitq_count(&stress_queue), 0);
	assert_in_range(gave_up, 1, (size_t)THREADS * VISITS - 1);
	waitq_destroy(&stress_queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(serves_in_the_order_of_coming, setup, teardown),
		cmocka_unit_test_setup_teardown(is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_call_is_passed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_called_is_called_again, setup, teardown),
		cmocka_unit_test(nobody_is_forgotten),
	};

	return cmocka_run_group_tests_name("waitq", tests, NULL, NULL);
}
