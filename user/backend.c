/* SPDX-License-Identifier: MIT */
#include "backend.h"

#include <assert.h>
#include <string.h>

#define BACKOFF_JITTER_PERCENT 10

const char *const backend_order_names[N_BACKEND_ORDERS] = {
	[BACKEND_ENABLED] = "enabled",
	[BACKEND_DRAINED] = "drained",
	[BACKEND_DISABLED] = "disabled",
};

static struct endpoint_set *set_of(const struct backend *b)
{
	return atomic_load_explicit(&b->set, memory_order_acquire);
}

static struct endpoint_set *set_new(size_t n)
{
	struct endpoint_set *set = xcalloc(1, sizeof(*set) + n * sizeof(set->endpoint[0]));

	assert(n >= 1 && n <= ENDPOINTS_MAX);
	set->n = n;
	return set;
}

struct backend *backend_new(const struct target_conf *conf)
{
	struct backend *b = xcalloc(1, sizeof(*b));

	*b = (struct backend){
		.refs = 1,
		.text = xstrdup(conf->text),
		.at = conf->at,
		.is_literal = conf->is_literal,
	};
	if (conf->is_literal) {
		struct addr addr = conf->addr;

		if (addr.sa.sa_family == AF_UNIX) /* it outlives the conf */
			addr = addr_of_unix(addr_unix_path(b->text));
		backend_set_addresses(b, &addr, 1);
	}
	return b;
}

