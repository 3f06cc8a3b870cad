/* SPDX-License-Identifier: MIT */
/*
 * One active check of one address: connects, sends what is to be sent, and reads until what is
 * expected has come or can't come any more. It ends the connection with a RST, as HAProxy's checks
 * do: no TIME_WAIT stays behind, at ten thousand of them a second.
 *
 * Invariant: between health_check_start() and done(), or health_check_abandon(), it has a socket
 * and a timer; at all other times nothing. Of an answer it keeps only how much of what is expected
 * its end matches.
 */
#ifndef SHUNT_HEALTH_CHECK_H
#define SHUNT_HEALTH_CHECK_H

#include "backend_check.h"
#include "loop.h"
#include "proxy_header.h"

/* What is expected must be within this much of the answer. */
#define HEALTH_ANSWER_MAX_BYTES 16384

struct health_check {
	struct loop *loop;
	const struct health_conf *conf; /* may be exchanged for an equal one at any time */
	/* The PROXY header that its connections begin with: the owner's, between two of them. */
	enum proxy_header_version header;
	const struct addr_range_list *sources; /* likewise: as SourceAddresses; none: any */
	bool header_sent;
	struct watch watch;
	struct timer timeout;
	uint64_t began_ns;
	size_t n_sent, n_answer;
	size_t matched; /* of what is expected */
	/* It has ended, and may be started again or freed. */
	void (*done)(struct health_check *c, const struct check_outcome *o);
};

void health_check_init(struct health_check *c, struct loop *loop,
		       void (*done)(struct health_check *c, const struct check_outcome *o));
/* 0: done() will be called, or has been. -errno: this host has no means for it now, which says
 * nothing about the address. */
int health_check_start(struct health_check *c, const struct addr *at,
		       const struct health_conf *conf) must_check;
/* Without an outcome; also one that is not under way. */
void health_check_abandon(struct health_check *c);
bool health_check_under_way(const struct health_check *c);

#endif
