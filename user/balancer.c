/* SPDX-License-Identifier: MIT */
#include "balancer.h"

#include <math.h>
#include <string.h>

/* Draws, or turns, before the search goes through all: with half of the backends down, 1 in 256
 * gets that far. */
#define DRAWS_MAX 8

/* A round of round_robin has at most so many turns; weights beyond that are scaled down. */
#define SCHEDULE_TURNS_MAX (1u << 18)

static bool is_full(const struct app *app, size_t i)
{
	uint32_t max = app->conf->targets[i].max_connections;

	return max && atomic_load(&app->backends[i]->active) >= max;
}

static bool is_candidate(const struct app *app, const struct pick *p, size_t i)
{
	if (p->tried && p->tried[i / 64] >> (i % 64) & 1)
		return false;
	if (!backend_enabled(app->backends[i]) || !backend_resolved(app->backends[i]))
		return false;
	if (!p->even_down && !backend_usable(app->backends[i], p->now_ns))
		return false;
	if (!is_full(app, i))
		return true;
	*p->met_full = true;
	return false;
}

static uint32_t weight(const struct app *app, size_t i)
{
	return app->conf->targets[i].weight;
}

static uint64_t active(const struct app *app, int i)
{
	return atomic_load_explicit(&app->backends[i]->active, memory_order_relaxed);
}

static uint32_t share(const struct app *app, const struct pick *p, size_t i)
{
	return backend_share(app->backends[i], app->conf->slow_start_ms, p->now_ns);
}

/* What counts of its weight at this moment. */
static uint64_t weight_now(const struct app *app, const struct pick *p, int i)
{
	return (uint64_t)weight(app, (size_t)i) * share(app, p, (size_t)i);
}

/* Is a less loaded than b, each in proportion to its weight? */
static bool less_loaded(const struct app *app, const struct pick *p, int a, int b)
{
	return active(app, a) * weight_now(app, p, b) < active(app, b) * weight_now(app, p, a);
}

/* In its slow start a backend takes only so many of the chances that it gets. */
static bool takes_chance(const struct app *app, const struct pick *p, size_t i)
{
	uint32_t part = share(app, p, i);

	return part == SHARE_WHOLE || rng_below(p->rng, SHARE_WHOLE) < part;
}

static int first_candidate(const struct app *app, const struct pick *p, size_t from)
{
	for (size_t k = 0; k < app->n_backends; k++) {
		size_t i = (from + k) % app->n_backends;

		if (is_candidate(app, p, i))
			return (int)i;
	}
	return -1;
}

