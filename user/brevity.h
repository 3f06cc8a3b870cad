/* SPDX-License-Identifier: MIT */
/*
 * Are an app's connections, as they come lately, over after a few messages? Then what it takes to
 * begin one outweighs what each of its messages costs. Counted as connections end, and judged from
 * time to time as others begin, by any thread: it needs no timer, and costs a connection two
 * atomic additions.
 */
#ifndef SHUNT_BREVITY_H
#define SHUNT_BREVITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util.h"

/* How long is counted before it is judged. */
#define BREVITY_WINDOW_NS (50 * NSEC_PER_MSEC)
/* If none has begun for so long, they don't come at that rate any more. */
#define BREVITY_STALE_NS (250 * NSEC_PER_MSEC)
/* Below that, whatever a connection's beginning costs is little. */
#define BREVITY_MIN_PER_S 500
/* So many brief ones there must be for each of the other kind; half as many do once it has been
 * said that they are brief, so that the answer does not go back and forth. */
#define BREVITY_FOR_EACH_OTHER 8

/* Zeroed, it is ready. */
struct brevity {
	_Atomic uint64_t since_ns;      /* what is counted has ended since then */
	_Atomic uint32_t brief, others; /* connections */
	_Atomic bool is_likely;
	_Atomic uint64_t likely_until_ns; /* as it was judged last */
};

/* A connection has ended. */
void brevity_note(struct brevity *b, bool was_brief);

/*
 * A connection begins: is it likely to be brief? *changed: that is another answer than the last
 * one, and no other caller is told so.
 */
bool brevity_look(struct brevity *b, uint64_t now_ns, bool *changed);
/* Nobody will ask any more, until further notice. True: the last answer was yes. */
bool brevity_end(struct brevity *b);
/* The last answer. */
static inline bool brevity_is_likely(const struct brevity *b)
{
	return atomic_load(&b->is_likely);
}
/* The answer was yes at some time of the last ns. */
bool brevity_was_likely(struct brevity *b, uint64_t now_ns, uint64_t ns);

#endif
