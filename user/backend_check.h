/* SPDX-License-Identifier: MIT */
/*
 * What active checks make of an endpoint: Fall failures in a row take it down, Rise successes bring
 * it up again, and the very first result decides at once. Called by the main thread alone; what
 * workers see of it is one atomic word.
 */
#ifndef SHUNT_BACKEND_CHECK_H
#define SHUNT_BACKEND_CHECK_H

#include "backend.h"

extern const char *const check_result_names[N_CHECK_RESULTS];

struct check_outcome {
	enum check_result result;
	int error;           /* a positive errno, or 0 */
	uint64_t latency_ns; /* from the connect to the result */
};

/* What has changed by an outcome, as bits. */
enum check_news {
	CHECK_NEWS_UP = 1,         /* the endpoint has come up: the operator is to be told */
	CHECK_NEWS_DOWN = 2,       /* it has gone down: likewise */
	CHECK_NEWS_FOUND_DOWN = 4, /* checks have it down now, whatever connects say */
};

/*
 * Notes an outcome. An address that the backend has no more is no news. When checks find it up
 * again, or one passes after a mark's pause, the mark that connects have made goes, too: the checks
 * have been its trial.
 */
unsigned int backend_note_check(struct backend *b, const struct addr *addr,
				const struct check_outcome *o, const struct health_conf *conf,
				uint64_t now_ns);

/* It is not checked any more: what checks knew counts no longer. */
void backend_forget_checks(struct backend *b, uint64_t now_ns);

/* Have checks found all of its endpoints down? */
bool backend_checked_down(const struct backend *b);

#endif