/* A backend drawn with a probability in proportion to its weight, whatever its state. */
static size_t draw(const struct app *app, uint64_t *rng)
{
	size_t low = 0, high = app->n_backends - 1;
	uint64_t total = app->wheel[high];
	uint64_t at = rng_below(rng, total > UINT32_MAX ? UINT32_MAX : (uint32_t)total);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (app->wheel[middle] > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* The same among candidates other than `but` (-1: any). */
static int draw_candidate(const struct app *app, const struct pick *p, int but)
{
	for (int n = 0; n < DRAWS_MAX; n++) {
		size_t i = draw(app, p->rng);

		if ((int)i != but && is_candidate(app, p, i) && takes_chance(app, p, i))
			return (int)i;
	}
	return first_candidate(app, p, rng_below(p->rng, (uint32_t)app->n_backends));
}

static int pick_random(struct app *app, const struct pick *p)
{
	return draw_candidate(app, p, -1);
}

/*
 * The less loaded of two that were drawn at random (Mitzenmacher, "The Power of Two Choices in
 * Randomized Load Balancing", 2001): nearly as even as least_conn, without its rush on a backend
 * that has just come back.
 */
static int pick_p2c(struct app *app, const struct pick *p)
{
	int a = draw_candidate(app, p, -1), b;

	if (a < 0 || app->n_backends == 1)
		return a;
	b = draw_candidate(app, p, a);
	return b >= 0 && less_loaded(app, p, b, a) ? b : a;
}

/* Who can't have its turn leaves it to the one whose turn is next, so that what it loses is shared
 * by all. */
static int pick_round_robin(struct app *app, const struct pick *p)
{
	size_t i = 0;

	for (int n = 0; n < DRAWS_MAX; n++) {
		uint32_t turn = atomic_fetch_add_explicit(&app->cursor, 1, memory_order_relaxed);

		i = app->schedule[turn % app->n_schedule];
		if (is_candidate(app, p, i) && takes_chance(app, p, i))
			return (int)i;
	}
	return first_candidate(app, p, i + 1);
}

static int pick_least_conn(struct app *app, const struct pick *p)
{
	/* Equals take turns, or the first of them would get every connection of a quiet app. */
	uint32_t from = atomic_fetch_add_explicit(&app->cursor, 1, memory_order_relaxed);
	int best = -1;

	for (size_t k = 0; k < app->n_backends; k++) {
		size_t i = (from + k) % app->n_backends;

		if (is_candidate(app, p, i) && takes_chance(app, p, i) &&
		    (best < 0 || less_loaded(app, p, (int)i, best)))
			best = (int)i;
	}
	return best < 0 ? first_candidate(app, p, from) : best;
}

static uint64_t hash_text(const char *s)
{
	uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */

	while (*s)
		h = (h ^ (uint8_t)*s++) * 0x100000001b3ull;
	return mix64(h);
}

/*
 * Rendezvous hashing with weights (Thaler and Ravishankar, 1998; weights by -ln(u)/w as in
 * Schindelhauer and Schomaker, 2005): a source keeps its backend while that one is up, and when one
 * fails only its own sources move.
 */
static int pick_source_hash(struct app *app, const struct pick *p)
{
	uint64_t source = addr_hash_host(p->client);
	double best_score = 0;
	int best = -1;

	for (size_t i = 0; i < app->n_backends; i++) {
		uint64_t h = mix64(source ^ hash_text(app->backends[i]->text));
		double u = ((double)(h >> 11) + 0.5) / 9007199254740992.0; /* 2^53 */
		double score = -log(u) / weight(app, i);

		if (is_candidate(app, p, i) && (best < 0 || score < best_score)) {
			best = (int)i;
			best_score = score;
		}
	}
	return best;
}

static const struct balancer balancers[] = {
	{ "p2c", pick_p2c },
	{ "round_robin", pick_round_robin },
	{ "least_conn", pick_least_conn },
	{ "random", pick_random },
	{ "source_hash", pick_source_hash },
};

const char *const balancer_names[] = {
	"p2c", "round_robin", "least_conn", "random", "source_hash",
};
const size_t n_balancers = ARRAY_SIZE(balancer_names);
_Static_assert(ARRAY_SIZE(balancer_names) == ARRAY_SIZE(balancers), "a name a balancer");

const struct balancer *balancer_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(balancers); i++)
		if (!strcmp(balancers[i].name, name))
			return &balancers[i];
	return NULL;
}

static uint32_t greatest_common_divisor(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

struct turn {
	uint32_t backend, nth,
		of; /* the nth (from 0) of so many turns that this backend has in a round */
};

/* Turn n of w stands at (n + 1/2) / w of the round, so that each backend's turns are evenly spread.
 */
static int compare_turns(const void *va, const void *vb)
{
	const struct turn *a = va, *b = vb;
	uint64_t at_a = (2 * (uint64_t)a->nth + 1) * b->of,
		 at_b = (2 * (uint64_t)b->nth + 1) * a->of;

	if (at_a != at_b)
		return at_a < at_b ? -1 : 1;
	return a->backend < b->backend ? -1 : a->backend > b->backend;
}

static void prepare_schedule(struct app *app)
{
	uint32_t divisor = 0;
	struct turn *turns;
	uint64_t total = 0;
	size_t n = 0;

	for (size_t i = 0; i < app->n_backends; i++)
		divisor = greatest_common_divisor(weight(app, i), divisor);
	for (size_t i = 0; i < app->n_backends; i++)
		total += weight(app, i) / divisor;
	if (total > SCHEDULE_TURNS_MAX)
		divisor *= (uint32_t)(total / SCHEDULE_TURNS_MAX) + 1;

	turns = xcalloc(MAX(total, app->n_backends), sizeof(*turns));
	for (size_t i = 0; i < app->n_backends; i++) {
		uint32_t of = MAX(weight(app, i) / divisor, 1);

		for (uint32_t nth = 0; nth < of; nth++)
			turns[n++] = (struct turn){ (uint32_t)i, nth, of };
	}
	qsort(turns, n, sizeof(*turns), compare_turns);
	app->schedule = xcalloc(n, sizeof(*app->schedule));
	app->n_schedule = n;
	for (size_t i = 0; i < n; i++)
		app->schedule[i] = turns[i].backend;
	free(turns);
}

void balancer_prepare(struct app *app)
{
	uint64_t sum = 0;

	app->wheel = xcalloc(app->n_backends, sizeof(*app->wheel));
	for (size_t i = 0; i < app->n_backends; i++)
		app->wheel[i] = sum += weight(app, i);
	if (app->balancer->pick == pick_round_robin)
		prepare_schedule(app);
}
