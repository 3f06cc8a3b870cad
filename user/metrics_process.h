/* SPDX-License-Identifier: MIT */
/*
 * What every Prometheus client library tells of its process, by the same names, so that dashboards
 * for any program fit this one. Read from /proc; what can't be read is left out.
 */
#ifndef SHUNT_METRICS_PROCESS_H
#define SHUNT_METRICS_PROCESS_H

#include "metrics_text.h"

void metrics_process(struct metrics_text *t);

#endif
