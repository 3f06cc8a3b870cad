/* SPDX-License-Identifier: MIT */
/*
 * What is counted, for Prometheus: one table of families, each with what writes its samples. Labels
 * are bounded by the configuration and by tables of this program (app, target, reason, engine,
 * worker): no address of a client is ever one.
 */
#ifndef SHUNT_METRICS_H
#define SHUNT_METRICS_H

#include "admin.h"
#include "flows.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/*
 * All metrics as text to be freed, its length in *len; NULL when there is no memory. On the main
 * thread, where flows and apps are at home.
 */
char *metrics_render(const struct admin_context *context, const struct flows *flows,
		     size_t *len) must_check;

#endif
