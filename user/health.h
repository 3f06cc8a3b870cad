/* SPDX-License-Identifier: MIT */
/*
 * Active checks of all addresses of all targets whose apps want it, on the main thread. Each
 * address has its own place in its interval, spread evenly over it, with some jitter from one check
 * to the next; so twenty thousand targets are a steady trickle, from the first second on. Bounded:
 * in checks under way, which have a share of the open files, and in checks begun in one turn of the
 * loop, for others live on it, too. What finds no room is late, not failed.
 *
 * Checks belong to addresses: a reload or an answer of the DNS starts and stops only what is new or
 * gone, and what is known of the others is kept.
 */
#ifndef SHUNT_HEALTH_H
#define SHUNT_HEALTH_H

#include "cutter.h"
#include "health_check.h"
#include "session.h"

struct health;

struct health_context {
	struct loop *loop;
	struct fd_budget *fds;
	struct cutter *cutter; /* is rung when flows are to be closed */
};

/* Since the start. */
struct health_figures {
	uint64_t results[N_CHECK_RESULTS];
	uint64_t postponed; /* checks that found no room when they were due */
	size_t addresses, under_way;
};

struct health *health_new(const struct health_context *context) must_check;
void health_free(struct health *h); /* takes NULL */

/* These are the apps, with these addresses: again when any of that changes. It keeps references. */
void health_follow(struct health *h, const struct app_list *apps);

struct health_figures health_figures(const struct health *h); /* takes NULL */

#endif
