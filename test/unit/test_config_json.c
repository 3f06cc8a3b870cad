/* SPDX-License-Identifier: MIT */
/*
 * JSON with positions: each slip of the pen is told where it is and in words that help, what cJSON
 * would forgive is not forgiven, and what is right keeps its places.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "config_json.h"

/* Refused with an error that begins with `want` and, unless NULL, contains `hint`. */
static void refused(const char *text, size_t len, const char *want, const char *hint)
{
	char *copy = xcalloc(len, 1), got[JSON_ERROR_MAX + 32]; /* without a NUL behind it */
	struct json_doc doc = { 0 };
	struct json_error error;

	memcpy(copy, text, len);
	if (!json_parse(copy, len, &doc, &error))
		fail_msg("%.200s\nwas taken, wanted: %s", text, want);
	snprintf(got, sizeof(got), "%u:%u: %s", error.at.line, error.at.column, error.text);
	if (strncmp(got, want, strlen(want)) || (hint && !strstr(got, hint)))
		fail_msg("%.200s\ngave:   %s\nwanted: %s ... %s", text, got, want,
			 hint ? hint : "");
	assert_null(doc.tree);
	free(copy);
}

static const struct {
	const char *text, *want, *hint;
} slips[] = {
	{ "", "0:0: is empty", "JSON object" },
	{ " \r\n\t", "0:0: is empty", NULL },
	{ "\xef\xbb\xbf", "0:0: is empty", NULL },
	{ "[1,]", "1:3: a comma before ']', must be left out", NULL },
	{ "{\"Apps\": [],\n }", "1:12: a comma before '}', must be left out", NULL },
	{ "{\"Workers\": 1\n \"Apps\": []}", "2:2: a comma is missing before this", "'}'" },
	{ "[1 2]", "1:4: a comma is missing before this", "']'" },
	{ "{'Apps': []}", "1:2: a single quote, must be a double quote", NULL },
	{ "{\n\t// the apps\n}", "2:2: a comment, must be left out", NULL },
	{ "# the apps", "1:1: a comment, must be left out", NULL },
	{ "{\"A\": /* x */ 1}", "1:7: a comment", NULL },
	{ "{Apps: []}", "1:2: a key without quotes", "double quotes" },
	{ "{\"Apps\" []}", "1:9: '[', must be the ':' after a key", NULL },
	{ "{\"Apps\" \"x\"}", "1:9: a string, must be the ':' after a key", NULL },
	{ "{\"Apps\":, 1}", "1:9: ',', must be a value", NULL },
	{ "{\"Apps\":}", "1:9: '}', must be a value", NULL },
	{ "{\"a\": 1,, \"b\": 2}", "1:9: ',', must be a key in double quotes", NULL },
	{ "{[1]}", "1:2: '[', must be a key in double quotes or '}'", NULL },
	{ "[,1]", "1:2: ',', must be a value or ']'", NULL },
	{ "[1;2]", "1:3: ';', must be ',' or ']'", NULL },
	{ "{\"a\":1;2}", "1:7: ';', must be ',' or '}'", NULL },
	{ "{\"Ports\": [1, \"Targets\": []}", "1:24: a ':' in an array", "line 1 not closed?" },
	{ "{\"Apps\":\n[1}", "2:3: '}' while the '[' of line 2 is open, must be ']'", NULL },
	{ "\n{\"Apps\": [1]\n", "3:1: the text ends here", "the '{' of line 2 is not closed" },
	{ "[\n[1,", "2:4: the text ends here", "the '[' of line 2" },
	{ "{} {}", "1:4: more text after the end", "left out" },
	{ "{}\n}", "2:1: more text after the end", NULL },
	{ "]", "1:1: ']', must be a value", NULL },
	{ "{\"a\": \"b}\n", "1:7: a string without a closing quote on its line", NULL },
	{ "[\"a\\", "1:2: a string without a closing quote", NULL },
	{ "[\"a\\\"", "1:2: a string without a closing quote", NULL },
	{ "[\"a\tb\"]", "1:4: a control character in a string", "\\u0009" },
	{ "[\"ab\\u0000\"]", "1:5: a NUL in a string", NULL },
	{ "[\"ab\\q\"]", "1:5: a bad escape", "\\uXXXX" },
	{ "[\"\\ud800\"]", "1:3: half of a surrogate pair", NULL },
	{ "[\"\\udc00\\ud800\"]", "1:3: half of a surrogate pair", NULL },
	{ "[\"\\u12g4\"]", "1:3: a bad escape", NULL },
	{ "[\"\\u12", "1:3: a bad escape", NULL },
	{ "[True]", "1:2: True, must be true", NULL },
	{ "[NULL]", "1:2: NULL, must be null", NULL },
	{ "[yes]", "1:2: yes is no JSON value", "a string in double quotes" },
	{ "[5s]", "1:2: 5s is no JSON value", NULL },
	{ "[007]", "1:2: 007 is no JSON value", "without leading zeros" },
	{ "[-]", "1:2: - is no JSON value", NULL },
	{ "[+1]", "1:2: +1 is no JSON value", NULL },
	{ "[1.]", "1:2: 1. is no JSON value", NULL },
	{ "[.5]", "1:2: .5 is no JSON value", NULL },
	{ "[1e]", "1:2: 1e is no JSON value", NULL },
	{ "[0x1f]", "1:2: 0x1f is no JSON value", NULL },
	{ "[\xe2\x80\x9cx]", "1:2: a character that is no JSON", "a value or ']'" },
	{ "[\x01]", "1:2: a character that is no JSON", NULL },
	{ "[\"\xc3\xa4\xc3\xb6\", \"\xff\"]", "1:9: a byte that is no UTF-8", NULL },
	{ "[\"\xc0\xaf\"]", "1:3: a byte that is no UTF-8", NULL },
	{ "[\"\xed\xa0\x80\"]", "1:3: a byte that is no UTF-8", NULL },
	{ "[\"\xf4\x90\x80\x80\"]", "1:3: a byte that is no UTF-8", NULL },
	{ "[\"\xe2\x82\"]", "1:3: a byte that is no UTF-8", NULL },
	{ "[\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\" 1]", "1:8: a comma is missing", NULL },
	{ "[1\r\n1]", "2:1: a comma is missing", NULL },
};

