/* SPDX-License-Identifier: MIT */
#include "reload.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine.h"
#include "log.h"
#include "session_drain.h"

#define LOGGED_CHANGES_MAX 100 /* of one reload; the answer has all */

enum reload_state { RELOAD_IDLE, RELOAD_RESOLVING, RELOAD_COMMITTING };

struct reload {
	struct reload_context c;
	enum reload_state state;
	struct list waiting; /* for the one that is under way */
	struct list later;   /* for the next one */
	bool again;          /* there is to be a next one */
	struct work begin;
	struct timer patience;  /* with names */
	struct watch committed; /* an eventfd: every worker has done its part */
	struct list leaves;
	/* Of the one that is under way. */
	uint64_t began_ns;
	struct reload_answer *answer;
	struct config *next;
	struct app_list next_apps;
};

/* --- the answer ------------------------------------------------------------------------------ */

static void keep_problem(struct reload_answer *a, const char *text)
{
	if (a->total_problems++ >= RELOAD_PROBLEMS_MAX)
		return;
	a->problems = xreallocarray(a->problems, a->n_problems + 1, sizeof(*a->problems));
	a->problems[a->n_problems++] = xstrdup(text);
}

static void add_problem(void *arg, const char *text)
{
	log_error("%s", text);
	keep_problem(arg, text);
}

static void add_note(void *arg, const char *text)
{
	log_warning("%s", text);
	keep_problem(arg, text);
}

/* Of the configuration's file: its errors, by add_problem(), or its notes. */
static void add_all(struct reload *r, const struct config_errors *errors,
		    void (*add)(void *arg, const char *text))
{
	char text[1024];

	for (size_t i = 0; i < errors->n; i++) {
		config_error_format(&errors->list[i], r->c.source->path, text, sizeof(text));
		add(r->answer, text);
	}
	r->answer->total_problems += errors->total - errors->n;
}

void reload_answer_put(struct reload_answer *a)
{
	if (!a || --a->refs)
		return;
	for (size_t i = 0; i < a->n_problems; i++)
		free(a->problems[i]);
	free(a->problems);
	config_diff_free(&a->diff);
	free(a);
}

static void log_change(const struct config_change *c)
{
	struct log_record r;

	log_record_begin(&r, LOG_LEVEL_INFO, "config_change");
	log_record_str(&r, "change", config_change_names[c->kind]);
	if (c->app)
		log_record_str(&r, "app", c->app);
	if (c->key)
		log_record_str(&r, "key", c->key);
	if (c->from)
		log_record_str(&r, "from", c->from);
	if (c->to)
		log_record_str(&r, "to", c->to);
	if (c->needs_restart)
		log_record_str(&r, "needs", "restart");
	log_record_end(&r);
}

static void log_done(const struct reload *r)
{
	const struct config_diff *d = &r->answer->diff;
	struct log_record record;

	for (size_t i = 0; i < d->n && i < LOGGED_CHANGES_MAX; i++)
		log_change(&d->list[i]);
	log_record_begin(&record, LOG_LEVEL_NOTICE, "reloaded");
	log_record_u64(&record, "changes", d->n);
	log_record_u64(&record, "apps_added", d->added);
	log_record_u64(&record, "apps_removed", d->removed);
	log_record_u64(&record, "apps_changed", d->changed);
	log_record_u64(&record, "need_restart", d->need_restart);
	log_record_ms(&record, "duration_ms", r->c.loop->now_ns - r->began_ns);
	log_record_end(&record);
}

/* Tells who waits, and begins the next one if somebody has asked meanwhile. */
static void finish(struct reload *r)
{
	struct reload_answer *a = r->answer;
	struct list due;

	list_init(&due);
	list_take(&r->waiting, &due);
	list_take(&r->later, &r->waiting);
	r->answer = NULL;
	r->state = RELOAD_IDLE;
	if (r->again)
		loop_again(r->c.loop, &r->begin);
	r->again = false;
	while (!list_empty(&due)) {
		struct reload_waiter *w = list_entry(due.next, struct reload_waiter, link);

		list_del(&w->link);
		a->refs++;
		w->done(w, a);
	}
	reload_answer_put(a);
}

static void fail(struct reload *r, const char *why)
{
	struct reload_answer *a = r->answer;

	snprintf(a->error, sizeof(a->error), "%s; nothing has changed", why);
	log_error("reload: %s", a->error);
	config_diff_free(&a->diff);
	config_free(r->next);
	r->next = NULL;
	if (r->state == RELOAD_RESOLVING) {
		names_use(r->c.names, &r->c.apps->running);
		app_list_free(&r->next_apps);
	}
	finish(r);
}

static void fail_by_problems(struct reload *r, const char *of)
{
	size_t n = r->answer->total_problems;
	char why[96];

	snprintf(why, sizeof(why), "%zu error%s %s", n, n == 1 ? "" : "s", of);
	fail(r, why);
}

