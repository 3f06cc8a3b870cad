/* SPDX-License-Identifier: MIT */
#include "util.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_CHARS 64

static void *or_die(void *p)
{
	if (p)
		return p;
	fputs("shunt: out of memory\n", stderr);
	abort();
}

void *xcalloc(size_t n, size_t size)
{
	return or_die(calloc(n ? n : 1, size ? size : 1));
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	return or_die(reallocarray(p, n ? n : 1, size ? size : 1));
}

char *xstrdup(const char *s)
{
	return or_die(strdup(s));
}

static bool same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

unsigned int edit_distance(const char *a, const char *b)
{
	size_t la = strnlen(a, NAME_MAX_CHARS), lb = strnlen(b, NAME_MAX_CHARS);
	unsigned int row[NAME_MAX_CHARS + 1];

	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned int substitute = diagonal + !same_letter(a[i - 1], b[j - 1]);
			unsigned int gap = MIN(row[j], row[j - 1]) + 1;

			diagonal = row[j];
			row[j] = MIN(substitute, gap);
		}
	}
	return row[lb];
}

const char *nearest_name(const char *name, const char *const *candidates, size_t n)
{
	unsigned int best = (unsigned int)(strnlen(name, NAME_MAX_CHARS) + 2) / 3 + 1;
	const char *nearest = NULL;

	for (size_t i = 0; i < n; i++) {
		unsigned int d = edit_distance(name, candidates[i]);

		if (d < best) {
			best = d;
			nearest = candidates[i];
		}
	}
	return nearest;
}