struct backend *backend_get(struct backend *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void backend_put(struct backend *b)
{
	if (atomic_fetch_sub(&b->refs, 1) > 1)
		return;
	free(atomic_load(&b->set));
	free(b->text);
	free(b);
}

static struct endpoint *find(struct endpoint_set *set, const struct addr *addr)
{
	for (size_t i = 0; set && i < set->n; i++)
		if (addr_equal(&set->endpoint[i].addr, addr))
			return &set->endpoint[i];
	return NULL;
}

struct endpoint *backend_find(const struct backend *b, const struct addr *addr)
{
	return find(set_of(b), addr);
}

static void keep_health(struct endpoint *e, const struct endpoint *was)
{
	atomic_store(&e->since_ns, atomic_load(&was->since_ns));
	atomic_store(&e->failures, atomic_load(&was->failures));
	atomic_store(&e->down_until_ns, atomic_load(&was->down_until_ns));
	e->check = was->check;
}

struct endpoint_set *backend_set_addresses(struct backend *b, const struct addr *addrs, size_t n)
{
	struct endpoint_set *old = set_of(b), *set = set_new(n);

	for (size_t i = 0; i < n; i++) {
		struct endpoint *e = &set->endpoint[i], *was;

		e->addr = addrs[i];
		addr_set_port(&e->addr, b->at.port);
		was = find(old, &e->addr);
		if (was)
			keep_health(e, was);
		else
			atomic_store(&e->since_ns, clock_ns());
	}
	b->set_version++;
	atomic_store_explicit(&b->set, set, memory_order_release);
	return old;
}

static bool is_marked(const struct endpoint *e, uint64_t now_ns)
{
	return atomic_load_explicit(&e->down_until_ns, memory_order_relaxed) > now_ns;
}

static bool is_checked_down(const struct endpoint *e)
{
	return atomic_load_explicit(&e->check.state, memory_order_relaxed) == CHECK_STATE_DOWN;
}

static bool is_down(const struct endpoint *e, uint64_t now_ns)
{
	return is_marked(e, now_ns) || is_checked_down(e);
}

bool endpoint_up(const struct endpoint *e)
{
	return !atomic_load_explicit(&e->failures, memory_order_relaxed) && !is_checked_down(e);
}

bool backend_resolved(const struct backend *b)
{
	return set_of(b) != NULL;
}

bool backend_usable(const struct backend *b, uint64_t now_ns)
{
	const struct endpoint_set *set = set_of(b);

	for (size_t i = 0; set && i < set->n; i++)
		if (!is_down(&set->endpoint[i], now_ns))
			return true;
	return false;
}

size_t backend_endpoints_up(const struct backend *b)
{
	const struct endpoint_set *set = set_of(b);
	size_t up = 0;

	for (size_t i = 0; set && i < set->n; i++)
		up += endpoint_up(&set->endpoint[i]);
	return up;
}

void backend_endpoint_is_back(struct backend *b, struct endpoint *e, uint64_t now_ns)
{
	atomic_store(&e->since_ns, now_ns);
	if (backend_endpoints_up(b) <= 1)
		atomic_store(&b->recovered_ns, now_ns);
}

enum backend_order backend_set_order(struct backend *b, enum backend_order order, uint64_t now_ns)
{
	enum backend_order before = (enum backend_order)atomic_exchange(&b->order, order);

	if (order == BACKEND_ENABLED && before != BACKEND_ENABLED)
		atomic_store(&b->recovered_ns, now_ns);
	return before;
}

uint32_t backend_share(const struct backend *b, uint32_t slow_start_ms, uint64_t now_ns)
{
	uint64_t since, whole_ns = slow_start_ms * NSEC_PER_MSEC, age_ns;

	if (!slow_start_ms)
		return SHARE_WHOLE;
	since = atomic_load_explicit(&b->recovered_ns, memory_order_relaxed);
	age_ns = now_ns > since ? now_ns - since : 0;
	if (!since || age_ns >= whole_ns)
		return SHARE_WHOLE;
	/* By milliseconds, or the product might not fit. */
	return SHARE_AT_RECOVERY + (uint32_t)((SHARE_WHOLE - SHARE_AT_RECOVERY) *
					      (age_ns / NSEC_PER_MSEC) / slow_start_ms);
}

void backend_walk_begin(struct backend *b, struct endpoint_walk *w)
{
	const struct endpoint_set *set = set_of(b);

	w->visited = 0;
	w->start = 0;
	if (set && set->n > 1)
		w->start = atomic_fetch_add_explicit(&b->rotation, 1, memory_order_relaxed);
}

/* Two that claim the same trial at once both try it: that is harmless. */
static void choose(struct endpoint *e, uint64_t now_ns, uint64_t trial_ns,
		   struct endpoint_choice *out)
{
	uint64_t until = atomic_load_explicit(&e->down_until_ns, memory_order_relaxed);

	out->addr = e->addr;
	out->is_trial = until && until <= now_ns;
	if (out->is_trial)
		atomic_store_explicit(&e->down_until_ns, now_ns + trial_ns, memory_order_relaxed);
}

bool backend_walk_next(struct backend *b, struct endpoint_walk *w, bool even_down, uint64_t now_ns,
		       uint64_t trial_ns, struct endpoint_choice *out)
{
	struct endpoint_set *set = set_of(b);

	/* The set may have been replaced since the last step: then the walk goes on in the new one.
	 */
	for (uint32_t i = 0; set && i < set->n; i++) {
		struct endpoint *e = &set->endpoint[(w->start + i) % set->n];

		if (w->visited >> i & 1 || (!even_down && is_down(e, now_ns)))
			continue;
		w->visited |= 1ull << i;
		choose(e, now_ns, trial_ns, out);
		return true;
	}
	return false;
}

static uint64_t backoff_ns(uint32_t failures, uint32_t jitter)
{
	uint64_t ms = BACKOFF_MIN_MS, spread;

	while (--failures && ms < BACKOFF_MAX_MS)
		ms *= 2;
	ms = MIN(ms, BACKOFF_MAX_MS);
	spread = ms * BACKOFF_JITTER_PERCENT / 100;
	return (ms - spread / 2 + jitter % (spread + 1)) * NSEC_PER_MSEC;
}

bool backend_report_failure(struct backend *b, const struct endpoint_choice *c, uint64_t now_ns,
			    uint32_t jitter)
{
	struct endpoint *e = find(set_of(b), &c->addr);
	uint32_t failures;

	atomic_fetch_add_explicit(&b->failures, 1, memory_order_relaxed);
	if (!e || (!c->is_trial && is_marked(e, now_ns)))
		return false;
	failures = atomic_fetch_add(&e->failures, 1) + 1;
	atomic_store(&e->down_until_ns, now_ns + backoff_ns(failures, jitter));
	if (failures > 1 || is_checked_down(e))
		return false;
	atomic_store(&e->since_ns, now_ns);
	return true;
}

bool backend_report_success(struct backend *b, const struct endpoint_choice *c)
{
	struct endpoint *e = find(set_of(b), &c->addr);

	atomic_fetch_add_explicit(&b->connects, 1, memory_order_relaxed);
	if (!e || !atomic_load_explicit(&e->failures, memory_order_relaxed))
		return false;
	atomic_store(&e->down_until_ns, 0);
	if (!atomic_exchange(&e->failures, 0) || is_checked_down(e))
		return false;
	backend_endpoint_is_back(b, e, clock_ns());
	return true;
}

enum close_reason backend_why_cut(const struct backend *b, uint64_t since_ns)
{
	if (atomic_load(&b->order) == BACKEND_DISABLED)
		return CLOSE_BACKEND_DISABLED;
	/* One that came later is there because the backend does answer. */
	if (since_ns && since_ns <= atomic_load(&b->cut_ns))
		return CLOSE_BACKEND_DOWN;
	return N_CLOSE_REASONS;
}
