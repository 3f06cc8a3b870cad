/* SPDX-License-Identifier: MIT */
#include "health.h"

#include <string.h>

#include "health_schedule.h"
#include "log.h"

/* Checks under way: at most so many, and this share of the open files. Ten thousand a second with a
 * timeout of one second, all of them unanswered, are within it. */
#define UNDER_WAY_MAX 16384
#define FDS_SHARE 8
/* Checks begun in one turn of the loop: about a millisecond of it. */
#define BEGUN_PER_TURN 32

/* One address. */
struct check {
	struct list link; /* of its target */
	struct health_target *target;
	struct addr addr;
	struct timer timer;   /* armed until it is due */
	struct list due_link; /* in due, while it waits for its turn */
	struct health_check run;
};

/* One backend. */
struct health_target {
	struct list link;
	struct health *health;
	struct app *app;         /* a reference: the generation that runs */
	struct backend *backend; /* the app's */
	uint32_t version;        /* of the set of addresses that checks are for */
	uint64_t round;          /* when it was last seen among what runs */
	struct list checks;
};

struct health {
	struct health_context context;
	struct list targets, due;
	struct work begin;
	size_t n_checks, under_way, under_way_max;
	uint32_t n_phases;
	uint64_t round, rng;
	struct health_figures figures;
};

static const struct health_conf *conf_of(const struct health_target *t)
{
	return &t->app->conf->health;
}

static uint64_t interval_ns(const struct health_target *t)
{
	return conf_of(t)->interval_ms * NSEC_PER_MSEC;
}

/* --- results --------------------------------------------------------------------------------- */

static void log_news(const struct check *c, const struct check_outcome *o, bool up)
{
	enum log_level level = up ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARNING;
	const struct health_target *t = c->target;
	char text[ADDR_TEXT_MAX];
	struct log_record r;

	if (!log_enabled(level))
		return;
	log_record_begin(&r, level, up ? "backend_up" : "backend_down");
	log_record_str(&r, "app", t->app->conf->name);
	log_record_str(&r, "target", t->backend->text);
	log_record_str(&r, "address", addr_format(&c->addr, text));
	log_record_str(&r, "by", "check");
	if (!up)
		log_record_str(&r, "result", check_result_names[o->result]);
	if (o->error)
		log_record_str(&r, "error", strerror(o->error));
	log_record_ms(&r, "latency_ms", o->latency_ns);
	log_record_end(&r);
}

static void cut_if_down(struct health_target *t, uint64_t now_ns)
{
	if (t->app->conf->on_down != ON_DOWN_CLOSE || !backend_checked_down(t->backend))
		return;
	atomic_store(&t->backend->cut_ns, now_ns);
	cutter_ring(t->health->context.cutter);
}

static void on_done(struct health_check *run, const struct check_outcome *o)
{
	struct check *c = container_of(run, struct check, run);
	struct health_target *t = c->target;
	struct health *h = t->health;
	uint64_t now = h->context.loop->now_ns;
	unsigned int news = backend_note_check(t->backend, &c->addr, o, conf_of(t), now);

	h->figures.results[o->result]++;
	h->under_way--;
	fd_budget_give(h->context.fds, 1);
	if (news & (CHECK_NEWS_UP | CHECK_NEWS_DOWN))
		log_news(c, o, news & CHECK_NEWS_UP);
	if (news & CHECK_NEWS_FOUND_DOWN)
		cut_if_down(t, now);
	/* From the beginning of one to that of the next, but never before this one's end. */
	timer_arm(&h->context.loop->timers, &c->timer,
		  MAX(now, run->began_ns + health_pause_ns(interval_ns(t), &h->rng)));
	if (!list_empty(&h->due))
		loop_again(h->context.loop, &h->begin);
}

/* --- turns ----------------------------------------------------------------------------------- */

static void postpone(struct check *c)
{
	struct health *h = c->target->health;

	h->figures.postponed++;
	loop_arm_in(h->context.loop, &c->timer, health_pause_ns(interval_ns(c->target), &h->rng));
}

static void begin(struct check *c)
{
	struct health *h = c->target->health;
	const struct app_conf *app = c->target->app->conf;
	struct addr at = c->addr;

	if (!fd_budget_take(h->context.fds, 1)) {
		postpone(c);
		return;
	}
	/* Another port is another service, which may know of no headers. */
	c->run.header = app->health.port ? PROXY_HEADER_NONE : app->proxy_protocol.send;
	c->run.sources = &app->sources;
	if (app->health.port)
		addr_set_port(&at, (uint16_t)app->health.port);
	h->under_way++;
	if (!health_check_start(&c->run, &at, conf_of(c->target)))
		return;
	h->under_way--;
	fd_budget_give(h->context.fds, 1);
	postpone(c);
}

static void on_begin(struct work *w)
{
	struct health *h = container_of(w, struct health, begin);

	for (int i = 0; i < BEGUN_PER_TURN && !list_empty(&h->due); i++) {
		struct check *c = list_entry(h->due.next, struct check, due_link);

		if (h->under_way == h->under_way_max)
			return; /* on_done() goes on */
		list_del(&c->due_link);
		begin(c);
	}
	if (!list_empty(&h->due))
		loop_again(h->context.loop, &h->begin);
}

static void on_due(struct timer *timer)
{
	struct check *c = container_of(timer, struct check, timer);
	struct health *h = c->target->health;

	if (h->under_way == h->under_way_max)
		h->figures.postponed++;
	list_append(&h->due, &c->due_link);
	loop_again(h->context.loop, &h->begin);
}

