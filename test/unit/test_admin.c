/* SPDX-License-Identifier: MIT */
/* What the admin socket answers, and to whom, with no session anywhere. */
#include "admin_daemon.h"

static void every_command_answers_and_ends(void **state)
{
	cJSON *row;

	(void)state;
	cJSON_Delete(first_row("{\"command\":\"help\"}\n", 13));
	cJSON_Delete(first_row("{\"command\":\"flows\",\"why\":true}\n", 0));
	row = first_row("{\"command\":\"status\"}\n", 1);
	has_text(row, "version", "1.2.3");
	assert_int_equal(number(row, "pid"), getpid());
	assert_int_equal(number(row, "workers"), 2);
	assert_int_equal(number(row, "apps"), 2);
	assert_int_equal(number(row, "fds_left"), 100);
	assert_int_equal(number(row, "room"), 30); /* fewer than the fds would do for */
	cJSON_Delete(row);
	row = first_row("{\"command\":\"config\"}\n", 1);
	has_text(row, "Engine", "auto");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(row, "Apps")), 2);
	cJSON_Delete(row);
	row = first_row("{\"command\":\"apps\"}\n", 2);
	has_text(row, "app", "web");
	has_text(row, "ports", "4,7-9");
	assert_int_equal(number(row, "targets_up"), 2);
	cJSON_Delete(row);
	row = first_row("{\"command\":\"backends\",\"app\":\"mail\"}\n", 1);
	has_text(row, "target", "h:3");
	has_text(row, "state", "unresolved");
	cJSON_Delete(row);
}

