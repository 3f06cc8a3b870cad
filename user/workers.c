/* SPDX-License-Identifier: MIT */
#include "workers.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

struct order {
	struct message message;
	bool stop;
	enum close_reason reason;
};

static void run_order(struct message *m, struct worker *w)
{
	struct order *o = container_of(m, struct order, message);

	if (o->stop)
		worker_stop(w, o->reason);
	else
		worker_drain(w);
	free(o);
}

static void order_all(struct workers *ws, bool stop, enum close_reason reason)
{
	ws->draining = true;
	if (!ws->running)
		return;
	for (size_t i = 0; i < ws->n_inited; i++) {
		struct order *o = xcalloc(1, sizeof(*o));

		*o = (struct order){ .message.run = run_order, .stop = stop, .reason = reason };
		worker_post(&ws->list[i], &o->message);
	}
}

void workers_drain(struct workers *ws)
{
	order_all(ws, false, CLOSE_STOPPED);
}

void workers_stop(struct workers *ws, enum close_reason reason)
{
	order_all(ws, true, reason);
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

/* A message to each worker; the last one that has run it frees the whole. */
struct retirement {
	void *what;
	_Atomic size_t left;
	struct goodbye {
		struct message message;
		struct retirement *retirement;
	} goodbye[];
};

static void run_goodbye(struct message *m, struct worker *w)
{
	struct retirement *r = container_of(m, struct goodbye, message)->retirement;

	(void)w;
	if (atomic_fetch_sub(&r->left, 1) > 1)
		return;
	free(r->what);
	free(r);
}

void workers_retire(struct workers *ws, void *what)
{
	struct retirement *r;

	if (!ws->running) {
		free(what);
		return;
	}
	r = xcalloc(1, sizeof(*r) + ws->n * sizeof(r->goodbye[0]));
	r->what = what;
	atomic_store(&r->left, ws->n);
	for (size_t i = 0; i < ws->n; i++) {
		r->goodbye[i].message.run = run_goodbye;
		r->goodbye[i].retirement = r;
		worker_post(&ws->list[i], &r->goodbye[i].message);
	}
}
