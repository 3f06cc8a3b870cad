/* SPDX-License-Identifier: MIT */
#include "cutter.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"
#include "session_drain.h"
#include "wire_keeper.h"

/* What is rung for within this time is looked for at once. */
#define LOOK_AFTER_MS 20

struct cut {
	struct errand errand;
	_Atomic size_t closed;
};

static void cut_sessions(struct errand *e, struct worker *w, size_t index)
{
	struct cut *c = container_of(e, struct cut, errand);

	(void)index;
	atomic_fetch_add(&c->closed, session_cut(&w->sessions));
}

static void end_cut(struct errand *e)
{
	struct cut *c = container_of(e, struct cut, errand);
	size_t n = atomic_load(&c->closed);

	if (n)
		log_notice("%zu connection%s of targets that are down (OnDown) or disabled %s been "
			   "closed",
			   n, n == 1 ? "" : "s", n == 1 ? "has" : "have");
	free(c);
}

static const struct backend *find_backend(const struct apps *apps, const struct wire_flow *id)
{
	for (size_t a = 0; a < apps->running.n; a++) {
		const struct app *app = apps->running.list[a];

		if (strcmp(app->conf->name, id->app))
			continue;
		for (size_t i = 0; i < app->n_backends; i++)
			if (!strcmp(app->backends[i]->text, id->target))
				return app->backends[i];
		return NULL;
	}
	return NULL;
}

/* The same for a flow that the daemon before has left; NULL: it may go on. */
static const char *why_cut(void *arg, const struct wire_flow *id)
{
	const struct cutter *c = arg;
	const struct backend *b = find_backend(c->apps, id);

	enum close_reason why = b ? backend_why_cut(b, id->opened_ns) : N_CLOSE_REASONS;

	return why == N_CLOSE_REASONS ? NULL : close_reasons[why].name;
}

static void on_look(struct timer *t)
{
	struct cutter *c = container_of(t, struct cutter, look);
	struct wire_keeper *keeper = wiring_keeper(c->wiring);
	struct cut *cut = xcalloc(1, sizeof(*cut));

	if (wire_keeper_count(keeper))
		wire_keeper_judge(keeper, why_cut, c);
	cut->errand.run = cut_sessions;
	cut->errand.done = end_cut;
	workers_send(c->workers, &cut->errand);
}

static void on_bell(struct watch *w, uint32_t events)
{
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) == sizeof(count))
		cutter_ring(container_of(w, struct cutter, bell));
}

void cutter_ring(struct cutter *c)
{
	if (!timer_armed(&c->look))
		loop_arm_in(c->loop, &c->look, LOOK_AFTER_MS * NSEC_PER_MSEC);
}

int cutter_open(struct cutter *c, struct loop *loop, struct workers *workers,
		const struct apps *apps)
{
	int fd, rc;

	*c = (struct cutter){
		.loop = loop,
		.workers = workers,
		.apps = apps,
		.bell = { .fd = -1, .ready = on_bell },
	};
	timer_init(&c->look, on_look);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = loop_add(loop, &c->bell, fd, EPOLLIN);
	if (rc)
		close(fd);
	return rc;
}

void cutter_close(struct cutter *c)
{
	int fd = c->bell.fd;

	if (!c->loop)
		return;
	timer_disarm(&c->loop->timers, &c->look);
	loop_remove(c->loop, &c->bell);
	if (fd >= 0)
		close(fd);
	*c = (struct cutter){ 0 };
}
