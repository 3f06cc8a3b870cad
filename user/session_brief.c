/* SPDX-License-Identifier: MIT */
#include "session_brief.h"

#include "engine_wire.h"

/* SYNs that came before the program was told of a change: connections of as long ago may not be
 * held, though they should, and are made up for by an early promotion. */
#define STALE_NS NSEC_PER_SEC
/* Who has lived that long would have been promoted. */
#define BRIEF_LIFE_NS NSEC_PER_SEC

static bool has_choice(const struct session *s)
{
	return !s->app->engine && s->app->conf->wire && s->ctx->pools.wire;
}

/* Whoever has changed the answer tells it; and again, if others have changed it meanwhile and told
 * theirs before him. */
static void tell_program(const struct session *s)
{
	const struct app_conf *conf = s->app->conf;
	const struct brevity *b = &s->app->shared->brevity;
	bool late;

	do {
		late = brevity_is_likely(b);
		for (size_t k = conf->n_sockets; k < app_conf_listeners(conf); k++) {
			const struct addr at = app_conf_listener(conf, k);

			wire_share_listen_late(&s->ctx->pools, &at, late);
		}
	} while (late != brevity_is_likely(b));
}

bool session_brief_late(struct session *s)
{
	struct brevity *b = &s->app->shared->brevity;
	uint64_t now = s->ctx->loop->now_ns;
	bool is_likely, changed;

	if (!has_choice(s)) {
		/* It had, before a reload. */
		if (s->ctx->pools.wire && brevity_end(b))
			tell_program(s);
		return false;
	}
	is_likely = brevity_look(b, now, &changed);
	if (changed)
		tell_program(s);
	s->relay.expected_brief = brevity_was_likely(b, now, STALE_NS);
	if (is_likely)
		relay_begin_late(&s->relay, ENGINE_WIRE_BRIEF);
	return is_likely;
}

void session_brief_note(struct session *s)
{
	uint64_t life_ns = s->ctx->loop->now_ns - s->opened_ns;

	if (s->connected_ns && has_choice(s))
		brevity_note(&s->app->shared->brevity,
			     s->relay.steps <= RELAY_BRIEF_STEPS && life_ns < BRIEF_LIFE_NS);
}