static void what_is_wrong_is_told_with_what_would_be_right(void **state)
{
	static const struct {
		const char *request, *error;
	} row[] = {
		{ "{\"command\":\"sttaus\"}",
		  "there is no command \\\"sttaus\\\"; did you mean \\\"status\\\"?" },
		{ "{\"command\":\"frobnicate\"}",
		  "there is no command \\\"frobnicate\\\"; the command \\\"help\\\" lists them" },
		{ "{\"command\":\"flows\",\"app\":\"wbb\"}",
		  "there is no app \\\"wbb\\\"; did you mean \\\"web\\\"?" },
		{ "{\"command\":\"reload\"}", "this daemon's configuration can't be read again" },
		{ "{\"command\":\"flows\",\"app\":7}",
		  "\\\"app\\\" must be a string, the name of an app" },
		{ "{\"command\":\"flows\",\"why\":1}", "\\\"why\\\" must be true or false" },
		{ "{\"command\":\"flows\",\"whyy\":true}",
		  "the command \\\"flows\\\" takes no option \\\"whyy\\\"; did you mean \\\"why\\\"?" },
		{ "{\"command\":\"apps\",\"colour\":1}",
		  "the command \\\"apps\\\" takes no option \\\"colour\\\"; it takes: \\\"app\\\"" },
		{ "{\"command\":\"backend-order\",\"app\":\"web\",\"order\":\"drained\"}",
		  "it needs \\\"app\\\", \\\"target\\\" and \\\"order\\\", all three" },
		{ "{\"command\":\"backend-order\",\"order\":\"drain\"}",
		  "there is no order \\\"drain\\\"; did you mean \\\"drained\\\"?" },
		{ "{\"command\":\"backend-order\",\"target\":\"\"}",
		  "\\\"target\\\" must be a string, a target's text" },
		{ "{\"command\":\"backend-order\",\"app\":\"web\",\"target\":\"127.0.0.1:3\","
		  "\"order\":\"drained\"}",
		  "app \\\"web\\\" has no target \\\"127.0.0.1:3\\\"; did you mean "
		  "\\\"127.0.0.1:1\\\"?" },
		{ "{\"command\":\"status\",\"app\":\"web\"}",
		  "the command \\\"status\\\" takes no option \\\"app\\\"; it takes none" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		char request[256], want[256];

		snprintf(request, sizeof(request), "%s\n", row[i].request);
		snprintf(want, sizeof(want), "{\"error\":\"%s\"}\n", row[i].error);
		answers(request, want);
	}
}

static void a_target_is_taken_out_and_back(void **state)
{
	cJSON *row;

	(void)state;
	answers("{\"command\":\"backend-order\",\"app\":\"web\",\"target\":\"127.0.0.1:1\","
		"\"order\":\"drained\"}\n",
		"{\"app\":\"web\",\"target\":\"127.0.0.1:1\",\"order\":\"drained\","
		"\"before\":\"enabled\",\"active\":0}\n{\"end\":true,\"rows\":1}\n");
	row = first_row("{\"command\":\"backends\",\"app\":\"web\"}\n", 2);
	has_text(row, "order", "drained");
	has_text(row, "state", "up");
	cJSON_Delete(row);
	/* In whatever order the request has them. */
	answers("{\"order\":\"enabled\",\"target\":\"127.0.0.1:1\",\"app\":\"web\","
		"\"command\":\"backend-order\"}\n",
		"{\"app\":\"web\",\"target\":\"127.0.0.1:1\",\"order\":\"enabled\","
		"\"before\":\"drained\",\"active\":0}\n{\"end\":true,\"rows\":1}\n");
}

static void what_is_no_request_is_told_and_the_connection_goes_on(void **state)
{
	static const char *const wrong[] = {
		"flows",
		"{\"command\":\"flows\"",
		"{\"command\":\"flows\"} x",
		"[]",
		"{}",
		"{\"command\":7}",
		"null",
		"\"flows\"",
		"{\"command\":\"flows\"}{\"command\":\"flows\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char request[128];

		snprintf(request, sizeof(request), "%s\n\n \r\n{\"command\":\"flows\"}\n",
			 wrong[i]);
		answers(request,
			"{\"error\":\"a request must be one line of JSON such as "
			"{\\\"command\\\": \\\"status\\\"}\"}\n{\"end\":true,\"rows\":0}\n");
	}
}

static void orders_are_carried_out_once(void **state)
{
	(void)state;
	drains = stops = 0;
	answers("{\"command\":\"drain\"}\n",
		"{\"state\":\"starting\"}\n{\"end\":true,\"rows\":1}\n");
	assert_int_equal(drains, 1);
	assert_int_equal(stops, 0);
	answers("{\"command\":\"stop\"}\n",
		"{\"state\":\"stopping\"}\n{\"end\":true,\"rows\":1}\n");
	assert_int_equal(drains, 1);
	assert_int_equal(stops, 1);
}

static void the_bypass_is_not_switched_where_there_is_none(void **state)
{
	(void)state;
	answers("{\"command\":\"bypass\",\"bypass\":\"off\"}\n",
		"{\"error\":\"which app? It takes an \\\"app\\\"\"}\n");
	answers("{\"command\":\"bypass\",\"bypass\":\"down\"}\n",
		"{\"error\":\"\\\"bypass\\\" must be \\\"on\\\" or \\\"off\\\"\"}\n");
	answers("{\"command\":\"bypass\",\"bypass\":\"off\",\"app\":\"web\"}\n",
		"{\"error\":\"this app is not bypassed: its \\\"LocalBypass\\\" is false\"}\n");
}

static void the_log_level_is_told_and_changed(void **state)
{
	(void)state;
	assert_int_equal(log_level_now(), LOG_LEVEL_INFO);
	answers("{\"command\":\"log-level\"}\n",
		"{\"level\":\"info\",\"before\":\"info\"}\n{\"end\":true,\"rows\":1}\n");
	answers("{\"command\":\"log-level\",\"level\":\"error\"}\n",
		"{\"level\":\"error\",\"before\":\"info\"}\n{\"end\":true,\"rows\":1}\n");
	assert_int_equal(log_level_now(), LOG_LEVEL_ERROR);
	answers("{\"command\":\"log-level\",\"level\":\"wanring\"}\n",
		"{\"error\":\"there is no log level \\\"wanring\\\"; did you mean "
		"\\\"warning\\\"?\"}\n");
	answers("{\"command\":\"log-level\",\"level\":3}\n",
		"{\"error\":\"there is no log level \\\"\\\"; there are error, warning, notice, info "
		"and debug\"}\n");
	assert_int_equal(log_level_now(), LOG_LEVEL_ERROR);
	log_set_level(LOG_LEVEL_INFO);
}

static void requests_are_answered_one_after_the_other_also_without_a_last_newline(void **state)
{
	(void)state;
	answers("{\"command\":\"flows\"}\n{\"command\":\"flow\"}\n{\"command\":\"flows\"}",
		"{\"end\":true,\"rows\":0}\n"
		"{\"error\":\"there is no command \\\"flow\\\"; did you mean \\\"flows\\\"?\"}\n"
		"{\"end\":true,\"rows\":0}\n");
}

static void a_line_without_end_is_refused(void **state)
{
	size_t len = ADMIN_REQUEST_MAX_BYTES + 1000;
	char *line = xcalloc(1, len);
	struct asker *a;

	(void)state;
	memset(line, ' ', len);
	a = ask_begin(line, len);
	ask_end(a);
	assert_string_equal(a->answer,
			    "{\"error\":\"a request must be one line of at most 64 KiB\"}\n");
	asker_free(a);
	free(line);
}

static void one_client_too_many_is_told_so(void **state)
{
	struct asker *others[ADMIN_CLIENTS_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		others[i] = ask_begin("", 0);
	run_loop_for_ms(20);
	answers("", "{\"error\":\"too many clients at the admin socket: close another one "
		    "first\"}\n");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		asker_free(others[i]);
	answers("{\"command\":\"flows\"}\n", "{\"end\":true,\"rows\":0}\n");
}

/* Its answer is far longer than what the socket holds. */
static void a_client_that_does_not_read_stops_nobody_and_loses_nothing(void **state)
{
	static const char request[] = "{\"command\":\"apps\"}\n";
	struct asker *slow = ask_begin(request, strlen(request));

	(void)state;
	run_loop_for_ms(50);
	cJSON_Delete(first_row(request, MANY_APPS));
	ask_end(slow);
	assert_int_equal(count_lines(slow->answer), MANY_APPS + 1);
	asker_free(slow);
}

/* Who has read all of it and asks nothing is left alone for much longer. */
static void a_client_that_never_reads_is_closed_in_time(void **state)
{
	static const char long_one[] = "{\"command\":\"apps\"}\n",
			  short_one[] = "{\"command\":\"flows\"}\n";
	struct asker *stuck = ask_begin(long_one, strlen(long_one));
	struct asker *idle = ask_begin(short_one, strlen(short_one));

	(void)state;
	run_loop_for_ms(50);
	timer_wheel_run(&loop.timers, loop.now_ns + (ADMIN_STALL_MAX_MS + 100) * NSEC_PER_MSEC);
	ask_end(stuck);
	assert_in_range(count_lines(stuck->answer), 1, MANY_APPS - 1);
	ask_end(idle);
	assert_int_equal(count_lines(idle->answer), 1);
	asker_free(stuck);
	asker_free(idle);
}

static void a_client_that_goes_away_in_its_answer_is_forgotten(void **state)
{
	static const char request[] = "{\"command\":\"apps\"}\n";
	struct asker *gone = ask_begin(request, strlen(request));

	(void)state;
	run_loop_for_ms(50);
	asker_free(gone);
	run_loop_for_ms(50);
	cJSON_Delete(first_row(request, MANY_APPS));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_two_apps, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_command_answers_and_ends),
		TEST(what_is_wrong_is_told_with_what_would_be_right),
		TEST(a_target_is_taken_out_and_back),
		TEST(what_is_no_request_is_told_and_the_connection_goes_on),
		TEST(requests_are_answered_one_after_the_other_also_without_a_last_newline),
		TEST(orders_are_carried_out_once),
		TEST(the_log_level_is_told_and_changed),
		TEST(the_bypass_is_not_switched_where_there_is_none),
		TEST(a_line_without_end_is_refused),
		TEST(one_client_too_many_is_told_so),
		cmocka_unit_test_setup_teardown(
			a_client_that_does_not_read_stops_nobody_and_loses_nothing, open_many_apps,
			teardown),
		cmocka_unit_test_setup_teardown(a_client_that_goes_away_in_its_answer_is_forgotten,
						open_many_apps, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_never_reads_is_closed_in_time,
						open_many_apps, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
