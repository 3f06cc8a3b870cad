/* SPDX-License-Identifier: MIT */
/*
 * Promotion: a flow that missed its beginning (the engine was not ready, the table full, its app's
 * flows are brief) gets on the wire later. Once a packet of each leg was seen, both are held, an
 * RCU grace period makes sure that no packet is still on its way to the sockets, the engine that it
 * is on empties them, and at the first dry moment it is joined. If there is none within a bound,
 * what is parked goes to the sockets.
 */
#include "engine_wire_share.h"

/* A promotion: how long it may wait for packets, and then keep what is parked waiting, how often it
 * looks whether the relay is dry, and how many times it is tried in the life of a flow. */
#define PROMOTION_MAX_NS (150 * NSEC_PER_MSEC)
#define PROMOTION_LOOK_NS (2 * NSEC_PER_MSEC)
#define PROMOTIONS_MAX 3
/* What a flow must have lived, or moved, to be worth it. Each further attempt takes four times
 * that. */
#define PROMOTION_AFTER_NS NSEC_PER_SEC
#define PROMOTION_AFTER_BYTES (1u << 20)

static void end_promotion(struct wire_share *s, struct joint *j)
{
	wire_release(s->wire, &j->client);
	wire_release(s->wire, &j->backend);
	list_del(&j->link);
	if (j->relay) {
		j->relay->joint = NULL;
		j->relay->joiner = NULL;
	}
	free(j);
}

static void refuse_promotion(struct wire_share *s, struct joint *j, enum engine_reason why_not)
{
	atomic_fetch_add_explicit(&s->pools->refused[why_not], 1, memory_order_relaxed);
	end_promotion(s, j);
}

/* A relay that has ended, or is about to, has nothing to be joined. */
static bool may_still_join(const struct relay *r)
{
	for (int i = 0; i < 2; i++)
		if (r->side[i].hangup || r->side[i].urgent || r->dir[i].eof)
			return false;
	return true;
}

/* A leg of which too much was parked is not: see park.h. */
static bool both_are_held(const struct wire_share *s, const struct joint *j)
{
	return wire_is_held(s->wire, &j->client, NULL) && wire_is_held(s->wire, &j->backend, NULL);
}

static void try_to_join(struct wire_share *s, struct joint *j)
{
	enum engine_reason why_not = ENGINE_WIRE_NOT_DRY;
	struct relay *r = j->relay;
	bool held;

	if (relay_is_dry(r) && !wire_join_relay(r, &why_not)) {
		list_del(&j->link);
		relay_set_engine(r, &engine_wire, ENGINE_PROMOTED);
		return;
	}
	held = both_are_held(s, j);
	/* The next ACK may make it dry. */
	if (held && why_not == ENGINE_WIRE_NOT_DRY && s->pools->loop->now_ns < j->give_up_ns)
		return;
	if (!held)
		why_not = ENGINE_WIRE_NOT_DRY;
	if (why_not != ENGINE_WIRE_NOT_DRY)
		r->promotions = PROMOTIONS_MAX;
	refuse_promotion(s, j, why_not);
}

static void on_settled(struct settling *settling)
{
	struct joint *j = container_of(settling, struct joint, settling);
	struct wire_share *s = container_of(settling->desk, struct wire_share, settler);

	list_append(&s->promoting, &j->link);
	timer_arm(&s->pools->loop->timers, &s->look, s->pools->loop->now_ns);
}

static void hold_both(struct wire_share *s, struct joint *j)
{
	if (wire_hold(s->wire, &j->client) || wire_hold(s->wire, &j->backend)) {
		end_promotion(s, j);
		return;
	}
	list_del(&j->link);
	j->is_settling = true;
	j->give_up_ns = s->pools->loop->now_ns + PROMOTION_MAX_NS;
	j->settling.done = on_settled;
	settler_ask(&s->settler, &j->settling);
}

/* Not while they are held: of a request that is parked there is no answer to be seen. */
static void await_packets(struct wire_share *s, struct joint *j)
{
	if (wire_is_seen(s->wire, &j->client) && wire_is_seen(s->wire, &j->backend))
		hold_both(s, j);
	else if (s->pools->loop->now_ns >= j->give_up_ns)
		refuse_promotion(s, j, ENGINE_WIRE_NOT_SEEN);
}

void wire_promotions_look(struct timer *t)
{
	struct wire_share *s = container_of(t, struct wire_share, look);

	list_for_each_safe(e, &s->promoting) {
		struct joint *j = list_entry(e, struct joint, link);

		if (!j->relay || !may_still_join(j->relay))
			end_promotion(s, j);
		else if (j->is_settling)
			try_to_join(s, j);
		else
			await_packets(s, j);
	}
	if (!list_empty(&s->promoting))
		timer_arm(&s->pools->loop->timers, &s->look,
			  s->pools->loop->now_ns + PROMOTION_LOOK_NS);
}

bool wire_may_promote(const struct relay *r)
{
	const struct wire_share *s = r->pools->wire;
	unsigned int patience = 1u << (2 * r->promotions);
	uint64_t age_ns;

	if (!s || !s->settler.settler || !r->may_wire || !relay_is_tcp(r) || r->joined ||
	    r->joiner || r->promotions == PROMOTIONS_MAX || !may_still_join(r))
		return false;
	if (r->expected_brief && !r->promotions && r->steps > RELAY_BRIEF_STEPS)
		return true;
	age_ns = s->pools->loop->now_ns - r->born_ns;
	return age_ns >= patience * PROMOTION_AFTER_NS ||
	       r->dir[CLIENT].bytes + r->dir[BACKEND].bytes >=
		       (uint64_t)patience * PROMOTION_AFTER_BYTES;
}

void wire_promote(struct relay *r)
{
	struct wire_share *s = r->pools->wire;
	struct joint *j = calloc(1, sizeof(*j));

	r->promotions++;
	if (!j)
		return;
	list_init(&j->link);
	j->is_promotion = true;
	if (!wire_leg_of(r->side[CLIENT].watch.fd, &j->client) ||
	    !wire_leg_of(r->side[BACKEND].watch.fd, &j->backend) ||
	    wire_watch(s->wire, &j->client) || wire_watch(s->wire, &j->backend)) {
		end_promotion(s, j);
		return;
	}
	j->relay = r;
	r->joint = j;
	r->joiner = &engine_wire;
	j->give_up_ns = s->pools->loop->now_ns + PROMOTION_MAX_NS;
	list_append(&s->promoting, &j->link);
	if (!timer_armed(&s->look))
		timer_arm(&s->pools->loop->timers, &s->look,
			  s->pools->loop->now_ns + PROMOTION_LOOK_NS);
}
