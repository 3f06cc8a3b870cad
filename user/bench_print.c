/* SPDX-License-Identifier: MIT */
/* The results for people: a table for each metric, and what auto makes of each kind of traffic. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CELL_CHARS 12
#define BUSY_CORES_WORTH_SAYING 0.1

static int title_chars(void)
{
	size_t n = 0;

	for (size_t i = 0; i < n_bench_rows; i++)
		n = MAX(n, strlen(bench_rows[i].title));
	return (int)n;
}

/* Three digits, or all before the point. */
static void format_number(double v, char buf[CELL_CHARS])
{
	int decimals = v >= 100 ? 0 : v >= 10 ? 1 : v >= 1 ? 2 : 3;

	if (isnan(v))
		snprintf(buf, CELL_CHARS, "-");
	else
		snprintf(buf, CELL_CHARS, "%.*f", decimals, v);
}

static void print_row(const struct bench *b, const struct bench_metric *m, size_t row)
{
	const struct bench_contender *best = bench_best(b, row, m);

	printf("%-*s", title_chars(), bench_rows[row].title);
	for (size_t i = 0; i < b->n_contenders; i++) {
		char cell[CELL_CHARS];

		format_number(bench_median(&b->contenders[i], row, m), cell);
		printf(" %*s%c", CELL_CHARS - 2, cell, best == &b->contenders[i] ? '*' : ' ');
	}
	putchar('\n');
}

static void print_metric(const struct bench *b, const struct bench_metric *m)
{
	printf("\n%s\n%-*s", m->title, title_chars(), "");
	for (size_t i = 0; i < b->n_contenders; i++)
		printf(" %*s ", CELL_CHARS - 2, b->contenders[i].name);
	putchar('\n');
	for (size_t row = 0; row < n_bench_rows; row++)
		if (bench_metric_applies(m, &bench_rows[row]))
			print_row(b, m, row);
}

static void print_ratio(const struct bench_contender *chosen, const struct bench_contender *other,
			size_t row)
{
	const struct bench_metric *rate = bench_metric_find("rate", &bench_rows[row]);
	const struct bench_metric *cpu = bench_metric_find("daemon_cpu_s", &bench_rows[row]);

	double faster = bench_ratio(chosen, other, row, rate);
	double dearer = bench_ratio(chosen, other, row, cpu);

	/* In a round that is too short for it nothing may have moved, or no tick of the CPU's clock
	 * passed. */
	if (!isfinite(faster)) {
		printf("not to be compared with %s, of which nothing was measured", other->name);
		return;
	}
	printf("x%.2f of %s", faster, other->name);
	if (!bench_is_clearly_faster(chosen, other, row) &&
	    !bench_is_clearly_faster(other, chosen, row))
		printf(" (rounds overlap)");
	if (isfinite(dearer))
		printf(" for x%.2f of its CPU", dearer);
}

/* How the chosen engine stood against each of the others, and whether that was for the best. */
static void print_comparison(const struct bench *b, size_t row,
			     const struct bench_contender *chosen)
{
	const struct bench_contender *faster = NULL;
	bool first = true;

	for (size_t i = 0; i < b->n_contenders; i++) {
		const struct bench_contender *c = &b->contenders[i];

		if (c == chosen || !engine_find(c->name))
			continue;
		if (first)
			printf("; here %s was ", chosen->name);
		else
			printf(", ");
		first = false;
		print_ratio(chosen, c, row);
		if (bench_is_clearly_faster(c, faster ? faster : chosen, row))
			faster = c;
	}
	if (faster)
		printf(": %s would have been faster", faster->name);
}

static void print_choice(const struct bench *b, size_t row)
{
	const struct bench_choice *choice = &b->choices[row];
	const struct bench_contender *chosen = bench_find(b, choice->engine[CLIENT]);
	bool both = bench_rows[row].kind != LOAD_BULK; /* bulk goes one way */

	printf("%-*s  ", title_chars(), bench_rows[row].title);
	if (!choice->flows) {
		puts("not known: the daemon recorded no connection");
		return;
	}
	printf("%s", choice->engine[CLIENT]);
	if (both && strcmp(choice->engine[CLIENT], choice->engine[BACKEND]))
		printf(", to the client %s", choice->engine[BACKEND]);
	printf(" (%s)", choice->why[CLIENT]);
	if (chosen)
		print_comparison(b, row, chosen);
	putchar('\n');
}

void bench_print(const struct bench *b)
{
	struct utsname host = { 0 };

	uname(&host);
	printf("shunt %s on Linux %s, %ld cores; medians of %d rounds of %g s\n", b->conf->version,
	       host.release, sysconf(_SC_NPROCESSORS_ONLN), BENCH_ROUNDS,
	       b->conf->measure_ms / 1e3);
	puts("*: the best engine of the row. direct: no proxy. Load, servers and daemon share the "
	     "cores.");
	if (b->busy_cores > BUSY_CORES_WORTH_SAYING)
		printf("The host was busy with other things: %.1f cores of it just before. Repeat this "
		       "when it is quiet.\n",
		       b->busy_cores);
	for (size_t i = 0; i < b->n_missing; i++)
		printf("Not here: %s (%s).\n", b->missing[i].engine, b->missing[i].why);
	for (size_t i = 0; i < n_bench_metrics; i++)
		print_metric(b, &bench_metrics[i]);
	if (!bench_find(b, "auto"))
		return;
	puts("\nWhat auto used for it here, and why");
	for (size_t row = 0; row < n_bench_rows; row++)
		print_choice(b, row);
}
