/* SPDX-License-Identifier: MIT */
/* The results for programs: one JSON document with every sample of every round. */
#include "bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What there is no number for is left out. */
static void add_number(cJSON *to, const char *key, double v)
{
	if (!isnan(v))
		cJSON_AddNumberToObject(to, key, v);
}

static void add_samples(cJSON *rounds, const struct bench_contender *c, size_t row)
{
	for (int i = 0; i < BENCH_ROUNDS; i++) {
		const struct bench_sample *s = &c->samples[row][i];
		cJSON *o = cJSON_CreateObject();

		cJSON_AddItemToArray(rounds, o);
		add_number(o, "rate", s->rate);
		add_number(o, "p50_us", s->p50_us);
		add_number(o, "p99_us", s->p99_us);
		add_number(o, "daemon_cpu_s", s->daemon_cpu_s);
		add_number(o, "host_cpu_s", s->host_cpu_s);
		cJSON_AddNumberToObject(o, "errors", (double)s->errors);
	}
}

static void add_contender(cJSON *to, const struct bench_contender *c, size_t row)
{
	cJSON *o = cJSON_AddObjectToObject(to, c->name);
	cJSON *medians = cJSON_AddObjectToObject(o, "median");

	for (size_t i = 0; i < n_bench_metrics; i++)
		if (bench_metric_applies(&bench_metrics[i], &bench_rows[row]))
			add_number(medians, bench_metrics[i].key,
				   bench_median(c, row, &bench_metrics[i]));
	add_samples(cJSON_AddArrayToObject(o, "rounds"), c, row);
}

static void add_best(cJSON *to, const struct bench *b, size_t row)
{
	cJSON *o = cJSON_AddObjectToObject(to, "best");

	for (size_t i = 0; i < n_bench_metrics; i++) {
		const struct bench_metric *m = &bench_metrics[i];
		const struct bench_contender *best = bench_best(b, row, m);

		if (best && bench_metric_applies(m, &bench_rows[row]))
			cJSON_AddStringToObject(o, m->key, best->name);
	}
}

static void add_choice(cJSON *to, const struct bench_choice *c)
{
	static const char *const directions[2] = {
		[CLIENT] = "to_backend", [BACKEND] = "to_client"
	};
	cJSON *o;

	if (!c->flows)
		return;
	o = cJSON_AddObjectToObject(to, "auto_used");
	for (int i = 0; i < 2; i++) {
		cJSON *d = cJSON_AddObjectToObject(o, directions[i]);

		cJSON_AddStringToObject(d, "engine", c->engine[i]);
		cJSON_AddStringToObject(d, "why", c->why[i]);
	}
	cJSON_AddNumberToObject(o, "flows", c->flows);
}

static void add_row(cJSON *rows, const struct bench *b, size_t row)
{
	cJSON *o = cJSON_CreateObject(), *contenders;
	const char *unit = bench_rows[row].kind == LOAD_BULK    ? "Gbit/s"
			   : bench_rows[row].kind == LOAD_CHURN ? "connections/s"
								: "messages/s";

	cJSON_AddItemToArray(rows, o);
	cJSON_AddStringToObject(o, "row", bench_rows[row].key);
	cJSON_AddStringToObject(o, "title", bench_rows[row].title);
	cJSON_AddStringToObject(o, "rate_unit", unit);
	cJSON_AddStringToObject(o, "cpu_unit",
				bench_rows[row].kind == LOAD_BULK ? "s/GB" : "s/million");
	contenders = cJSON_AddObjectToObject(o, "contenders");
	for (size_t i = 0; i < b->n_contenders; i++)
		add_contender(contenders, &b->contenders[i], row);
	add_best(o, b, row);
	add_choice(o, &b->choices[row]);
}

static void add_missing(cJSON *to, const struct bench *b)
{
	cJSON *o = cJSON_AddObjectToObject(to, "not_available");

	for (size_t i = 0; i < b->n_missing; i++)
		cJSON_AddStringToObject(o, b->missing[i].engine, b->missing[i].why);
}

int bench_print_json(const struct bench *b)
{
	cJSON *document = cJSON_CreateObject(), *rows;
	struct utsname host = { 0 };
	char *text;

	uname(&host);
	cJSON_AddStringToObject(document, "version", b->conf->version);
	cJSON_AddStringToObject(document, "kernel", host.release);
	cJSON_AddNumberToObject(document, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN));
	cJSON_AddNumberToObject(document, "rounds", BENCH_ROUNDS);
	cJSON_AddNumberToObject(document, "seconds", b->conf->measure_ms / 1e3);
	add_number(document, "busy_cores_before", b->busy_cores);
	add_missing(document, b);
	rows = cJSON_AddArrayToObject(document, "rows");
	for (size_t row = 0; row < n_bench_rows; row++)
		add_row(rows, b, row);
	text = cJSON_Print(document);
	cJSON_Delete(document);
	if (!text)
		return -ENOMEM;
	puts(text);
	cJSON_free(text);
	return 0;
}
