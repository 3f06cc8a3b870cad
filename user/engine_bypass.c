/* SPDX-License-Identifier: MIT */
#include "engine_bypass.h"

#include <stdlib.h>

#include "slots.h"

#define READ_RECORD(d, field) __atomic_load_n(&(d)->field, __ATOMIC_ACQUIRE)

struct bypass_share {
	struct bypass *bypass;
	struct relay_pools *pools;
	uint32_t first_flow;
	struct slots slots;
};

/* What a relay has of it, from the first attempt to connect. */
struct bypass_joint {
	uint64_t own[2]; /* the cookies of the relay's sockets; 0: not known */
	int64_t slot;    /* -1: its ends have not been paired */
	uint64_t counted[2];
};

static uint32_t flow_of(const struct bypass_share *s, const struct bypass_joint *j)
{
	return s->first_flow + (uint32_t)j->slot;
}

static struct bypass_direction *record_of(const struct relay *r, int from)
{
	const struct bypass_share *s = r->pools->bypass;

	return bypass_direction(s->bypass, flow_of(s, r->bypass), from);
}

/* --- pairing --------------------------------------------------------------------------------- */

static void forget_own(const struct bypass_share *s, struct bypass_joint *j)
{
	for (int i = 0; i < 2; i++)
		if (j->own[i])
			bypass_forget(s->bypass, j->own[i]);
}

/* The relay goes without. */
static void give_up(struct relay *r, enum engine_reason why_not)
{
	struct bypass_share *s = r->pools->bypass;
	struct bypass_joint *j = r->bypass;

	for (int i = 0; j && i < 2; i++)
		if (j->own[i])
			bypass_release(s->bypass, j->own[i]);
	if (j)
		forget_own(s, j);
	if (j && j->slot >= 0)
		slots_give(&s->slots, (uint32_t)j->slot, s->pools->loop->now_ns);
	free(j);
	r->bypass = NULL;
	r->not_bypassed = why_not;
	atomic_fetch_add_explicit(&r->pools->refused[why_not], 1, memory_order_relaxed);
}

/* Why it can't be, whatever its ends are; else, that nothing is known of the backend's yet. */
static enum engine_reason why_never(const struct relay *r)
{
	/* Then what a sender has passed and what its receiver has got are not the same. */
	if (r->has_header)
		return ENGINE_BYPASS_HEADER;
	if (!relay_is_tcp(r))
		return ENGINE_NOT_TCP;
	return r->pools->bypass ? ENGINE_BYPASS_UNKNOWN : ENGINE_BYPASS_OFF;
}

static struct bypass_joint *joint_of(struct relay *r)
{
	uint64_t client;

	if (r->bypass)
		return r->bypass;
	if (bypass_cookie(r->side[CLIENT].watch.fd, &client))
		return NULL;
	r->bypass = calloc(1, sizeof(*r->bypass));
	if (r->bypass)
		*r->bypass = (struct bypass_joint){ .own[CLIENT] = client, .slot = -1 };
	return r->bypass;
}

void bypass_prepare(struct relay *r, int fd)
{
	struct bypass_share *s = r->pools->bypass;
	struct bypass_joint *j;

	if (!r->may_bypass || fd < 0)
		return;
	r->not_bypassed = why_never(r);
	if (r->not_bypassed != ENGINE_BYPASS_UNKNOWN)
		return;
	j = joint_of(r);
	if (!j)
		return;
	if (j->own[BACKEND])
		bypass_forget(s->bypass, j->own[BACKEND]);
	if (bypass_expect(s->bypass, fd, &j->own[BACKEND]))
		j->own[BACKEND] = 0;
}

static void clear_records(struct relay *r)
{
	for (int i = 0; i < 2; i++)
		*record_of(r, i) = (struct bypass_direction){ .off = r->bypass_off };
}

void bypass_begin(struct relay *r)
{
	struct bypass_share *s = r->pools->bypass;
	struct bypass_joint *j = r->bypass;
	enum bypass_pairing pairing;

	if (!j)
		return;
	j->slot = slots_take(&s->slots, s->pools->loop->now_ns);
	if (j->slot < 0 || !j->own[BACKEND]) {
		give_up(r, ENGINE_BYPASS_NO_SLOT);
		return;
	}
	clear_records(r);
	pairing = bypass_pair(s->bypass, flow_of(s, j), j->own);
	if (pairing == BYPASS_END_ENDED)
		give_up(r, ENGINE_BYPASS_ENDED);
}

/* Only the end at this side is on this host. */
static bool halve(struct relay *r, int from)
{
	struct bypass_share *s = r->pools->bypass;
	struct bypass_joint *j = r->bypass;
	enum bypass_pairing pairing;

	if (r->joined || r->joiner) {
		give_up(r, ENGINE_BYPASS_JOINER);
		return false;
	}
	pairing = bypass_halve(s->bypass, flow_of(s, j), from, j->own, r->side[!from].watch.fd,
			       r->dir[from].bytes);
	if (pairing != BYPASS_PAIRED) {
		give_up(r, ENGINE_BYPASS_ENDED);
		return false;
	}
	r->not_bypassed = ENGINE_BYPASS_OTHER_HALF;
	return true;
}

