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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_was_wanted_is_known_when_it_is_used),
		TEST(a_name_that_stays_is_not_looked_up_again),
		TEST(what_was_wanted_and_not_used_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
