/* SPDX-License-Identifier: MIT */
/*
 * What auto makes of each kind of traffic on this host: not from its rules, but from a run of it
 * apart from the measured ones, in which the daemon records each connection's engines and the
 * reasons for them. The same time for each row, since auto may look at a flow's age.
 */
#include "bench.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COMBINATIONS_MAX 16 /* of engines and reasons in one row */

struct tally {
	struct bench_choice combinations[COMBINATIONS_MAX];
	size_t n;
};

static void copy_text(char *to, size_t size, const cJSON *record, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(record, key));

	snprintf(to, size, "%s", text ? text : "");
}

/* "copy", or "splice,copy" when the directions differ: see relay_engine_names(). */
static void read_choice(const cJSON *record, struct bench_choice *c)
{
	char names[sizeof(c->engine[0]) * 2], *comma;

	copy_text(names, sizeof(names), record, "engine");
	comma = strchr(names, ',');
	if (comma)
		*comma = '\0';
	snprintf(c->engine[CLIENT], sizeof(c->engine[0]), "%.15s", names);
	snprintf(c->engine[BACKEND], sizeof(c->engine[0]), "%.15s", comma ? comma + 1 : names);
	copy_text(c->why[CLIENT], sizeof(c->why[0]), record, "why_to_backend");
	copy_text(c->why[BACKEND], sizeof(c->why[0]), record, "why_to_client");
}

static bool is_same_choice(const struct bench_choice *a, const struct bench_choice *b)
{
	for (int i = 0; i < 2; i++)
		if (strcmp(a->engine[i], b->engine[i]) || strcmp(a->why[i], b->why[i]))
			return false;
	return true;
}

static void count(struct tally *t, const struct bench_choice *c)
{
	size_t i = 0;

	while (i < t->n && !is_same_choice(&t->combinations[i], c))
		i++;
	if (i == COMBINATIONS_MAX)
		return;
	if (i == t->n)
		t->combinations[t->n++] = *c;
	t->combinations[i].flows++;
}

static void read_record(const cJSON *record, struct tally *tallies)
{
	const cJSON *event = cJSON_GetObjectItemCaseSensitive(record, "event");
	const cJSON *app = cJSON_GetObjectItemCaseSensitive(record, "app");
	const cJSON *bytes = cJSON_GetObjectItemCaseSensitive(record, "bytes_to_backend");
	struct bench_choice c = { 0 };

	if (!cJSON_IsString(event) || strcmp(event->valuestring, "connection") ||
	    !cJSON_IsString(app))
		return;
	/* The connection that found out whether the daemon accepts moved nothing. */
	if (!cJSON_IsNumber(bytes) || bytes->valuedouble <= 0)
		return;
	read_choice(record, &c);
	for (size_t row = 0; row < n_bench_rows; row++)
		if (!strcmp(app->valuestring, bench_rows[row].key))
			count(&tallies[row], &c);
}

/* Takes the fd over. */
static void read_records(int log_fd, struct tally *tallies)
{
	FILE *f = fdopen(log_fd, "r");
	char *line = NULL;
	size_t size = 0;

	if (!f) {
		close(log_fd);
		return;
	}
	rewind(f);
	while (getline(&line, &size, f) > 0) {
		cJSON *record = cJSON_Parse(line);

		read_record(record, tallies);
		cJSON_Delete(record);
	}
	free(line);
	fclose(f);
}

static int watch(struct bench *b, struct bench_contender *c)
{
	struct bench_sample unused;
	int rc = bench_daemon_start(b, c, true);

	for (size_t row = 0; !rc && row < n_bench_rows; row++) {
		bench_progress("what auto chooses: %s", bench_rows[row].title);
		rc = bench_measure(b, c, row, &unused);
		if (!rc)
			rc = bench_daemon_check(c);
	}
	/* SIGTERM: it ends when the last connection has, and all records are written. */
	bench_daemon_stop(c);
	return rc;
}

int bench_watch_auto(struct bench *b)
{
	struct bench_contender *c = xcalloc(1, sizeof(*c));
	struct tally *tallies = xcalloc(n_bench_rows, sizeof(*tallies));
	int rc;

	c->name = "auto";
	c->nth = (unsigned int)b->n_contenders;
	rc = watch(b, c);
	if (c->log_fd >= 0)
		read_records(c->log_fd, tallies);
	for (size_t row = 0; row < n_bench_rows; row++)
		for (size_t i = 0; i < tallies[row].n; i++)
			if (tallies[row].combinations[i].flows > b->choices[row].flows)
				b->choices[row] = tallies[row].combinations[i];
	free(tallies);
	free(c);
	return rc;
}