static void a_slip_is_told_where_it_is(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(slips); i++)
		refused(slips[i].text, strlen(slips[i].text), slips[i].want, slips[i].hint);
}

static void a_nul_byte_is_told_where_it_is(void **state)
{
	static const char text[] = "{\n\"Apps\": [\0]}";

	(void)state;
	refused(text, sizeof(text) - 1, "2:10: a NUL byte, must be UTF-8 text", NULL);
}

/* `before`, then n times `element`. */
static char *repeat(const char *before, const char *element, size_t n)
{
	char *text = xcalloc(strlen(before) + n * strlen(element) + 1, 1);
	char *end = stpcpy(text, before);

	while (n--)
		end = stpcpy(end, element);
	return text;
}

static void depth_and_number_of_values_are_bounded(void **state)
{
	static const struct {
		const char *before, *element;
		size_t n;
		const char *want;
	} row[] = {
		{ "", "[", CONFIG_DEPTH_MAX, "1:33: the text ends here" },
		{ "", "[", CONFIG_DEPTH_MAX + 1, "1:33: nested deeper than 32 levels" },
		{ "", "{\"a\":", 1000000, "1:161: nested deeper than 32 levels" },
		{ "[0", ",0", JSON_VALUES_MAX - 2, "1:999999: the text ends here" },
		{ "[0", ",0", JSON_VALUES_MAX - 1, "1:1000000: more than 500000 values" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		char *text = repeat(row[i].before, row[i].element, row[i].n);

		refused(text, strlen(text), row[i].want, NULL);
		free(text);
	}
}

static void keys_and_values_keep_their_places(void **state)
{
	static const char text[] = "\xef\xbb\xbf{ \"a\": [1, {\"\xc3\xa4\": true, \"\": null}],\r\n"
				   "\t\"b\\\"\" : -1.5e+3 }\n";
	static const struct {
		const char *type;
		const char *key; /* NULL: not of an object */
		struct json_pos key_at, at;
		uint32_t span;
	} want[] = {
		{ "an object", NULL, { 0, 0 }, { 1, 1 }, 7 },
		{ "an array", "a", { 1, 3 }, { 1, 8 }, 5 },
		{ "a number", NULL, { 0, 0 }, { 1, 9 }, 1 },
		{ "an object", NULL, { 0, 0 }, { 1, 12 }, 3 },
		{ "a boolean", "\xc3\xa4", { 1, 13 }, { 1, 18 }, 1 },
		{ "null", "", { 1, 24 }, { 1, 28 }, 1 },
		{ "a number", "b\"", { 2, 2 }, { 2, 10 }, 1 },
	};
	struct json_doc doc;
	struct json_error error;
	size_t members = 0;

	(void)state;
	assert_int_equal(json_parse(text, strlen(text), &doc, &error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const struct json *v = &doc.values[i];

		assert_string_equal(json_type_name(v), want[i].type);
		assert_int_equal(v->at.line, want[i].at.line);
		assert_int_equal(v->at.column, want[i].at.column);
		assert_int_equal(v->span, want[i].span);
		if (!want[i].key)
			continue;
		assert_string_equal(v->item->string, want[i].key);
		assert_int_equal(v->key_at.line, want[i].key_at.line);
		assert_int_equal(v->key_at.column, want[i].key_at.column);
	}
	json_for_each(member, &doc.values[0]) {
		assert_string_equal(member->item->string, members ? "b\"" : "a");
		members++;
	}
	assert_int_equal(members, 2);
	json_free(&doc);
	json_free(&doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_is_told_where_it_is),
		cmocka_unit_test(a_nul_byte_is_told_where_it_is),
		cmocka_unit_test(depth_and_number_of_values_are_bounded),
		cmocka_unit_test(keys_and_values_keep_their_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
