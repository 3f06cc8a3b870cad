/* SPDX-License-Identifier: MIT */
#include "brevity.h"

void brevity_note(struct brevity *b, bool was_brief)
{
	atomic_fetch_add_explicit(was_brief ? &b->brief : &b->others, 1, memory_order_relaxed);
}

/* Whoever begins the next window judges the one that is over. */
static bool begin_window(struct brevity *b, uint64_t now_ns, uint64_t *elapsed_ns)
{
	uint64_t since = atomic_load(&b->since_ns);

	*elapsed_ns = now_ns - since;
	return now_ns >= since + BREVITY_WINDOW_NS &&
	       atomic_compare_exchange_strong(&b->since_ns, &since, now_ns);
}

bool brevity_look(struct brevity *b, uint64_t now_ns, bool *changed)
{
	bool was = atomic_load_explicit(&b->is_likely, memory_order_relaxed), is;
	uint64_t elapsed_ns, brief, others;

	*changed = false;
	if (!begin_window(b, now_ns, &elapsed_ns))
		return was;
	brief = atomic_exchange(&b->brief, 0);
	others = atomic_exchange(&b->others, 0);
	is = elapsed_ns < BREVITY_STALE_NS &&
	     brief >= elapsed_ns / (NSEC_PER_SEC / BREVITY_MIN_PER_S) &&
	     others * BREVITY_FOR_EACH_OTHER <= brief * (was ? 2 : 1);
	if (was)
		atomic_store(&b->likely_until_ns, now_ns);
	atomic_store(&b->is_likely, is);
	*changed = is != was;
	return is;
}

bool brevity_end(struct brevity *b)
{
	return atomic_load_explicit(&b->is_likely, memory_order_relaxed) &&
	       atomic_exchange(&b->is_likely, false);
}

bool brevity_was_likely(struct brevity *b, uint64_t now_ns, uint64_t ns)
{
	return atomic_load_explicit(&b->is_likely, memory_order_relaxed) ||
	       now_ns < atomic_load_explicit(&b->likely_until_ns, memory_order_relaxed) + ns;
}
