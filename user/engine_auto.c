/* SPDX-License-Identifier: MIT */
/*
 * How `auto` chooses between copy and splice, for each direction by itself: by what its reads have
 * brought lately, never by a guess. A direction changes only while it is dry, so there is nothing
 * to hand over.
 *
 * The two thresholds stand apart so that a flow near one of them does not go back and forth. Where
 * they stand comes from measuring request/response through both engines (bench/): up to 8 KiB
 * copying is faster, from 16 KiB on splice is, or costs less CPU at the same speed.
 */
#include "engine.h"

/* A direction is bulk when an average read brings so much, */
#define BULK_READ_BYTES (12u << 10)
/* and is not any more when it brings less than this. */
#define SMALL_READ_BYTES (6u << 10)
/* And it must have moved so much: a short answer is over before a change could pay. */
#define BULK_FLOW_BYTES (256u << 10)

void auto_review(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];

	if (!direction_is_dry(d) || d->eof)
		return;
	if (d->engine == &engine_copy && d->read_average >= BULK_READ_BYTES &&
	    d->bytes >= BULK_FLOW_BYTES && d->reason != ENGINE_URGENT_DATA)
		direction_switch(r, from, &engine_splice, ENGINE_BULK);
	else if (d->engine == &engine_splice && d->read_average < SMALL_READ_BYTES)
		direction_switch(r, from, &engine_copy, ENGINE_SMALL_READS);
}
