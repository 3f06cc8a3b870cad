/* SPDX-License-Identifier: MIT */
/* What the samples say: medians over the rounds, the best of a row, ratios within rounds. */
#include "bench.h"

#include <math.h>
#include <string.h>

#define OF(field) offsetof(struct bench_sample, field)

const struct bench_metric bench_metrics[] = {
	{ "rate", "Gbit/s", OF(rate), .of_bulk = true },
	{ "rate", "Messages or connections a second", OF(rate), .of_requests = true },
	{ "p50_us", "Latency, p50, us", OF(p50_us), .lower_is_better = true, .of_requests = true },
	{ "p99_us", "Latency, p99, us", OF(p99_us), .lower_is_better = true, .of_requests = true },
	{ "daemon_cpu_s", "CPU of the daemon, seconds a GB", OF(daemon_cpu_s),
	  .lower_is_better = true, .of_bulk = true },
	{ "daemon_cpu_s", "CPU of the daemon, seconds a million messages or connections",
	  OF(daemon_cpu_s), .lower_is_better = true, .of_requests = true },
	{ "host_cpu_s", "CPU of the whole host, with load and servers, seconds a GB",
	  OF(host_cpu_s), .lower_is_better = true, .of_bulk = true },
	{ "host_cpu_s", "CPU of the whole host, seconds a million messages or connections",
	  OF(host_cpu_s), .lower_is_better = true, .of_requests = true },
};
const size_t n_bench_metrics = ARRAY_SIZE(bench_metrics);

bool bench_metric_applies(const struct bench_metric *m, const struct bench_row *row)
{
	return row->kind == LOAD_BULK ? m->of_bulk : m->of_requests;
}

const struct bench_metric *bench_metric_find(const char *key, const struct bench_row *row)
{
	for (size_t i = 0; i < n_bench_metrics; i++)
		if (!strcmp(bench_metrics[i].key, key) &&
		    bench_metric_applies(&bench_metrics[i], row))
			return &bench_metrics[i];
	return NULL;
}

static double value(const struct bench_contender *c, size_t row, int round,
		    const struct bench_metric *m)
{
	double v;

	memcpy(&v, (const char *)&c->samples[row][round] + m->offset, sizeof(v));
	return v;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Changes the order of its values. */
static double median(double v[BENCH_ROUNDS])
{
	for (int i = 0; i < BENCH_ROUNDS; i++)
		if (isnan(v[i]))
			return NAN;
	qsort(v, BENCH_ROUNDS, sizeof(*v), compare);
	return (v[(BENCH_ROUNDS - 1) / 2] + v[BENCH_ROUNDS / 2]) / 2;
}

double bench_median(const struct bench_contender *c, size_t row, const struct bench_metric *m)
{
	double v[BENCH_ROUNDS];

	for (int i = 0; i < BENCH_ROUNDS; i++)
		v[i] = value(c, row, i, m);
	return median(v);
}

const struct bench_contender *bench_best(const struct bench *b, size_t row,
					 const struct bench_metric *m)
{
	const struct bench_contender *best = NULL;
	double best_value = 0;

	for (size_t i = 0; i < b->n_contenders; i++) {
		const struct bench_contender *c = &b->contenders[i];
		double v = bench_median(c, row, m);

		if (!engine_find(c->name) || isnan(v))
			continue;
		if (best && (m->lower_is_better ? v >= best_value : v <= best_value))
			continue;
		best = c;
		best_value = v;
	}
	return best;
}

const struct bench_contender *bench_find(const struct bench *b, const char *name)
{
	for (size_t i = 0; i < b->n_contenders; i++)
		if (!strcmp(b->contenders[i].name, name))
			return &b->contenders[i];
	return NULL;
}

double bench_ratio(const struct bench_contender *c, const struct bench_contender *base, size_t row,
		   const struct bench_metric *m)
{
	double v[BENCH_ROUNDS];

	for (int i = 0; i < BENCH_ROUNDS; i++) {
		double of_base = value(base, row, i, m);

		v[i] = of_base > 0 ? value(c, row, i, m) / of_base : NAN;
	}
	return median(v);
}

bool bench_is_clearly_faster(const struct bench_contender *c, const struct bench_contender *base,
			     size_t row)
{
	for (int i = 0; i < BENCH_ROUNDS; i++)
		for (int j = 0; j < BENCH_ROUNDS; j++)
			if (c->samples[row][i].rate <= base->samples[row][j].rate)
				return false;
	return true;
}
