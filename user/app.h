/* SPDX-License-Identifier: MIT */
/*
 * An app at run time: its conf, its backends, the balancer that chooses between them, the engine
 * that it is bound to, and what is counted. Workers share it: what changes while they run is
 * atomic.
 */
#ifndef SHUNT_APP_H
#define SHUNT_APP_H

#include "backend.h"
#include "buckets.h"
#include "reason.h"

struct balancer;
struct engine;

struct app {
	const struct app_conf *conf;
	const struct balancer *balancer;
	const struct engine *engine; /* NULL: auto */
	struct backend *backends;
	size_t n_backends;
	uint64_t *wheel;    /* balancer: cumulative weights */
	uint32_t *schedule; /* balancer: round robin's order of turns */
	size_t n_schedule;
	_Atomic uint32_t cursor; /* balancer: the next turn */
	_Atomic uint32_t active; /* sessions */
	_Atomic uint64_t accepted, failovers;
	_Atomic uint64_t closed[N_CLOSE_REASONS];
	struct buckets connect_time; /* of each connect that succeeded: connect_bounds */
	struct buckets duration;     /* of each connection that had a backend: connection_bounds */
};

/* `conf`, and what balancer and engine point to, must outlive it. */
void app_init(struct app *app, const struct app_conf *conf, const struct balancer *balancer,
	      const struct engine *engine);
void app_close(struct app *app);

#endif
