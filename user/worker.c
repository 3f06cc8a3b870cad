/* SPDX-License-Identifier: MIT */
#include "worker.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine_bypass.h"
#include "engine_sockmap.h"
#include "engine_wire.h"
#include "log.h"

static void signal_fd(int fd)
{
	uint64_t one = 1;

	/* It fails only when the counter is full, and then the reader has been told already. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

static void run_inbox(struct worker *w)
{
	struct list due;

	list_init(&due);
	pthread_mutex_lock(&w->lock);
	list_take(&w->inbox, &due);
	pthread_mutex_unlock(&w->lock);
	while (!list_empty(&due)) {
		struct message *m = list_entry(due.next, struct message, link);

		list_del(&m->link);
		m->run(m, w);
	}
}

static void on_inbox(struct watch *watch, uint32_t events)
{
	struct worker *w = container_of(watch, struct worker, inbox_watch);
	uint64_t count;

	(void)events;
	/* The value does not matter, only that the fd is quiet again. */
	if (read(watch->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("a worker can't read its mailbox: %m");
	run_inbox(w);
}

static void on_check_done(struct work *work)
{
	struct worker *w = container_of(work, struct worker, check_done);

	if (w->draining && !w->sessions.n_sessions)
		loop_stop(&w->loop);
}

static void on_session_closed(struct session_ctx *ctx)
{
	struct worker *w = container_of(ctx, struct worker, sessions);

	listener_set_fds_came_back(&w->listeners);
	if (w->draining)
		loop_again(&w->loop, &w->check_done);
}

static void on_cut(struct session_ctx *ctx)
{
	signal_fd(container_of(ctx, struct worker, sessions)->cut_fd);
}

int worker_init(struct worker *w, const struct worker_conf *conf)
{
	int fd, rc;

	*w = (struct worker){
		.done_fd = conf->done_fd,
		.cut_fd = conf->cut_fd,
		.inbox_watch = { .fd = -1 },
	};
	pthread_mutex_init(&w->lock, NULL);
	list_init(&w->inbox);
	w->inbox_watch.ready = on_inbox;
	work_init(&w->check_done, on_check_done);
	w->sessions = (struct session_ctx){
		.loop = &w->loop,
		.fds = conf->fds,
		.admission = conf->admission,
		.rng = conf->seed,
		.access_log = conf->access_log,
		.on_closed = on_session_closed,
		.on_cut = on_cut,
	};
	list_init(&w->sessions.sessions);
	list_init(&w->sessions.waiting);
	listener_set_init(&w->listeners, &w->sessions);
	rc = loop_init(&w->loop);
	if (rc)
		return rc;
	rc = waitq_desk_open(&w->sessions.desk, &w->loop);
	if (rc)
		return rc;
	rc = relay_pools_init(&w->sessions.pools, conf->max_buffers, conf->max_pipes);
	if (rc)
		return rc;
	w->sessions.pools.loop = &w->loop;
	w->sessions.pools.wake = session_wake;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = loop_add(&w->loop, &w->inbox_watch, fd, EPOLLIN);
	if (rc)
		close(fd);
	return rc;
}

int worker_use_sockmap(struct worker *w, uint32_t index, struct sockmap *m, bool pays)
{
	w->sessions.pools.sockmap_pays = pays;
	return sockmap_share_open(m, index, &w->sessions.pools);
}

int worker_use_wire(struct worker *w, uint32_t index, const struct wire_share_conf *conf)
{
	struct wire_share_conf own = *conf;

	own.describe = session_describe;
	return wire_share_open(&own, index, &w->sessions.pools);
}

void worker_close(struct worker *w)
{
	run_inbox(w);
	listener_set_free(&w->listeners);
	waitq_desk_close(&w->sessions.desk);
	bypass_share_close(&w->sessions.pools);
	sockmap_share_close(&w->sessions.pools);
	wire_share_close(&w->sessions.pools);
	relay_pools_close(&w->sessions.pools);
	if (w->inbox_watch.fd >= 0)
		close(w->inbox_watch.fd);
	w->inbox_watch.fd = -1;
	loop_close(&w->loop);
	pthread_mutex_destroy(&w->lock);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	int rc = loop_run(&w->loop);

	if (rc)
		log_error("a worker has ended: epoll_wait: %s", strerror(-rc));
	atomic_store(&w->done, true);
	signal_fd(w->done_fd);
	return NULL;
}

int worker_start(struct worker *w, unsigned int index)
{
	char name[16]; /* TASK_COMM_LEN */
	int rc = pthread_create(&w->thread, NULL, worker_main, w);

	if (rc)
		return -rc;
	w->started = true;
	snprintf(name, sizeof(name), "shunt/%u", index);
	pthread_setname_np(w->thread, name);
	return 0;
}

void worker_join(struct worker *w)
{
	if (w->started)
		pthread_join(w->thread, NULL);
	w->started = false;
}

void worker_post(struct worker *w, struct message *m)
{
	list_init(&m->link);
	pthread_mutex_lock(&w->lock);
	list_append(&w->inbox, &m->link);
	pthread_mutex_unlock(&w->lock);
	signal_fd(w->inbox_watch.fd);
}

void worker_run_orphans(struct worker *w)
{
	if (!w->started || atomic_load(&w->done))
		run_inbox(w);
}

void worker_drain(struct worker *w)
{
	w->draining = true;
	listener_set_close(&w->listeners);
	loop_again(&w->loop, &w->check_done);
}

void worker_leave(struct worker *w)
{
	worker_drain(w);
	wire_share_leave_behind(&w->sessions.pools);
	list_for_each_safe(e, &w->sessions.sessions) {
		struct session *s = list_entry(e, struct session, link);

		if (relay_wire_flow(&s->relay) >= 0)
			session_close(s, CLOSE_LEFT);
	}
}

void worker_stop(struct worker *w, enum close_reason reason)
{
	worker_drain(w);
	while (!list_empty(&w->sessions.sessions))
		session_close(list_entry(w->sessions.sessions.next, struct session, link), reason);
}