/* --- what is checked ------------------------------------------------------------------------- */

static void arm_first(struct check *c)
{
	struct health *h = c->target->health;

	loop_arm_in(h->context.loop, &c->timer,
		    health_phase_ns(h->n_phases++, interval_ns(c->target)));
}

static void check_new(struct health_target *t, const struct addr *addr)
{
	struct check *c = xcalloc(1, sizeof(*c));

	c->target = t;
	c->addr = *addr;
	timer_init(&c->timer, on_due);
	list_init(&c->due_link);
	health_check_init(&c->run, t->health->context.loop, on_done);
	list_append(&t->checks, &c->link);
	t->health->n_checks++;
	arm_first(c);
}

/* It is neither due nor under way any more. */
static void check_stop(struct check *c)
{
	struct health *h = c->target->health;

	timer_disarm(&h->context.loop->timers, &c->timer);
	list_del(&c->due_link);
	if (!health_check_under_way(&c->run))
		return;
	health_check_abandon(&c->run);
	h->under_way--;
	fd_budget_give(h->context.fds, 1);
	if (!list_empty(&h->due))
		loop_again(h->context.loop, &h->begin);
}

static void check_free(struct check *c)
{
	check_stop(c);
	c->target->health->n_checks--;
	list_del(&c->link);
	free(c);
}

static bool has_check(const struct health_target *t, const struct addr *addr)
{
	list_for_each(e, &t->checks)
		if (addr_equal(&list_entry(e, struct check, link)->addr, addr))
			return true;
	return false;
}

static void follow_addresses(struct health_target *t)
{
	const struct endpoint_set *set = atomic_load(&t->backend->set);

	t->version = t->backend->set_version;
	list_for_each_safe(e, &t->checks) {
		struct check *c = list_entry(e, struct check, link);

		if (!backend_find(t->backend, &c->addr))
			check_free(c);
	}
	for (size_t i = 0; set && i < set->n; i++)
		if (!has_check(t, &set->endpoint[i].addr))
			check_new(t, &set->endpoint[i].addr);
}

static bool same_bytes(const struct health_bytes *a, const struct health_bytes *b)
{
	return a->n == b->n && !memcmp(a->data, b->data, a->n);
}

static bool same_conf(const struct health_conf *a, const struct health_conf *b)
{
	return a->interval_ms == b->interval_ms && a->timeout_ms == b->timeout_ms &&
	       a->rise == b->rise && a->fall == b->fall && a->port == b->port &&
	       same_bytes(&a->send, &b->send) && same_bytes(&a->expect, &b->expect);
}

/* What has changed takes effect at once: a check that is under way began by what was. */
static void follow_app(struct health_target *t, struct app *app)
{
	struct app *before = t->app;
	bool same = same_conf(&before->conf->health, &app->conf->health);

	t->app = app_get(app);
	list_for_each(e, &t->checks) {
		struct check *c = list_entry(e, struct check, link);

		c->run.conf = conf_of(t);
		if (same)
			continue;
		check_stop(c);
		arm_first(c);
	}
	app_put(before);
}

static struct health_target *target_new(struct health *h, struct app *app, struct backend *b)
{
	struct health_target *t = xcalloc(1, sizeof(*t));

	t->health = h;
	t->app = app_get(app);
	t->backend = b;
	t->version = b->set_version - 1;
	list_init(&t->checks);
	list_append(&h->targets, &t->link);
	b->checked = t;
	return t;
}

static void target_free(struct health_target *t)
{
	list_for_each_safe(e, &t->checks)
		check_free(list_entry(e, struct check, link));
	backend_forget_checks(t->backend, t->health->context.loop->now_ns);
	t->backend->checked = NULL;
	list_del(&t->link);
	app_put(t->app);
	free(t);
}

static void follow_backend(struct health *h, struct app *app, struct backend *b)
{
	struct health_target *t = b->checked ? b->checked : target_new(h, app, b);

	t->round = h->round;
	if (t->app != app)
		follow_app(t, app);
	if (t->version != b->set_version)
		follow_addresses(t);
}

void health_follow(struct health *h, const struct app_list *apps)
{
	h->round++;
	for (size_t a = 0; a < apps->n; a++) {
		struct app *app = apps->list[a];

		for (size_t i = 0; app->conf->health.on && i < app->n_backends; i++)
			follow_backend(h, app, app->backends[i]);
	}
	list_for_each_safe(e, &h->targets) {
		struct health_target *t = list_entry(e, struct health_target, link);

		if (t->round != h->round)
			target_free(t);
	}
}

/* --- life ------------------------------------------------------------------------------------ */

struct health *health_new(const struct health_context *context)
{
	struct health *h = xcalloc(1, sizeof(*h));
	int64_t fds = atomic_load(&context->fds->left) / FDS_SHARE;

	h->context = *context;
	h->under_way_max = (size_t)MAX(MIN(fds, UNDER_WAY_MAX), 1);
	h->rng = rng_seed(0);
	list_init(&h->targets);
	list_init(&h->due);
	work_init(&h->begin, on_begin);
	return h;
}

void health_free(struct health *h)
{
	if (!h)
		return;
	list_for_each_safe(e, &h->targets)
		target_free(list_entry(e, struct health_target, link));
	work_cancel(&h->begin);
	free(h);
}

struct health_figures health_figures(const struct health *h)
{
	struct health_figures f = { 0 };

	if (!h)
		return f;
	f = h->figures;
	f.addresses = h->n_checks;
	f.under_way = h->under_way;
	return f;
}
