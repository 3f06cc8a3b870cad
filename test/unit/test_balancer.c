/* SPDX-License-Identifier: MIT */
/* The balancers' promises: fair shares by weight, nothing that is down or tried, and a stable hash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "balancer.h"

#define N 5
#define PICKS 20000

static uint64_t rng;
static bool met_full; /* by the last picks */

static const uint64_t now_ns = 100 * NSEC_PER_SEC;

static struct app *open_app(const char *balancer, const uint32_t weights[N])
{
	struct app_conf conf = {
		.name = xstrdup("app"),
		.targets = xcalloc(N, sizeof(struct target_conf)),
		.n_targets = N,
	};
	struct app *app;

	rng = 20240611;
	for (size_t i = 0; i < N; i++) {
		struct target_conf *t = &conf.targets[i];
		char text[32];

		snprintf(text, sizeof(text), "10.0.0.%zu:80", i + 1);
		*t = (struct target_conf){ .text = xstrdup(text),
					   .is_literal = true,
					   .weight = weights[i],
					   .at.port = 80 };
		snprintf(t->at.host, sizeof(t->at.host), "10.0.0.%zu", i + 1);
		assert_int_equal(addr_parse_host(t->at.host, &t->addr), 0);
	}
	app = app_new(&conf, balancer_find(balancer), NULL, NULL);
	balancer_prepare(app);
	return app;
}

static int pick(struct app *app, const char *client, uint64_t tried, bool even_down)
{
	struct addr a;
	struct pick p = { .client = &a,
			  .tried = &tried,
			  .even_down = even_down,
			  .met_full = &met_full,
			  .now_ns = now_ns,
			  .rng = &rng };

	assert_int_equal(addr_parse_host(client, &a), 0);
	return app->balancer->pick(app, &p);
}

static void put_down(struct app *app, size_t i)
{
	struct endpoint_set *set = atomic_load(&app->backends[i]->set);

	atomic_store(&set->endpoint[0].down_until_ns, now_ns + 1);
}

/* Shares of PICKS connections, held open or not, from many sources. */
static void count_picks(struct app *app, unsigned int share[N], bool held)
{
	memset(share, 0, N * sizeof(share[0]));
	for (unsigned int k = 0; k < PICKS; k++) {
		char client[32];
		int i;

		snprintf(client, sizeof(client), "192.168.%u.%u", k >> 8 & 255, k & 255);
		i = pick(app, client, 0, false);
		assert_in_range(i, 0, N - 1);
		share[i]++;
		if (held)
			atomic_fetch_add(&app->backends[i]->active, 1);
	}
}

struct fairness {
	const char *balancer;
	bool held;        /* connections stay open while the others come */
	double tolerance; /* of each share, relative */
};

static void shares_follow_weights(void **state)
{
	const struct fairness *f = *state;
	static const uint32_t sets[2][N] = { { 1, 1, 1, 1, 1 }, { 1, 2, 3, 4, 10 } };

	for (size_t w = 0; w < 2; w++) {
		unsigned int share[N];
		struct app *app;
		double sum = 0;

		app = open_app(f->balancer, sets[w]);
		count_picks(app, share, f->held);
		for (size_t i = 0; i < N; i++)
			sum += sets[w][i];
		for (size_t i = 0; i < N; i++) {
			double expected = PICKS * sets[w][i] / sum;
			double off = share[i] / expected - 1;

			if (off > f->tolerance || off < -f->tolerance)
				fail_msg(
					"%s: backend %zu of weight %u has %u connections, not %.0f",
					f->balancer, i, sets[w][i], share[i], expected);
		}
		app_put(app);
	}
}

/* The first backend has come back in the middle of its slow start, 55 % of its share. */
static void slow_start_halves_the_chances(void **state)
{
	static const struct fairness all[] = {
		{ "p2c", true, 0.1 },
		{ "random", false, 0.1 },
		{ "round_robin", false, 0.1 },
		{ "least_conn", true, 0.1 },
	};
	static const uint32_t equal[N] = { 1, 1, 1, 1, 1 };

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
		struct app *app = open_app(all[k].balancer, equal);
		unsigned int share[N];
		double off;

		app->conf->slow_start_ms = 10000;
		atomic_store(&app->backends[0]->recovered_ns, now_ns - 5 * NSEC_PER_SEC);
		count_picks(app, share, all[k].held);
		off = share[0] / (PICKS * 0.55 / (N - 1 + 0.55)) - 1;
		if (off > all[k].tolerance || off < -all[k].tolerance)
			fail_msg("%s: %u of %u connections", all[k].balancer, share[0], PICKS);
		app_put(app);
	}
}

