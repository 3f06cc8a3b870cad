/* SPDX-License-Identifier: MIT */
/*
 * What `shunt top` makes of the daemon's answers: rates, order, and lines that fit whatever the
 * terminal's size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "top.h"

#define SCREEN_MAX_BYTES (64u << 10)

static void add(struct top_sample *s, const char *fmt, ...) printf_like(2, 3);

static void add(struct top_sample *s, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	cJSON *row;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	row = cJSON_Parse(text);
	assert_non_null(row);
	top_sample_add(s, row);
}

static void add_status(struct top_sample *s, int pid, int uptime_ms, int done)
{
	add(s,
	    "{\"row\":\"status\",\"version\":\"1.2\",\"pid\":%d,\"uptime_ms\":%d,\"state\":\"ready\","
	    "\"workers\":2,\"sessions\":7,\"states\":{\"connecting\":1,\"relaying\":6},"
	    "\"closed\":{\"done\":%d,\"client_reset\":0,\"idle_timeout\":4},\"failovers\":%d,"
	    "\"room\":10,\"engines\":[{\"engine\":\"copy\",\"to_backend\":1,\"to_client\":2},"
	    "{\"engine\":\"copy\",\"to_backend\":2,\"to_client\":3},{\"engine\":\"splice\","
	    "\"to_backend\":4,\"to_client\":2}]}",
	    pid, uptime_ms, done, done / 10);
}

static void add_app(struct top_sample *s, const char *name, int active, int accepted, int bytes)
{
	add(s,
	    "{\"row\":\"app\",\"app\":\"%s\",\"targets\":3,\"targets_up\":2,\"active\":%d,"
	    "\"accepted\":%d,\"closed\":{\"done\":%d,\"idle_timeout\":9,\"no_backend\":%d},"
	    "\"bytes_to_backend\":%d,\"bytes_to_client\":0}",
	    name, active, accepted, accepted, accepted / 2, bytes);
}

static void add_target(struct top_sample *s, const char *app, const char *name, int connects)
{
	add(s,
	    "{\"row\":\"backend\",\"app\":\"%s\",\"target\":\"%s\",\"state\":\"up\",\"active\":1,"
	    "\"connects\":%d,\"failures\":0,\"bytes_to_backend\":0,\"bytes_to_client\":0}",
	    app, name, connects);
}

/* Two samples of one daemon, two seconds apart; the second's rates are there. */
static struct top_sample second_sample(void)
{
	struct top_sample before = { 0 }, s = { 0 };

	add_status(&before, 1, 1000, 100);
	add_app(&before, "web", 5, 100, 0);
	add_app(&before, "mail", 9, 50, 4096);
	add_target(&before, "web", "h:1", 10);
	add_target(&before, "web", "h:2", 20);
	add_target(&before, "mail", "h:1", 30);
	add_status(&s, 1, 3000, 160);
	add_app(&s, "new", 0, 8, 0);
	add_app(&s, "web", 6, 140, 2048);
	add_app(&s, "mail", 9, 50, 2097152 + 4096);
	add_target(&s, "web", "h:2", 20);
	add_target(&s, "web", "h:1", 24);
	add_target(&s, "mail", "h:1", 30);
	assert_true(top_sample_compare(&s, &before));
	top_sample_free(&before);
	return s;
}

static char *drawn(const struct top_view *v, struct top_sample *s)
{
	char *text = xcalloc(1, SCREEN_MAX_BYTES);
	FILE *out = fmemopen(text, SCREEN_MAX_BYTES, "w");

	assert_non_null(out);
	top_draw(v, s, out);
	fclose(out);
	return text;
}

static void rates_are_of_what_was_there_before(void **state)
{
	struct top_view v = { .width = 80, .sort = TOP_BY_NAME };
	struct top_sample s = second_sample();
	char *text = drawn(&v, &s);

	(void)state;
	assert_string_equal(
		text,
		"shunt 1.2, pid 1, up 3.0s, ready, 2 workers\n"
		"Live     7: 1 connecting, 6 relaying; room for 10 more\n"
		"Rates/s  20.0 new, 10.0 failed, 3.0 failovers, 1.0M to backends, 0 to clients\n"
		"Engines  copy 3/5, splice 4/2 (directions to backend/to client)\n"
		"Ended    done 160 (30.0/s), idle_timeout 4 (0.0/s)\n"
		"\n"
		"APP*                    ACTIVE   NEW/s  FAILED/s  TO BACKEND  TO CLIENT       UP\n"
		"mail                         9     0.0       0.0      1.0M/s        0/s      2/3\n"
		"new                          0     0.0       0.0         0/s        0/s      2/3\n"
		"web                          6    20.0      10.0      1.0K/s        0/s      2/3\n"
		"\n"
		"APP    TARGET*          ACTIVE   NEW/s  FAILED/s  TO BACKEND  TO CLIENT       UP\n"
		"mail   h:1                   1     0.0       0.0         0/s        0/s       up\n"
		"web    h:1                   1     7.0       0.0         0/s        0/s       up\n"
		"web    h:2                   1     0.0       0.0         0/s        0/s       up\n");
	free(text);
	top_sample_free(&s);
}

