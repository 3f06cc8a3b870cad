/* SPDX-License-Identifier: MIT */
/*
 * Prometheus' text exposition format, version 0.0.4: families of samples, each with its HELP and
 * TYPE, label values escaped. A sample is begun, gets its labels, and ends with its value.
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 */
#ifndef SHUNT_METRICS_TEXT_H
#define SHUNT_METRICS_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "buckets.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metrics_text {
	FILE *out;
	const char *family; /* the name of the one that is being written */
	bool has_labels;    /* the sample that is being written has one already */
};

void metric_family(struct metrics_text *t, const char *name, enum metric_type type,
		   const char *help);
void metric_begin(struct metrics_text *t, const char *suffix); /* of the name: "", "_sum" */
void metric_label(struct metrics_text *t, const char *name, const char *value);
void metric_end(struct metrics_text *t, uint64_t value);
void metric_end_seconds(struct metrics_text *t, uint64_t ns);

/* All samples of one histogram: its buckets, sum and count. `labels` is called for each, with arg. */
void metric_histogram(struct metrics_text *t, const struct buckets *b,
		      const struct bucket_bounds *bounds,
		      void (*labels)(struct metrics_text *t, const void *arg), const void *arg);

#endif