/* --- what has been removed, in the end --------------------------------------------------------- */

/* A time when sessions of what one reload removed are to be closed. */
struct leave {
	struct list link;
	struct timer timer;
	struct reload *reload;
};

struct closing {
	struct errand errand;
	uint64_t now_ns;
	_Atomic size_t closed;
};

static void close_left(struct errand *e, struct worker *w, size_t index)
{
	struct closing *c = container_of(e, struct closing, errand);

	(void)index;
	atomic_fetch_add(&c->closed, session_drain(&w->sessions, c->now_ns));
}

static void end_closing(struct errand *e)
{
	struct closing *c = container_of(e, struct closing, errand);
	size_t n = atomic_load(&c->closed);

	if (n)
		log_warning("DrainTimeout has passed since a reload: %zu connection%s of apps and "
			    "targets that it removed %s been closed",
			    n, n == 1 ? "" : "s", n == 1 ? "has" : "have");
	free(c);
}

static void on_leave(struct timer *t)
{
	struct leave *l = container_of(t, struct leave, timer);
	struct closing *c = xcalloc(1, sizeof(*c));

	c->errand.run = close_left;
	c->errand.done = end_closing;
	c->now_ns = l->reload->c.loop->now_ns;
	workers_send(l->reload->c.workers, &c->errand);
	list_del(&l->link);
	free(l);
}

static bool removes_something(const struct config_diff *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->list[i].kind == CONFIG_REMOVED)
			return true;
	return false;
}

/* When what is removed now is to be left; 0: never. */
static uint64_t plan_leaving(struct reload *r)
{
	uint32_t limit_ms = r->c.config->drain_timeout_ms;
	struct leave *l;

	if (!limit_ms || !removes_something(&r->answer->diff))
		return 0;
	l = xcalloc(1, sizeof(*l));
	l->reload = r;
	timer_init(&l->timer, on_leave);
	list_append(&r->leaves, &l->link);
	loop_arm_in(r->c.loop, &l->timer, limit_ms * NSEC_PER_MSEC);
	return l->timer.at_ns;
}

/* --- commit ---------------------------------------------------------------------------------- */

struct access_switch {
	struct errand errand;
	bool on;
};

static void switch_access_log(struct errand *e, struct worker *w, size_t index)
{
	(void)index;
	w->sessions.access_log = container_of(e, struct access_switch, errand)->on;
}

static void end_access_switch(struct errand *e)
{
	free(container_of(e, struct access_switch, errand));
}

static void configure_log(const struct log_conf *conf)
{
	int rc = log_configure(conf);

	if (rc)
		log_error("the log file %s can't be opened: %s: lines still go where they went",
			  conf->file, strerror(-rc));
}

static void adopt_config(struct reload *r)
{
	struct config *c = r->c.config;
	struct log_conf log = c->log;
	struct access_switch *s;
	bool access_log = c->access_log;

	config_adopt_live(c, r->next);
	config_free(r->next);
	r->next = NULL;
	admission_change(r->c.admission, c->max_connections);
	/* Only then: what an operator has set otherwise stays. */
	if (log.level != c->log.level || log.format != c->log.format || log.output != c->log.output)
		configure_log(&c->log);
	if (access_log == c->access_log)
		return;
	s = xcalloc(1, sizeof(*s));
	s->errand.run = switch_access_log;
	s->errand.done = end_access_switch;
	s->on = c->access_log;
	workers_send(r->c.workers, &s->errand);
}

/* On the thread of the last worker. */
static void tell_committed(void *arg)
{
	struct reload *r = arg;
	uint64_t one = 1;

	/* It can't fail: it is read before the next one is committed. */
	if (write(r->committed.fd, &one, sizeof(one)) < 0)
		return;
}

static void on_committed(struct watch *w, uint32_t events)
{
	struct reload *r = container_of(w, struct reload, committed);
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) < 0)
		return;
	log_done(r);
	finish(r);
}

static void log_new_apps(const struct reload *r)
{
	for (size_t i = 0; i < r->next_apps.n && i < LOGGED_CHANGES_MAX; i++)
		if (r->answer->diff.match[i].before == CONFIG_DIFF_NEW)
			app_log(r->next_apps.list[i]);
}

static void commit(struct reload *r)
{
	const struct ports_context context = {
		.workers = r->c.workers,
		.fds = r->c.fds,
		.complain = add_problem,
		.arg = r->answer,
	};
	struct ports_plan *plan;

	timer_disarm(&r->c.loop->timers, &r->patience);
	if (r->c.workers->draining) {
		fail(r, "the daemon is stopping");
		return;
	}
	if (ports_plan(r->c.ports, &r->next_apps, &context, &plan)) {
		fail_by_problems(r, "with ports");
		return;
	}
	r->state = RELOAD_COMMITTING;
	add_all(r, &r->next->notes, add_note);
	adopt_config(r);
	log_new_apps(r);
	names_use(r->c.names, &r->next_apps);
	ports_commit(r->c.ports, plan, tell_committed, r);
	apps_switch(r->c.apps, &r->next_apps, r->answer->diff.match, plan_leaving(r));
	r->c.switched(r->c.arg);
}