/* The names of the first list's rows, one character each. */
static void order_is(struct top_sample *s, unsigned int sort, bool reversed, const char *want)
{
	struct top_view v = { .width = 80, .sort = sort, .reversed = reversed, .lists = TOP_APPS };
	char *text = drawn(&v, s), *line = strstr(text, "APP"), got[8] = "";

	for (size_t i = 0; i < strlen(want); i++) {
		line = strchr(line, '\n') + 1;
		got[i] = *line;
	}
	assert_string_equal(got, want);
	free(text);
}

static void rows_are_in_the_order_that_was_asked_for(void **state)
{
	struct top_sample s = second_sample();

	(void)state;
	order_is(&s, TOP_BY_NAME, false, "mnw");
	order_is(&s, TOP_BY_NAME, true, "wnm");
	order_is(&s, TOP_BY_ACTIVE, false, "mwn");
	order_is(&s, TOP_BY_COUNTER + TOP_NEW, false, "wmn");
	order_is(&s, TOP_BY_COUNTER + TOP_TO_BACKEND, false, "mwn");
	order_is(&s, TOP_BY_COUNTER + TOP_TO_BACKEND, true, "nwm");
	top_sample_free(&s);
}

static void another_daemon_is_found_out(void **state)
{
	struct top_sample none = { 0 }, before = { 0 }, s = { 0 };

	(void)state;
	add_status(&before, 1, 5000, 9);
	assert_true(top_sample_compare(&before, &none)); /* the first one of all */
	add_status(&s, 2, 9000, 1);
	assert_false(top_sample_compare(&s, &before));
	assert_true(s.seconds == 0);
	top_sample_free(&s);
	add_status(&s, 1, 4000, 1);
	assert_false(top_sample_compare(&s, &before));
	top_sample_free(&s);
	add_status(&s, 1, 5000, 9); /* of the same millisecond */
	assert_true(top_sample_compare(&s, &before));
	assert_true(s.seconds == 0);
	top_sample_free(&s);
	top_sample_free(&before);
}

static size_t characters(const char *text, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += (text[i] & 0xc0) != 0x80;
	return n;
}

static void whatever_the_size_the_lines_fit(void **state)
{
	struct top_sample s = { 0 };
	char name[128];

	(void)state;
	add_status(&s, 1, 1000, 1000000);
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "%02d äöü %.*s", i, i,
			 "ßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßßß");
		add_app(&s, name, i, i, i);
		add_target(&s, name, name, i);
	}
	for (size_t width = 1; width < 200; width += 7) {
		for (size_t height = 1; height < 140; height += width % 3 ? 1 : 13) {
			struct top_view v = { .width = width, .height = height };
			size_t lines = 0;
			char *text;

			v.lists = (unsigned int)((width + height) % N_TOP_LISTS);
			text = drawn(&v, &s);
			for (const char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
				lines++;
				assert_true(characters(at, (size_t)(end - at)) <= width);
			}
			assert_int_equal(lines, height); /* the foot is the last line */
			free(text);
		}
	}
	top_sample_free(&s);
}

static void both_lists_get_room_and_what_is_left_out_is_told(void **state)
{
	struct top_view v = { .width = 80, .height = 24 };
	struct top_sample s = { 0 };
	char name[16], *text;

	(void)state;
	add_status(&s, 1, 1000, 5);
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		add_app(&s, name, i, i, i);
		add_target(&s, name, name, i);
	}
	text = drawn(&v, &s);
	assert_non_null(strstr(text, "\n... and 24 more\n\nAPP    TARGET"));
	assert_non_null(strstr(text, "\n... and 24 more\nq quit"));
	free(text);
	top_sample_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rates_are_of_what_was_there_before),
		cmocka_unit_test(rows_are_in_the_order_that_was_asked_for),
		cmocka_unit_test(another_daemon_is_found_out),
		cmocka_unit_test(whatever_the_size_the_lines_fit),
		cmocka_unit_test(both_lists_get_room_and_what_is_left_out_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
