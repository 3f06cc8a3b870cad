/* SPDX-License-Identifier: MIT */
#include "backend_check.h"

const char *const check_result_names[N_CHECK_RESULTS] = {
	[CHECK_PASSED] = "passed",     [CHECK_REFUSED] = "refused",
	[CHECK_TIMEOUT] = "timeout",   [CHECK_UNREACHABLE] = "unreachable",
	[CHECK_RESET] = "reset",       [CHECK_CLOSED] = "closed",
	[CHECK_MISMATCH] = "mismatch",
};

static void remember(struct endpoint_check *c, const struct check_outcome *o, uint64_t now_ns)
{
	if (!c->at_ns || c->result != o->result)
		c->result_since_ns = now_ns;
	c->result = o->result;
	c->latency_ns = o->latency_ns;
	c->at_ns = now_ns;
}

/* The state that follows. */
static enum check_state advance(struct endpoint_check *c, bool passed,
				const struct health_conf *conf)
{
	enum check_state state = (enum check_state)atomic_load(&c->state);
	uint32_t enough = state == CHECK_STATE_UP ? conf->fall : conf->rise;

	if (state != CHECK_STATE_UNKNOWN && passed == (state == CHECK_STATE_UP)) {
		c->streak = 0;
		return state;
	}
	if (state != CHECK_STATE_UNKNOWN && ++c->streak < enough)
		return state;
	c->streak = 0;
	return passed ? CHECK_STATE_UP : CHECK_STATE_DOWN;
}

/*
 * A mark of connects whose pause is over waits for a trial, and if no client comes, for ever. A
 * check that passes is as good, unless it has asked another service.
 */
static bool is_trial(const struct endpoint *e, const struct health_conf *conf, uint64_t now_ns)
{
	return !conf->port && atomic_load(&e->failures) && atomic_load(&e->down_until_ns) <= now_ns;
}

unsigned int backend_note_check(struct backend *b, const struct addr *addr,
				const struct check_outcome *o, const struct health_conf *conf,
				uint64_t now_ns)
{
	struct endpoint *e = backend_find(b, addr);
	enum check_state before, after;
	bool was_up;

	if (!e)
		return 0;
	was_up = endpoint_up(e);
	before = (enum check_state)atomic_load(&e->check.state);
	remember(&e->check, o, now_ns);
	after = advance(&e->check, o->result == CHECK_PASSED, conf);
	atomic_store(&e->check.state, after);
	if (after == CHECK_STATE_DOWN) {
		if (before == after)
			return 0;
		if (was_up)
			atomic_store(&e->since_ns, now_ns);
		return CHECK_NEWS_FOUND_DOWN | (was_up ? CHECK_NEWS_DOWN : 0);
	}
	if (before != CHECK_STATE_DOWN && (o->result != CHECK_PASSED || !is_trial(e, conf, now_ns)))
		return 0;
	atomic_store(&e->down_until_ns, 0);
	atomic_store(&e->failures, 0);
	backend_endpoint_is_back(b, e, now_ns);
	return CHECK_NEWS_UP;
}

/* Workers may be looking at its state, so it is not simply overwritten. */
static void forget(struct endpoint_check *c)
{
	atomic_store(&c->state, CHECK_STATE_UNKNOWN);
	c->streak = 0;
	c->at_ns = 0; /* what else is known is of the last check, and there was none */
}

void backend_forget_checks(struct backend *b, uint64_t now_ns)
{
	struct endpoint_set *set = atomic_load(&b->set);

	for (size_t i = 0; set && i < set->n; i++) {
		struct endpoint *e = &set->endpoint[i];
		bool was_up = endpoint_up(e);

		forget(&e->check);
		if (!was_up && endpoint_up(e))
			backend_endpoint_is_back(b, e, now_ns);
	}
}

bool backend_checked_down(const struct backend *b)
{
	const struct endpoint_set *set = atomic_load(&b->set);

	for (size_t i = 0; set && i < set->n; i++)
		if (atomic_load(&set->endpoint[i].check.state) != CHECK_STATE_DOWN)
			return false;
	return set;
}
