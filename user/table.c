/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <string.h>

#define GAP 2 /* blanks between columns */

struct table {
	const struct table_column *columns;
	size_t n_columns;
	char **cells;
	size_t n_cells, cells_size;
};

struct table *table_new(const struct table_column *columns, size_t n_columns)
{
	struct table *t = xcalloc(1, sizeof(*t));

	t->columns = columns;
	t->n_columns = n_columns;
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

void table_add(struct table *t, const char *cell)
{
	if (t->n_cells == t->cells_size) {
		t->cells_size = MAX(64u, 2 * t->cells_size);
		t->cells = xreallocarray(t->cells, t->cells_size, sizeof(*t->cells));
	}
	t->cells[t->n_cells++] = xstrdup(cell);
}

bool table_has_rows(const struct table *t)
{
	return t->n_cells >= t->n_columns;
}

/* Characters; names here are seldom in scripts of double width. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static bool is_left_out(const struct table *t, size_t column)
{
	for (size_t i = column; i < t->n_cells; i += t->n_columns) {
		const char *cell = t->cells[i];

		if (*cell && (!column || strcmp(cell, t->cells[i - 1])))
			return false;
	}
	return t->columns[column].is_optional;
}

/* 0: the column is left out. */
static size_t column_width(const struct table *t, size_t column)
{
	size_t width = width_of(t->columns[column].title);

	if (is_left_out(t, column))
		return 0;
	for (size_t i = column; i < t->n_cells; i += t->n_columns)
		width = MAX(width, width_of(t->cells[i]));
	return width;
}

static void print_blanks(FILE *out, size_t n)
{
	fprintf(out, "%*s", (int)n, "");
}

/* Without cells, the titles. Blanks are printed only before something: no line ends in them. */
static void print_row(const struct table *t, const size_t *widths, char *const *cells, FILE *out)
{
	size_t owed = 0;

	for (size_t i = 0; i < t->n_columns; i++) {
		const char *cell = cells ? cells[i] : t->columns[i].title;
		size_t blanks;

		if (!widths[i])
			continue;
		if (!*cell && t->columns[i].is_optional)
			cell = "-";
		blanks = widths[i] - width_of(cell);
		if (t->columns[i].is_number)
			owed += blanks;
		if (*cell) {
			print_blanks(out, owed);
			fputs(cell, out);
			owed = 0;
		}
		owed += GAP + (t->columns[i].is_number ? 0 : blanks);
	}
	fputc('\n', out);
}

void table_print(const struct table *t, FILE *out)
{
	size_t *widths = xcalloc(t->n_columns, sizeof(*widths));

	for (size_t i = 0; i < t->n_columns; i++)
		widths[i] = column_width(t, i);
	print_row(t, widths, NULL, out);
	for (size_t i = 0; i + t->n_columns <= t->n_cells; i += t->n_columns)
		print_row(t, widths, &t->cells[i], out);
	free(widths);
}

/* --- units ----------------------------------------------------------------------------------- */

const char *table_bytes(char buf[TABLE_UNIT_MAX], uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double value = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(buf, TABLE_UNIT_MAX, "%u", (unsigned int)bytes);
		return buf;
	}
	/* On to the next unit also for what would be rounded up to 1024. */
	value /= 1024;
	while (value >= 1023.5) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, TABLE_UNIT_MAX, value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
	return buf;
}

const char *table_duration(char buf[TABLE_UNIT_MAX], uint64_t ms)
{
	unsigned long long s = ms / 1000, m = s / 60, h = m / 60, d = h / 24;

	if (ms < 1000)
		snprintf(buf, TABLE_UNIT_MAX, "%llums", (unsigned long long)ms);
	else if (s < 10)
		snprintf(buf, TABLE_UNIT_MAX, "%llu.%llus", s, (unsigned long long)ms % 1000 / 100);
	else if (!m)
		snprintf(buf, TABLE_UNIT_MAX, "%llus", s);
	else if (!h)
		snprintf(buf, TABLE_UNIT_MAX, "%llum%02llus", m, s % 60);
	else if (!d)
		snprintf(buf, TABLE_UNIT_MAX, "%lluh%02llum", h, m % 60);
	else
		snprintf(buf, TABLE_UNIT_MAX, "%llud%02lluh", d, h % 24);
	return buf;
}