/* Their connections go on, and nothing, not even despair, brings new ones. */
static void who_is_drained_or_disabled_is_never_picked(void **state)
{
	static const uint32_t equal[N] = { 1, 1, 1, 1, 1 };

	(void)state;
	for (size_t k = 0; k < n_balancers; k++) {
		struct app *app = open_app(balancer_names[k], equal);
		unsigned int share[N];

		backend_set_order(app->backends[0], BACKEND_DRAINED, now_ns);
		backend_set_order(app->backends[1], BACKEND_DISABLED, now_ns);
		count_picks(app, share, false);
		assert_int_equal(share[0] + share[1], 0);
		for (size_t i = 2; i < N; i++)
			backend_set_order(app->backends[i], BACKEND_DRAINED, now_ns);
		assert_int_equal(pick(app, "192.168.0.1", 0, true), -1);
		app_put(app);
	}
}

static void only_candidates_are_picked(void **state)
{
	static const uint32_t weights[N] = { 1, 1, 1, 1, 1 };
	const struct fairness *f = *state;
	struct app *app;

	app = open_app(f->balancer, weights);
	put_down(app, 0);
	put_down(app, 3);
	for (int k = 0; k < 300; k++) {
		int i = pick(app, "10.1.1.1", 1u << 1, false);

		assert_true(i == 2 || i == 4);
	}
	assert_int_equal(pick(app, "10.1.1.1", 1u << 1 | 1u << 2, false), 4);
	assert_int_equal(pick(app, "10.1.1.1", 1u << 1 | 1u << 2 | 1u << 4, false), -1);
	for (int k = 0; k < 100; k++) {
		int i = pick(app, "10.1.1.1", 1u << 1 | 1u << 2 | 1u << 4, true);

		assert_true(i == 0 || i == 3);
	}
	assert_int_equal(pick(app, "10.1.1.1", 31, true), -1);
	app_put(app);
}

static void fill_up(struct app *app, size_t i)
{
	app->conf->targets[i].max_connections = 1;
	atomic_store(&app->backends[i]->active, 1);
}

static void a_full_target_is_passed_over(void **state)
{
	static const uint32_t weights[N] = { 1, 1, 1, 1, 1 };
	const struct fairness *f = *state;
	struct app *app = open_app(f->balancer, weights);

	fill_up(app, 0);
	put_down(app, 1);
	fill_up(app, 2);
	fill_up(app, 4);
	for (int k = 0; k < 300; k++)
		assert_int_equal(pick(app, "10.1.1.1", 0, false), 3);
	met_full = false;
	assert_int_equal(pick(app, "10.1.1.1", 1u << 3, false), -1);
	assert_true(met_full);
	/* Not one that it can't have anyway. */
	met_full = false;
	assert_int_equal(pick(app, "10.1.1.1", 1u << 0 | 1u << 2 | 1u << 3 | 1u << 4, false), -1);
	assert_false(met_full);
	atomic_store(&app->backends[2]->active, 0);
	assert_int_equal(pick(app, "10.1.1.1", 1u << 3, false), 2);
	app_put(app);
}

/* A turn of a heavy backend does not come many times in a row. */
static void round_robin_is_interleaved(void **state)
{
	static const uint32_t weights[N] = { 2, 1, 1, 1, 5 };
	unsigned int run = 0, longest = 0, share[N] = { 0 };
	struct app *app;

	(void)state;
	app = open_app("round_robin", weights);
	for (int k = 0; k < 10; k++) {
		int i = pick(app, "10.1.1.1", 0, false);

		share[i]++;
		run = i == 4 ? run + 1 : 0;
		longest = MAX(longest, run);
	}
	for (size_t i = 0; i < N; i++)
		assert_int_equal(share[i], weights[i]);
	assert_true(longest <= 2);
	app_put(app);
}

