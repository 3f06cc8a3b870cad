/* SPDX-License-Identifier: MIT */
#include "flows.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "log.h"

void flows_free(struct flows *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++)
		session_snapshots_free(&f->part[i].sessions);
	free(f);
}

/* From the thread of the last worker that answered. */
static void send_back(struct flows *f)
{
	struct flows_desk *d = f->desk;
	uint64_t one = 1;

	pthread_mutex_lock(&d->lock);
	list_append(&d->mailbox, &f->link);
	pthread_mutex_unlock(&d->lock);
	/* It fails only when the counter is full, and then the reader has been told already. */
	if (write(d->returned.fd, &one, sizeof(one)) < 0)
		return;
}

static void run_part(struct message *m, struct worker *w)
{
	struct flows_part *part = container_of(m, struct flows_part, message);
	struct flows *f = part->flows;

	if (session_snapshots_take(&w->sessions, &part->sessions))
		atomic_store(&f->failed, true);
	if (atomic_fetch_sub(&f->left, 1) == 1)
		send_back(f);
}

static void on_returned(struct watch *w, uint32_t events)
{
	struct flows_desk *d = container_of(w, struct flows_desk, returned);
	struct list due;
	uint64_t count;

	(void)events;
	/* The value does not matter, only that the fd is quiet again. */
	if (read(w->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_error("the mailbox for live sessions can't be read: %m");
	list_init(&due);
	pthread_mutex_lock(&d->lock);
	list_take(&d->mailbox, &due);
	pthread_mutex_unlock(&d->lock);
	while (!list_empty(&due)) {
		struct flows *f = list_entry(due.next, struct flows, link);

		list_del(&f->link);
		if (f->done)
			f->done(f, f->arg);
		else
			flows_free(f);
	}
}

int flows_desk_open(struct flows_desk *d, struct loop *loop, struct workers *workers)
{
	int fd, rc;

	*d = (struct flows_desk){
		.loop = loop,
		.workers = workers,
		.returned = { .fd = -1, .ready = on_returned },
	};
	pthread_mutex_init(&d->lock, NULL);
	list_init(&d->mailbox);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = loop_add(loop, &d->returned, fd, EPOLLIN);
	if (rc)
		close(fd);
	return rc;
}

void flows_desk_close(struct flows_desk *d)
{
	int fd = d->returned.fd;

	list_for_each_safe(e, &d->mailbox)
		flows_free(list_entry(e, struct flows, link));
	if (fd >= 0) {
		loop_remove(d->loop, &d->returned);
		close(fd);
	}
	pthread_mutex_destroy(&d->lock);
}

struct flows *flows_ask(struct flows_desk *d, void (*done)(struct flows *f, void *arg), void *arg)
{
	size_t n = d->workers->n_inited;
	struct flows *f = xcalloc(1, sizeof(*f) + n * sizeof(f->part[0]));

	f->desk = d;
	f->done = done;
	f->arg = arg;
	f->n = n;
	list_init(&f->link);
	/* One more than there are parts: nothing is sent back while parts are still handed out. */
	atomic_store(&f->left, n + 1);
	for (size_t i = 0; i < n; i++) {
		f->part[i].flows = f;
		f->part[i].message.run = run_part;
		worker_post(&d->workers->list[i], &f->part[i].message);
	}
	workers_run_orphans(d->workers);
	if (atomic_fetch_sub(&f->left, 1) == 1)
		send_back(f);
	return f;
}

void flows_forget(struct flows *f)
{
	if (f)
		f->done = NULL;
}

size_t flows_count(const struct flows *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++)
		n += f->part[i].sessions.n;
	return n;
}
