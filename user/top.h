/* SPDX-License-Identifier: MIT */
/*
 * What `shunt top` shows: samples of what the daemon says, the rates between two of them, and how
 * they look. It neither asks nor owns a terminal: command_top.c does both.
 */
#ifndef SHUNT_TOP_H
#define SHUNT_TOP_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "util.h"

/* What is counted in each row, and shown by the second. */
enum top_counter { TOP_NEW, TOP_FAILED, TOP_TO_BACKEND, TOP_TO_CLIENT, N_TOP_COUNTERS };

struct top_row {
	char *app;
	char *target; /* NULL: it is the row of an app */
	char state[24];
	uint64_t active;
	uint64_t count[N_TOP_COUNTERS];
	double rate[N_TOP_COUNTERS]; /* a second; 0 without a sample before */
};

struct top_rows {
	struct top_row *list;
	size_t n, size;
};

/* One answer of the daemon. A zeroed one is empty. */
struct top_sample {
	cJSON *status; /* NULL: it has not come */
	struct top_rows apps, targets;
	double seconds;       /* since the sample before; 0: there was none of this daemon */
	cJSON *status_before; /* of that sample */
};

/* Takes over a row of the answer. */
void top_sample_add(struct top_sample *s, cJSON *row);
/*
 * The rates since `before`, whose status it takes over. False: it is another daemon's, which was
 * restarted in between, and there are none.
 */
bool top_sample_compare(struct top_sample *s, struct top_sample *before);
void top_sample_free(struct top_sample *s); /* and leaves it empty */

enum top_sort {
	TOP_BY_NAME,
	TOP_BY_ACTIVE,
	TOP_BY_COUNTER, /* and the ones after it: by the rate of each counter */
	N_TOP_SORTS = TOP_BY_COUNTER + N_TOP_COUNTERS
};
enum top_lists { TOP_BOTH, TOP_APPS, TOP_TARGETS, N_TOP_LISTS };

struct top_view {
	size_t width, height; /* height 0: as many lines as there are */
	bool styled;          /* for a terminal */
	unsigned int sort;    /* enum top_sort */
	bool reversed;
	unsigned int lists; /* enum top_lists */
	uint32_t interval_ms;
	const char *notice; /* shown instead of the keys; NULL: none */
};

/* Sorts the sample's rows and writes the lines. */
void top_draw(const struct top_view *v, struct top_sample *s, FILE *out);

#endif
