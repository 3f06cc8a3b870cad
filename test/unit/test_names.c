/* SPDX-License-Identifier: MIT */
/* Names from one list of apps to the next: looked up once, and known to whoever comes later. The
 * hosts file knows "localhost", and nobody "x.invalid" (RFC 6761). */
#include "config_text.h"

#include "apps.h"
#include "names.h"

#define WAIT_MAX_MS 20000

static struct loop loop;
static struct names *names;
static size_t outcomes;

static void retire(void *arg, struct endpoint_set *set)
{
	(void)arg;
	free(set);
}

static void on_outcome(void *arg)
{
	(void)arg;
	outcomes++;
}

static int setup(void **state)
{
	struct names_callbacks cb = { retire, on_outcome, NULL };

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	names = names_new(&loop, &cb);
	outcomes = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	names_free(names);
	loop_close(&loop);
	return 0;
}

static struct app_list apps_of(const char *targets)
{
	struct app_list apps;
	struct config *c;
	char text[256];

	snprintf(text, sizeof(text), "{'Apps':[{'Name':'a','Ports':[1],'Targets':[%s]}]}", targets);
	c = parsed(text);
	apps = apps_make(c, NULL, NULL);
	config_free(c);
	return apps;
}

static void resolve(void)
{
	uint64_t start = clock_ns();

	while (names_pending(names)) {
		assert_int_equal(loop_turn(&loop, 100), 0);
		assert_true(clock_ns() - start < WAIT_MAX_MS * NSEC_PER_MSEC);
	}
}

static void what_was_wanted_is_known_when_it_is_used(void **state)
{
	struct app_list apps = apps_of("'localhost:1','127.0.0.1:2','LOCALHOST:3'");

	(void)state;
	assert_int_equal(names_want(names, &apps), 0);
	assert_int_equal(names_pending(names), 1);
	resolve();
	assert_false(backend_resolved(apps.list[0]->backends[0]));
	names_use(names, &apps);
	for (size_t i = 0; i < 3; i++) {
		struct endpoint_set *set = atomic_load(&apps.list[0]->backends[i]->set);

		assert_non_null(set);
		assert_int_equal(addr_port(&set->endpoint[0].addr), i + 1);
	}
	app_list_free(&apps);
}

static void a_name_that_stays_is_not_looked_up_again(void **state)
{
	struct app_list first = apps_of("'localhost:1'"), second = apps_of("'localhost:5'");

	(void)state;
	assert_int_equal(names_want(names, &first), 0);
	names_use(names, &first);
	resolve();
	assert_true(backend_resolved(first.list[0]->backends[0]));
	assert_int_equal(names_want(names, &second), 0);
	assert_int_equal(names_pending(names), 0);
	names_use(names, &second);
	app_list_free(&first); /* nobody refers to them any more */
	assert_true(backend_resolved(second.list[0]->backends[0]));
	assert_int_equal(outcomes, 1);
	app_list_free(&second);
}

/* As a reload does that fails. */
static void what_was_wanted_and_not_used_is_forgotten(void **state)
{
	struct app_list running = apps_of("'localhost:1'"), other = apps_of("'x.invalid:1'");

	(void)state;
	assert_int_equal(names_want(names, &running), 0);
	names_use(names, &running);
	resolve();
	assert_int_equal(names_want(names, &other), 0);
	assert_int_equal(names_pending(names), 1);
	names_use(names, &running);
	assert_int_equal(names_pending(names), 0);
	app_list_free(&other);
	/* It was forgotten indeed: it has to be looked up once more. */
	other = apps_of("'x.invalid:1'");
	assert_int_equal(names_want(names, &other), 0);
	assert_int_equal(names_pending(names), 1);
	names_use(names, &running);
	app_list_free(&other);
	app_list_free(&running);
}

/* Whatever becomes of "x.invalid" here, it is no answer; and a file with one family is a whole one.
 */
static void what_comes_of_lookups_is_counted_and_told(void **state)
{
	struct app_list apps = apps_of("'localhost:1','x.invalid:2','127.0.0.1:3','LocalHost:4'");
	struct backend **b = apps.list[0]->backends;
	struct names_figures f;
	struct name_state s;
	uint64_t failed = 0;

	(void)state;
	assert_int_equal(names_want(names, &apps), 0);
	names_use(names, &apps);
	f = names_figures(names);
	assert_int_equal(f.names, 2);
	assert_int_equal(f.failing, 0);
	resolve();
	f = names_figures(names);
	for (size_t i = RESOLVER_ANSWERED + 1; i < N_RESOLVER_OUTCOMES; i++)
		failed += f.lookups[i];
	assert_true(f.lookups[RESOLVER_ANSWERED] >= 1);
	assert_int_equal(f.lookups[RESOLVER_HALF_FAILED], 0);
	assert_true(failed >= 1);
	assert_int_equal(f.failing, 1);

	assert_true(names_state(names, b[0], &s));
	assert_int_equal(s.failure.in_a_row, 0);
	assert_true(s.answered_ns && s.answered_ns <= clock_ns());
	assert_true(names_state(names, b[1], &s));
	assert_true(s.failure.in_a_row >= 1);
	assert_int_equal(s.failure.family, AF_UNSPEC);
	assert_non_null(s.failure.why);
	assert_int_equal(s.answered_ns, 0);
	assert_false(names_state(names, b[2], &s));
	assert_true(names_state(names, b[3], &s));
	assert_int_equal(s.failure.in_a_row, 0);
	app_list_free(&apps);
}

static void without_names_there_is_nothing_to_tell(void **state)
{
	struct app_list apps = apps_of("'localhost:1'");
	struct name_state s;

	(void)state;
	assert_int_equal(names_figures(NULL).names, 0);
	assert_int_equal(names_figures(names).lookups[RESOLVER_ANSWERED], 0);
	assert_false(names_state(NULL, apps.list[0]->backends[0], &s));
	assert_false(names_state(names, apps.list[0]->backends[0], &s));
	app_list_free(&apps);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_was_wanted_is_known_when_it_is_used),
		TEST(a_name_that_stays_is_not_looked_up_again),
		TEST(what_was_wanted_and_not_used_is_forgotten),
		TEST(what_comes_of_lookups_is_counted_and_told),
		TEST(without_names_there_is_nothing_to_tell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
