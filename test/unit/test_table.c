/* SPDX-License-Identifier: MIT */
/* What people read: columns that line up, and numbers with their units. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "table.h"

static const struct table_column columns[] = {
	{ .title = "NAME" },
	{ .title = "BYTES", .is_number = true },
	{ .title = "NOTE", .is_optional = true },
	{ .title = "N", .is_number = true },
	{ .title = "WHY" },
};

/* The table with these cells prints exactly this. */
static void prints(const char *const *cells, size_t n, const char *want)
{
	struct table *t = table_new(columns, ARRAY_SIZE(columns));
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	for (size_t i = 0; i < n; i++)
		table_add(t, cells[i]);
	table_print(t, out);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
	table_free(t);
}

static void columns_line_up_and_an_empty_one_is_left_out(void **state)
{
	static const char *const cells[] = {
		"a", "5", "", "1", "because", "longer", "1234567", "", "22", "",
	};

	(void)state;
	prints(cells, ARRAY_SIZE(cells),
	       "NAME      BYTES   N  WHY\n"
	       "a             5   1  because\n"
	       "longer  1234567  22\n");
}

static void an_optional_column_with_something_shows_what_is_empty(void **state)
{
	static const char *const cells[] = {
		"a", "5", "", "1", "x", "b", "6", "note", "2", "y",
	};

	(void)state;
	prints(cells, ARRAY_SIZE(cells),
	       "NAME  BYTES  NOTE  N  WHY\n"
	       "a         5  -     1  x\n"
	       "b         6  note  2  y\n");
}

/* One that only repeats what is to its left is left out, too. */
static void an_optional_column_that_says_nothing_new_is_left_out(void **state)
{
	static const char *const same[] = { "a", "5", "5", "1", "x", "b", "6", "6", "2", "y" };
	static const char *const other[] = { "a", "5", "5", "1", "x", "b", "6", "7", "2", "y" };

	(void)state;
	prints(same, ARRAY_SIZE(same),
	       "NAME  BYTES  N  WHY\n"
	       "a         5  1  x\n"
	       "b         6  2  y\n");
	prints(other, ARRAY_SIZE(other),
	       "NAME  BYTES  NOTE  N  WHY\n"
	       "a         5  5     1  x\n"
	       "b         6  7     2  y\n");
}

static void of_no_rows_there_are_the_titles(void **state)
{
	(void)state;
	prints(NULL, 0, "NAME  BYTES  N  WHY\n");
}

static void width_is_in_characters_not_bytes(void **state)
{
	static const char *const cells[] = {
		"\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa9",
		"1",
		"",
		"2",
		"x",
		"abc",
		"1",
		"",
		"2",
		"x",
	};

	(void)state;
	prints(cells, ARRAY_SIZE(cells),
	       "NAME   BYTES  N  WHY\n"
	       "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f\xc3\xa9      1  2  x\n"
	       "abc        1  2  x\n");
}

static void a_row_that_is_not_complete_is_not_printed(void **state)
{
	static const char *const cells[] = { "a", "5", "", "1", "x", "b", "6" };

	(void)state;
	prints(cells, ARRAY_SIZE(cells),
	       "NAME  BYTES  N  WHY\n"
	       "a         5  1  x\n");
}

static void bytes_have_units_of_1024(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} row[] = {
		{ 0, "0" },
		{ 1023, "1023" },
		{ 1024, "1.0K" },
		{ 1229, "1.2K" },
		{ 10188, "9.9K" },
		{ 10200, "10K" },
		{ 1023 * 1024, "1023K" },
		{ 1024 * 1024 - 1, "1.0M" },
		{ 5ull << 30, "5.0G" },
		{ 38ull << 40, "38T" },
		{ UINT64_MAX, "16E" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		char text[TABLE_UNIT_MAX];

		assert_string_equal(table_bytes(text, row[i].bytes), row[i].want);
	}
}

static void durations_have_the_two_units_that_matter(void **state)
{
	static const struct {
		uint64_t ms;
		const char *want;
	} row[] = {
		{ 0, "0ms" },          { 999, "999ms" },       { 1000, "1.0s" },
		{ 9999, "9.9s" },      { 10000, "10s" },       { 59999, "59s" },
		{ 60000, "1m00s" },    { 192000, "3m12s" },    { 3599999, "59m59s" },
		{ 11220000, "3h07m" }, { 86399999, "23h59m" }, { 1047600000, "12d03h" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		char text[TABLE_UNIT_MAX];

		assert_string_equal(table_duration(text, row[i].ms), row[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_line_up_and_an_empty_one_is_left_out),
		cmocka_unit_test(an_optional_column_with_something_shows_what_is_empty),
		cmocka_unit_test(an_optional_column_that_says_nothing_new_is_left_out),
		cmocka_unit_test(of_no_rows_there_are_the_titles),
		cmocka_unit_test(width_is_in_characters_not_bytes),
		cmocka_unit_test(a_row_that_is_not_complete_is_not_printed),
		cmocka_unit_test(bytes_have_units_of_1024),
		cmocka_unit_test(durations_have_the_two_units_that_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