/* --- from the file to what would run ----------------------------------------------------------- */

static void compare(struct reload *r)
{
	const struct app_list *running = &r->c.apps->running;
	const struct app_conf **confs = xcalloc(running->n, sizeof(struct app_conf *));
	struct config_diff *d = &r->answer->diff;

	for (size_t i = 0; i < running->n; i++)
		confs[i] = running->list[i]->conf;
	config_diff(r->c.config, confs, running->n, r->next, d);
	free(confs);
	for (size_t i = 0; i < d->n; i++) {
		struct config_change *c = &d->list[i];
		const struct engine *engine = NULL;

		if (c->key && !strcmp(c->key, "Engine"))
			engine = engine_find(c->to);
		c->needs_restart |= engine && !r->c.engine_runs(r->c.arg, engine);
		d->need_restart += engine && c->needs_restart;
	}
}

static void on_patience(struct timer *t)
{
	commit(container_of(t, struct reload, patience));
}

void reload_on_names(struct reload *r)
{
	if (r->state == RELOAD_RESOLVING && !names_pending(r->c.names))
		commit(r);
}

static void resolve(struct reload *r)
{
	int rc;

	r->next_apps = apps_make(r->next, &r->c.apps->running, r->answer->diff.match);
	r->state = RELOAD_RESOLVING;
	if (apps_check_engines(&r->next_apps, add_problem, r->answer)) {
		fail_by_problems(r, "with engines");
		return;
	}
	if (apps_check_transparent(&r->next_apps, add_problem, r->answer)) {
		fail_by_problems(r, "with Transparent");
		return;
	}
	rc = names_want(r->c.names, &r->next_apps);
	if (rc) {
		fail(r, strerror(-rc));
		return;
	}
	loop_arm_in(r->c.loop, &r->patience, RELOAD_NAMES_MAX_MS * NSEC_PER_MSEC);
	reload_on_names(r);
}

static void on_begin(struct work *w)
{
	struct reload *r = container_of(w, struct reload, begin);
	const struct reload_source *source = r->c.source;
	struct config_errors errors = { 0 };

	r->began_ns = clock_ns();
	r->answer = xcalloc(1, sizeof(*r->answer));
	r->answer->refs = 1;
	if (r->c.workers->draining) {
		fail(r, "the daemon is stopping");
		return;
	}
	if (!strcmp(source->path, "-")) {
		fail(r, "the configuration came from standard input, which can't be read again");
		return;
	}
	r->next = source->load(source, &errors);
	add_all(r, &errors, add_problem);
	config_errors_free(&errors);
	if (!r->next) {
		fail_by_problems(r, "in the configuration");
		return;
	}
	compare(r);
	resolve(r);
}

void reload_ask(struct reload *r, struct reload_waiter *waiter)
{
	bool is_under_way = r->answer != NULL;

	if (waiter)
		list_append(is_under_way ? &r->later : &r->waiting, &waiter->link);
	if (is_under_way)
		r->again = true;
	else
		loop_again(r->c.loop, &r->begin);
}

void reload_forget(struct reload_waiter *w)
{
	list_del(&w->link);
}

/* --- life ------------------------------------------------------------------------------------ */

int reload_open(const struct reload_context *context, struct reload **out)
{
	struct reload *r = xcalloc(1, sizeof(*r));
	int fd, rc;

	r->c = *context;
	r->committed = (struct watch){ .fd = -1, .ready = on_committed };
	list_init(&r->waiting);
	list_init(&r->later);
	list_init(&r->leaves);
	work_init(&r->begin, on_begin);
	timer_init(&r->patience, on_patience);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	rc = fd < 0 ? -errno : loop_add(r->c.loop, &r->committed, fd, EPOLLIN);
	if (!rc) {
		*out = r;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	free(r);
	return rc;
}

void reload_close(struct reload *r)
{
	int fd;

	if (!r)
		return;
	list_for_each_safe(e, &r->leaves) {
		struct leave *l = list_entry(e, struct leave, link);

		timer_disarm(&r->c.loop->timers, &l->timer);
		free(l);
	}
	work_cancel(&r->begin);
	timer_disarm(&r->c.loop->timers, &r->patience);
	fd = r->committed.fd;
	loop_remove(r->c.loop, &r->committed);
	close(fd);
	config_free(r->next);
	app_list_free(&r->next_apps);
	reload_answer_put(r->answer);
	free(r);
}
