/* SPDX-License-Identifier: MIT */
/* Generations of apps: what stays from one to the next, what is to be left, and what is told of
 * those that have gone. A sanitizer's build says whether anything is freed too early, or never. */
#include "config_text.h"

#include "apps.h"

#define BEFORE "{'Apps':[{'Name':'a','Ports':[1],'Targets':['10.0.0.1:1','10.0.0.2:1','h:1']}]}"
#define AFTER                                                                                      \
	"{'Apps':[{'Name':'a','Ports':[1],'Targets':['h:1',{'Address':'10.0.0.1:1','Weight':5},"   \
	"'10.0.0.4:1']}]}"

static struct app_list made(const char *text, const struct app_list *running,
			    struct config_diff *diff)
{
	struct config *c = parsed(text), *was = parsed(BEFORE);
	struct app_list apps;

	if (running) {
		const struct app_conf *confs[8];

		assert_true(running->n <= ARRAY_SIZE(confs));
		for (size_t i = 0; i < running->n; i++)
			confs[i] = running->list[i]->conf;
		config_diff(was, confs, running->n, c, diff);
	}
	apps = apps_make(c, running, running ? diff->match : NULL);
	config_free(c);
	config_free(was);
	return apps;
}

static void targets_that_stay_keep_what_is_known_of_them(void **state)
{
	struct config_diff diff;
	struct app_list was = made(BEFORE, NULL, NULL), now;
	struct backend *first = was.list[0]->backends[0], *third = was.list[0]->backends[2];
	struct app *app;

	(void)state;
	atomic_store(&first->active, 7);
	atomic_store(&was.list[0]->shared->accepted, 9);
	atomic_store(&atomic_load(&first->set)->endpoint[0].failures, 3);
	now = made(AFTER, &was, &diff);
	app = now.list[0];
	assert_ptr_not_equal(app, was.list[0]);
	assert_ptr_equal(app->backends[0], third);
	assert_ptr_equal(app->backends[1], first);
	assert_int_equal(app->conf->targets[1].weight, 5);
	assert_int_equal(was.list[0]->conf->targets[0].weight, 1);
	app_list_free(&was);
	assert_int_equal(atomic_load(&app->shared->accepted), 9);
	assert_int_equal(atomic_load(&first->active), 7);
	assert_int_equal(atomic_load(&atomic_load(&first->set)->endpoint[0].failures), 3);
	assert_string_equal(first->text, "10.0.0.1:1");
	app_list_free(&now);
	config_diff_free(&diff);
}

static void what_has_not_changed_is_the_same_app(void **state)
{
	struct config_diff diff;
	struct app_list was = made(BEFORE, NULL, NULL), now = made(BEFORE, &was, &diff);

	(void)state;
	assert_ptr_equal(now.list[0], was.list[0]);
	assert_int_equal(atomic_load(&now.list[0]->refs), 2);
	app_list_free(&now);
	app_list_free(&was);
	config_diff_free(&diff);
}

static void only_what_a_reload_removes_is_to_be_left(void **state)
{
	struct apps apps = { .running = made(BEFORE, NULL, NULL) };
	struct app *old = app_get(apps.running.list[0]), *app;
	struct config_diff diff;
	struct app_list now = made(AFTER, &apps.running, &diff);

	(void)state;
	apps_switch(&apps, &now, diff.match, 1234);
	app = apps.running.list[0];
	assert_int_equal(atomic_load(&old->backends[1]->leave_by_ns), 1234);
	for (size_t i = 0; i < app->n_backends; i++)
		assert_int_equal(atomic_load(&app->backends[i]->leave_by_ns), 0);
	assert_int_equal(atomic_load(&app->shared->leave_by_ns), 0);
	assert_int_equal(apps.leaving.n, 0);
	app_put(old);
	apps_free(&apps);
	config_diff_free(&diff);
}

static void an_app_leaves_with_its_last_reference_and_is_still_counted(void **state)
{
	struct apps apps = { .running = made(BEFORE, NULL, NULL) };
	struct app *older = app_get(apps.running.list[0]);
	struct config_diff diff;
	struct app_list now = made(AFTER, &apps.running, &diff);

	(void)state;
	atomic_store(&older->shared->accepted, 5);
	atomic_store(&older->shared->closed[CLOSE_DONE], 4);
	apps_switch(&apps, &now, diff.match, 0);
	config_diff_free(&diff);
	now = made("{'Apps':[{'Name':'b','Ports':[1],'Targets':['h:1']}]}", &apps.running, &diff);
	apps_switch(&apps, &now, diff.match, 99);
	/* A session of an older generation is enough. */
	apps_prune(&apps);
	assert_int_equal(apps.leaving.n, 1);
	assert_int_equal(atomic_load(&older->shared->leave_by_ns), 99);
	app_put(older);
	apps_prune(&apps);
	assert_int_equal(apps.leaving.n, 0);
	assert_int_equal(atomic_load(&apps.gone.accepted), 5);
	assert_int_equal(atomic_load(&apps.gone.closed[CLOSE_DONE]), 4);
	apps_free(&apps);
	config_diff_free(&diff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_that_stay_keep_what_is_known_of_them),
		cmocka_unit_test(what_has_not_changed_is_the_same_app),
		cmocka_unit_test(only_what_a_reload_removes_is_to_be_left),
		cmocka_unit_test(an_app_leaves_with_its_last_reference_and_is_still_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