static void p2c_avoids_the_loaded(void **state)
{
	static const uint32_t weights[N] = { 1, 1, 1, 1, 1 };
	unsigned int share[N];
	struct app *app;

	(void)state;
	app = open_app("p2c", weights);
	atomic_store(&app->backends[2]->active, 1000000);
	count_picks(app, share, false);
	assert_int_equal(share[2], 0);
	app_put(app);
}

/* When a backend goes, its sources move and nobody else; when it is back, they come back. */
static void source_hash_moves_only_who_must(void **state)
{
	static const uint32_t weights[N] = { 1, 1, 1, 1, 1 };
	struct app *app;

	(void)state;
	app = open_app("source_hash", weights);
	for (unsigned int k = 0; k < 1000; k++) {
		char client[32];
		int home, other;

		snprintf(client, sizeof(client), "2001:db8::%x", k);
		home = pick(app, client, 0, false);
		assert_int_equal(pick(app, client, 0, false), home);
		other = pick(app, client, 1u << ((home + 1) % N), false);
		assert_int_equal(other, home);
		assert_int_not_equal(pick(app, client, 1u << home, false), home);
	}
	app_put(app);
}

static void an_unresolved_backend_is_never_picked(void **state)
{
	static const uint32_t weights[N] = { 1, 1, 1, 1, 1 };
	const struct fairness *f = *state;
	struct app *app;

	app = open_app(f->balancer, weights);
	free(atomic_exchange(&app->backends[1]->set, NULL));
	for (int k = 0; k < 200; k++)
		assert_int_not_equal(pick(app, "10.1.1.1", 0, k & 1), 1);
	app_put(app);
}

static void every_name_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_balancers; i++)
		assert_string_equal(balancer_find(balancer_names[i])->name, balancer_names[i]);
	assert_null(balancer_find("p3c"));
}

#define FAIR(test, ...)                                                                            \
	{                                                                                          \
		.name = #test ": " #__VA_ARGS__, .test_func = test,                                \
		.initial_state = &(struct fairness)                                                \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAIR(shares_follow_weights, "round_robin", false, 0.001),
		FAIR(shares_follow_weights, "random", false, 0.1),
		FAIR(shares_follow_weights, "p2c", true, 0.02),
		FAIR(shares_follow_weights, "p2c", false, 0.1),
		FAIR(shares_follow_weights, "least_conn", true, 0.01),
		FAIR(shares_follow_weights, "source_hash", false, 0.1),
		FAIR(only_candidates_are_picked, "p2c", false, 0),
		FAIR(only_candidates_are_picked, "random", false, 0),
		FAIR(only_candidates_are_picked, "round_robin", false, 0),
		FAIR(only_candidates_are_picked, "least_conn", false, 0),
		FAIR(only_candidates_are_picked, "source_hash", false, 0),
		FAIR(a_full_target_is_passed_over, "p2c", false, 0),
		FAIR(a_full_target_is_passed_over, "random", false, 0),
		FAIR(a_full_target_is_passed_over, "round_robin", false, 0),
		FAIR(a_full_target_is_passed_over, "least_conn", false, 0),
		FAIR(a_full_target_is_passed_over, "source_hash", false, 0),
		FAIR(an_unresolved_backend_is_never_picked, "p2c", false, 0),
		FAIR(an_unresolved_backend_is_never_picked, "round_robin", false, 0),
		FAIR(an_unresolved_backend_is_never_picked, "least_conn", false, 0),
		FAIR(an_unresolved_backend_is_never_picked, "source_hash", false, 0),
		cmocka_unit_test(slow_start_halves_the_chances),
		cmocka_unit_test(who_is_drained_or_disabled_is_never_picked),
		cmocka_unit_test(round_robin_is_interleaved),
		cmocka_unit_test(p2c_avoids_the_loaded),
		cmocka_unit_test(source_hash_moves_only_who_must),
		cmocka_unit_test(every_name_is_found),
	};

	return cmocka_run_group_tests_name("balancer", tests, NULL, NULL);
}
