/* SPDX-License-Identifier: MIT */
/*
 * Where clients come from: how many connections each source has, and how fast it makes them, for
 * each app that limits either. A source is an IPv4 address, or a /64 of IPv6, which is what one
 * host can choose its addresses from (a link-local one is itself).
 *
 * The table has SOURCES_MAX entries for all apps together, in sets of SOURCES_WAYS. Where a set is
 * full, the entry that was used longest ago and has no connection goes, and with it what its source
 * had spent of its rate; if all have connections, the new source is let in untracked, and counted:
 * the table protects apps from few that take too much, not from very many. The hash is keyed by a
 * secret seed, so that nobody can choose addresses that meet in one set.
 *
 * Any thread; one of SOURCES_LOCKS mutexes is held for a glance at a set.
 */
#ifndef SHUNT_SOURCES_H
#define SHUNT_SOURCES_H

#include <stdint.h>

#include "addr.h"

#define SOURCES_WAYS 16
#define SOURCES_SETS 4096
#define SOURCES_MAX (SOURCES_SETS * SOURCES_WAYS)
#define SOURCES_LOCKS 64

struct sources;
struct source;

struct source_limits {
	uint32_t connections; /* at once; 0: no limit */
	/*
	 * A token bucket: holds `burst` tokens at most, gets one each interval_ns (0: no limit),
	 * and a connection takes one.
	 */
	uint64_t interval_ns;
	uint32_t burst;
};

enum source_verdict {
	SOURCE_ADMITTED,
	SOURCE_TOO_MANY,
	SOURCE_TOO_FAST,
};

struct sources *sources_new(void) must_check;
void sources_free(struct sources *t); /* takes NULL */

/*
 * May a client at this IP address connect to the app that `owner` stands for? What is refused takes
 * no token. With a limit of connections *held is then the source, for sources_leave() when the
 * connection ends, or NULL if it is not tracked.
 */
enum source_verdict sources_admit(struct sources *t, const void *owner, const struct addr *client,
				  const struct source_limits *limits, uint64_t now_ns,
				  struct source **held) must_check;
void sources_leave(struct sources *t, struct source *s);

/* Connections so far that found a full set. */
uint64_t sources_untracked(const struct sources *t);

#endif
