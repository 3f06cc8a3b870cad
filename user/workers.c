/* SPDX-License-Identifier: MIT */
#include "workers.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine_wire.h"
#include "log.h"

int workers_init(struct workers *ws, size_t n, const struct worker_conf *conf)
{
	*ws = (struct workers){ .n = n, .done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	if (ws->done_fd < 0) {
		log_error("eventfd: %m");
		return -errno;
	}
	ws->list = xcalloc(n, sizeof(*ws->list));
	for (size_t i = 0; i < n; i++) {
		struct worker_conf own = *conf;
		int rc;

		own.done_fd = ws->done_fd;
		own.seed = rng_seed(i + 1);
		rc = worker_init(&ws->list[i], &own);
		ws->n_inited++;
		if (rc) {
			log_error("worker %zu can't be set up: %s", i, strerror(-rc));
			return rc;
		}
	}
	return 0;
}

int workers_use_sockmap(struct workers *ws, struct sockmap *m, bool pays)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < ws->n; i++)
		rc = worker_use_sockmap(&ws->list[i], (uint32_t)i, m, pays);
	return rc;
}

int workers_use_wire(struct workers *ws, const struct wire_share_conf *conf)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < ws->n; i++)
		rc = worker_use_wire(&ws->list[i], (uint32_t)i, conf);
	for (size_t i = 0; rc && i < ws->n; i++)
		wire_share_close(&ws->list[i].sessions.pools);
	return rc;
}

int workers_start(struct workers *ws)
{
	ws->running = true;
	for (size_t i = 0; i < ws->n; i++) {
		int rc = worker_start(&ws->list[i], (unsigned int)i);

		if (rc) {
			log_error("worker %zu can't be started: %s", i, strerror(-rc));
			return rc;
		}
	}
	return 0;
}

enum order_kind { ORDER_DRAIN, ORDER_LEAVE, ORDER_STOP };

struct order {
	struct message message;
	enum order_kind kind;
	enum close_reason reason; /* of ORDER_STOP */
};

static void run_order(struct message *m, struct worker *w)
{
	struct order *o = container_of(m, struct order, message);

	switch (o->kind) {
	case ORDER_DRAIN:
		worker_drain(w);
		break;
	case ORDER_LEAVE:
		worker_leave(w);
		break;
	case ORDER_STOP:
		worker_stop(w, o->reason);
		break;
	}
	free(o);
}

static void order_all(struct workers *ws, enum order_kind kind, enum close_reason reason)
{
	ws->draining = true;
	if (!ws->running)
		return;
	for (size_t i = 0; i < ws->n_inited; i++) {
		struct order *o = xcalloc(1, sizeof(*o));

		*o = (struct order){ .message.run = run_order, .kind = kind, .reason = reason };
		worker_post(&ws->list[i], &o->message);
	}
}

void workers_drain(struct workers *ws)
{
	order_all(ws, ORDER_DRAIN, CLOSE_STOPPED);
}

void workers_leave(struct workers *ws)
{
	order_all(ws, ORDER_LEAVE, CLOSE_LEFT);
}

void workers_stop(struct workers *ws, enum close_reason reason)
{
	order_all(ws, ORDER_STOP, reason);
}

void workers_run_orphans(struct workers *ws)
{
	for (size_t i = 0; i < ws->n_inited; i++)
		worker_run_orphans(&ws->list[i]);
}

bool workers_all_done(const struct workers *ws)
{
	for (size_t i = 0; i < ws->n_inited; i++)
		if (ws->list[i].started && !atomic_load(&ws->list[i].done))
			return false;
	return true;
}

bool workers_ready(const struct workers *ws)
{
	return ws->running && !ws->draining;
}

const char *workers_state(const struct workers *ws)
{
	return ws->draining ? "draining" : ws->running ? "ready" : "starting";
}

void workers_close(struct workers *ws)
{
	for (size_t i = 0; i < ws->n_inited; i++)
		worker_join(&ws->list[i]);
	for (size_t i = 0; i < ws->n_inited; i++)
		worker_close(&ws->list[i]);
	free(ws->list);
	if (ws->done_fd >= 0)
		close(ws->done_fd);
	*ws = (struct workers){ .done_fd = -1 };
}

struct errand_part {
	struct message message;
	struct errand *errand;
	size_t index;
};

/* One less that keeps the errand from its end. */
static void leave_errand(struct errand *e)
{
	if (atomic_fetch_sub(&e->left, 1) > 1)
		return;
	free(e->parts);
	e->done(e);
}

static void run_part(struct message *m, struct worker *w)
{
	struct errand_part *part = container_of(m, struct errand_part, message);
	struct errand *e = part->errand;

	e->run(e, w, part->index);
	leave_errand(e);
}

void workers_send(struct workers *ws, struct errand *e)
{
	e->parts = xcalloc(ws->n_inited, sizeof(*e->parts));
	/* One more than there are parts: it does not end while parts are still handed out. */
	atomic_store(&e->left, ws->n_inited + 1);
	for (size_t i = 0; i < ws->n_inited; i++) {
		e->parts[i] =
			(struct errand_part){ .message.run = run_part, .errand = e, .index = i };
		worker_post(&ws->list[i], &e->parts[i].message);
	}
	workers_run_orphans(ws);
	leave_errand(e);
}

struct retirement {
	struct errand errand;
	void *what;
};

/* That a worker gets to it is all that is wanted. */
static void say_goodbye(struct errand *e, struct worker *w, size_t index)
{
	(void)e;
	(void)w;
	(void)index;
}

static void free_retired(struct errand *e)
{
	struct retirement *r = container_of(e, struct retirement, errand);

	free(r->what);
	free(r);
}

void workers_retire(struct workers *ws, void *what)
{
	struct retirement *r = xcalloc(1, sizeof(*r));

	*r = (struct retirement){
		.errand = { .run = say_goodbye, .done = free_retired },
		.what = what,
	};
	workers_send(ws, &r->errand);
}
