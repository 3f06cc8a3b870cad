/* SPDX-License-Identifier: MIT */
#include "metrics_text.h"

#include <inttypes.h>

#include "util.h"

static const char *const type_names[] = {
	[METRIC_COUNTER] = "counter",
	[METRIC_GAUGE] = "gauge",
	[METRIC_HISTOGRAM] = "histogram",
};

void metric_family(struct metrics_text *t, const char *name, enum metric_type type,
		   const char *help)
{
	t->family = name;
	fprintf(t->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type_names[type]);
}

void metric_begin(struct metrics_text *t, const char *suffix)
{
	t->has_labels = false;
	fputs(t->family, t->out);
	fputs(suffix, t->out);
}

void metric_label(struct metrics_text *t, const char *name, const char *value)
{
	fputc(t->has_labels ? ',' : '{', t->out);
	t->has_labels = true;
	fputs(name, t->out);
	fputs("=\"", t->out);
	for (; *value; value++) {
		if (*value == '\n') {
			fputs("\\n", t->out);
			continue;
		}
		if (*value == '"' || *value == '\\')
			fputc('\\', t->out);
		fputc(*value, t->out);
	}
	fputc('"', t->out);
}

static void end_labels(struct metrics_text *t)
{
	fputs(t->has_labels ? "} " : " ", t->out);
}

void metric_end(struct metrics_text *t, uint64_t value)
{
	end_labels(t);
	fprintf(t->out, "%" PRIu64 "\n", value);
}

void metric_end_seconds(struct metrics_text *t, uint64_t ns)
{
	end_labels(t);
	fprintf(t->out, "%llu.%09llu\n", ns / NSEC_PER_SEC, ns % NSEC_PER_SEC);
}

void metric_histogram(struct metrics_text *t, const struct buckets *b,
		      const struct bucket_bounds *bounds,
		      void (*labels)(struct metrics_text *t, const void *arg), const void *arg)
{
	/* Before the buckets: a connection that ends in between is then in them, and not in the
	 * sum. */
	uint64_t sum_ns = atomic_load_explicit(&b->sum_ns, memory_order_relaxed), count = 0;

	for (size_t i = 0; i <= bounds->n; i++) {
		char upper[32] = "+Inf";

		if (i < bounds->n)
			snprintf(upper, sizeof(upper), "%.9g",
				 (double)bounds->upper_ns[i] / (double)NSEC_PER_SEC);
		count += atomic_load_explicit(&b->count[i], memory_order_relaxed);
		metric_begin(t, "_bucket");
		labels(t, arg);
		metric_label(t, "le", upper);
		metric_end(t, count);
	}
	metric_begin(t, "_sum");
	labels(t, arg);
	metric_end_seconds(t, sum_ns);
	metric_begin(t, "_count");
	labels(t, arg);
	metric_end(t, count);
}