bool bypass_conclude(struct relay *r)
{
	/* It was said before: who does not go around has no r->bypass from then on. */
	if (relay_bypass_direction(r, CLIENT) || relay_bypass_direction(r, BACKEND))
		return false;
	for (int from = 0; from < 2; from++)
		if (bypass_recognizes(r->pools->bypass->bypass, r->bypass->own[from]))
			return halve(r, from);
	give_up(r, ENGINE_BYPASS_REMOTE);
	return false;
}

/* --- while it is paired ------------------------------------------------------------------------ */

const struct bypass_direction *relay_bypass_direction(const struct relay *r, int from)
{
	const struct bypass_direction *d;

	if (!r->bypass || r->bypass->slot < 0)
		return NULL;
	d = record_of(r, from);
	return READ_RECORD(d, owner) ? d : NULL;
}

uint64_t bypass_refresh(struct relay *r)
{
	uint64_t active_ns = 0;

	for (int i = 0; i < 2; i++) {
		const struct bypass_direction *d = relay_bypass_direction(r, i);
		uint64_t now = d ? READ_RECORD(d, bytes) : 0;

		if (!d)
			continue;
		direction_note_written(r, &r->dir[i], now - r->bypass->counted[i]);
		r->bypass->counted[i] = now;
		active_ns = MAX(active_ns, READ_RECORD(d, active_ns));
	}
	return active_ns;
}

bool bypass_was_cut(const struct relay *r, int side)
{
	/* What an end has not read is of the direction that leads to it. */
	const struct bypass_direction *d = relay_bypass_direction(r, !side);

	return d && READ_RECORD(d, cut);
}

void bypass_switch(struct relay *r, bool off)
{
	r->bypass_off = off;
	if (!r->bypass || r->bypass->slot < 0)
		return;
	for (int i = 0; i < 2; i++)
		__atomic_store_n(&record_of(r, i)->off, off, __ATOMIC_RELEASE);
}

void bypass_leave(struct relay *r)
{
	struct bypass_share *s = r->pools->bypass;
	struct bypass_joint *j = r->bypass;

	if (!j)
		return;
	/* A's entry goes with the socket. */
	if (j->own[BACKEND])
		bypass_forget(s->bypass, j->own[BACKEND]);
	if (j->slot >= 0) {
		bypass_part(s->bypass, flow_of(s, j));
		slots_give(&s->slots, (uint32_t)j->slot, s->pools->loop->now_ns);
	}
	free(j);
	r->bypass = NULL;
}

/* --- what is told of it ------------------------------------------------------------------------ */

struct relay_way relay_way(const struct relay *r, int from)
{
	static const enum engine_reason reasons[N_BYPASS_MODES] = {
		[BYPASS_SILENT] = ENGINE_BYPASSED,         [BYPASS_REDIRECTED] = ENGINE_BYPASSED,
		[BYPASS_NOT_DRY] = ENGINE_BYPASS_NOT_DRY,  [BYPASS_FULL] = ENGINE_BYPASS_FULL,
		[BYPASS_OFF] = ENGINE_BYPASS_SWITCHED_OFF, [BYPASS_UNFIT] = ENGINE_BYPASS_UNFIT,
		[BYPASS_GONE] = ENGINE_BYPASS_GONE,        [BYPASS_ENDED] = ENGINE_BYPASS_ENDED,
	};
	const struct bypass_direction *d = relay_bypass_direction(r, from);
	struct relay_way way = { r->dir[from].engine, r->dir[from].reason };
	uint32_t mode;

	if (!d) {
		if (r->may_bypass && !r->joined)
			way.reason = r->not_bypassed;
		return way;
	}
	mode = READ_RECORD(d, mode);
	if (READ_RECORD(d, off))
		mode = BYPASS_OFF;
	else if (mode == BYPASS_OFF) /* it was, when the last bytes were sent */
		mode = BYPASS_NOT_DRY;
	if (mode == BYPASS_SILENT || mode == BYPASS_REDIRECTED)
		way.engine = &engine_bypass;
	way.reason = reasons[mode];
	if (d->is_half && way.reason == ENGINE_BYPASSED)
		way.reason = ENGINE_BYPASS_HALF;
	return way;
}

const struct engine engine_bypass = {
	.name = "bypass",
	.summary = "local peers send to each other, by BPF programs",
};

/* --- the worker's share ------------------------------------------------------------------------ */

void bypass_share_open(struct bypass *b, uint32_t worker, struct relay_pools *pools)
{
	struct bypass_share *s = xcalloc(1, sizeof(*s));
	uint32_t n = bypass_conf(b)->flows_per_worker;

	*s = (struct bypass_share){ .bypass = b, .pools = pools, .first_flow = n * worker };
	slots_init(&s->slots, n);
	pools->bypass = s;
}

void bypass_share_close(struct relay_pools *pools)
{
	struct bypass_share *s = pools->bypass;

	if (!s)
		return;
	slots_free(&s->slots);
	free(s);
	pools->bypass = NULL;
}
