/* SPDX-License-Identifier: MIT */
/*
 * How `auto` chooses for a flow that is not on the wire from its beginning: between copy and splice
 * for each direction by itself, by what its reads have brought lately, never by a guess; and for
 * the flow as a whole, once it has lasted, the wire or sockmap. A direction changes only while it
 * is dry, so there is nothing to hand over.
 *
 * The two thresholds stand apart so that a flow near one of them does not go back and forth. Where
 * they stand comes from measuring request/response through both engines (bench/): up to 8 KiB
 * copying is faster, from 16 KiB on splice is, or costs less CPU at the same speed.
 */
#include "engine_wire.h"

/* A direction is bulk when an average read brings so much, */
#define BULK_READ_BYTES (12u << 10)
/* and is not any more when it brings less than this. */
#define SMALL_READ_BYTES (6u << 10)
/* And it must have moved so much: a short answer is over before a change could pay. */
#define BULK_FLOW_BYTES (256u << 10)

/* A flow that has lived for so long on small messages may go to the kernel, for the rest of its
 * life. */
#define LONG_LIVED_NS (10 * NSEC_PER_SEC)

static bool is_small_talk(const struct direction *d)
{
	return d->engine == &engine_copy && d->read_average < SMALL_READ_BYTES;
}

/*
 * It costs a slot and some system calls to join, and there is no way back: so only what has shown
 * that it lasts, and only on a host where the kernel's way was measured to be the shorter one.
 */
static bool belongs_to_kernel(const struct relay *r)
{
	return r->pools->sockmap_pays && !r->joiner && is_small_talk(&r->dir[CLIENT]) &&
	       is_small_talk(&r->dir[BACKEND]) &&
	       r->pools->loop->now_ns - r->born_ns >= LONG_LIVED_NS && relay_may_join(r);
}

void auto_review(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];

	if (r->joined)
		return;
	if (wire_may_promote(r))
		wire_promote(r);
	if (!direction_is_dry(d) || d->eof)
		return;
	if (belongs_to_kernel(r)) {
		relay_join(r, &engine_sockmap, ENGINE_LONG_LIVED);
		return;
	}
	if (d->engine == &engine_copy && d->read_average >= BULK_READ_BYTES &&
	    d->bytes >= BULK_FLOW_BYTES && d->reason != ENGINE_URGENT_DATA)
		direction_switch(r, from, &engine_splice, ENGINE_BULK);
	else if (d->engine == &engine_splice && d->read_average < SMALL_READ_BYTES)
		direction_switch(r, from, &engine_copy, ENGINE_SMALL_READS);
}
