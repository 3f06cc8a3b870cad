/* SPDX-License-Identifier: MIT */
/*
 * Tables for a terminal: a line of titles, then rows, text to the left and numbers to the right,
 * each column as wide as its widest cell. And the units that people read.
 */
#ifndef SHUNT_TABLE_H
#define SHUNT_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "util.h"

#define TABLE_UNIT_MAX 24 /* of a number with its unit, and the NUL */

struct table_column {
	const char *title;
	bool is_number;
	/* Left out when no cell says more than the one to its left; otherwise empty ones are "-". */
	bool is_optional;
};

struct table;

/* The columns must outlive it. */
struct table *table_new(const struct table_column *columns, size_t n_columns) must_check;
void table_free(struct table *t); /* takes NULL */
/* The next cell, row by row, in UTF-8. It is copied. */
void table_add(struct table *t, const char *cell);
bool table_has_rows(const struct table *t);
/* Prints the rows that are complete; of no rows, only the titles. */
void table_print(const struct table *t, FILE *out);

/* "517", "1.2K", "38G": bytes in units of 1024. Returns buf. */
const char *table_bytes(char buf[TABLE_UNIT_MAX], uint64_t bytes);
/* "250ms", "1.2s", "38s", "3m12s", "3h07m", "12d03h". Returns buf. */
const char *table_duration(char buf[TABLE_UNIT_MAX], uint64_t ms);

#endif
