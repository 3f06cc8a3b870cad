/* SPDX-License-Identifier: MIT */
#include "settler.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

struct settler {
	pthread_t thread;
	pthread_mutex_t lock; /* all below, and the desks' answers */
	pthread_cond_t asked_or_closing;
	struct list asked, waiting; /* waiting: for the period that runs */
	bool closing;
};

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* Under the lock. */
static void answer_all(struct settler *s)
{
	uint64_t one = 1;

	while (!list_empty(&s->waiting)) {
		struct settling *q = list_entry(s->waiting.next, struct settling, link);

		list_del(&q->link);
		list_append(&q->desk->answers, &q->link);
		/* It fails only when the counter is full, and then the reader has been told
		 * already. */
		if (write(q->desk->answered.fd, &one, sizeof(one)) < 0)
			continue;
	}
}

static void *settler_main(void *arg)
{
	struct settler *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->closing) {
		if (list_empty(&s->asked)) {
			pthread_cond_wait(&s->asked_or_closing, &s->lock);
			continue;
		}
		list_take(&s->asked, &s->waiting);
		pthread_mutex_unlock(&s->lock);
		membarrier(MEMBARRIER_CMD_GLOBAL);
		pthread_mutex_lock(&s->lock);
		answer_all(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int settler_open(struct settler **out)
{
	int commands = membarrier(MEMBARRIER_CMD_QUERY), rc;
	struct settler *s;

	if (commands < 0)
		return -errno;
	if (!(commands & MEMBARRIER_CMD_GLOBAL))
		return -ENOSYS;
	s = xcalloc(1, sizeof(*s));
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->asked_or_closing, NULL);
	list_init(&s->asked);
	list_init(&s->waiting);
	rc = pthread_create(&s->thread, NULL, settler_main, s);
	if (rc) {
		free(s);
		return -rc;
	}
	pthread_setname_np(s->thread, "shunt/settler");
	*out = s;
	return 0;
}

void settler_close(struct settler *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->closing = true;
	pthread_cond_signal(&s->asked_or_closing);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->asked_or_closing);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void on_answered(struct watch *w, uint32_t events)
{
	struct settler_desk *d = container_of(w, struct settler_desk, answered);
	struct list answers;
	uint64_t count;

	(void)events;
	/* The value does not matter, only that the fd is quiet again. */
	if (read(w->fd, &count, sizeof(count)) < 0)
		return;
	list_init(&answers);
	pthread_mutex_lock(&d->settler->lock);
	list_take(&d->answers, &answers);
	pthread_mutex_unlock(&d->settler->lock);
	while (!list_empty(&answers)) {
		struct settling *q = list_entry(answers.next, struct settling, link);

		list_del(&q->link);
		q->done(q);
	}
}

int settler_desk_open(struct settler_desk *d, struct settler *s, struct loop *loop)
{
	int fd, rc;

	*d = (struct settler_desk){
		.settler = s,
		.loop = loop,
		.answered = { .fd = -1, .ready = on_answered },
	};
	list_init(&d->answers);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = loop_add(loop, &d->answered, fd, EPOLLIN);
	if (rc)
		close(fd);
	return rc;
}

static void drop(struct list *questions, const struct settler_desk *d)
{
	list_for_each_safe(e, questions)
		if (list_entry(e, struct settling, link)->desk == d)
			list_del(e);
}

void settler_desk_close(struct settler_desk *d)
{
	int fd = d->answered.fd;

	if (!d->settler)
		return;
	pthread_mutex_lock(&d->settler->lock);
	drop(&d->settler->asked, d);
	drop(&d->settler->waiting, d);
	drop(&d->answers, d);
	pthread_mutex_unlock(&d->settler->lock);
	if (fd >= 0) {
		loop_remove(d->loop, &d->answered);
		close(fd);
	}
	*d = (struct settler_desk){ .answered.fd = -1 };
}

void settler_ask(struct settler_desk *d, struct settling *q)
{
	struct settler *s = d->settler;

	q->desk = d;
	pthread_mutex_lock(&s->lock);
	list_append(&s->asked, &q->link);
	pthread_cond_signal(&s->asked_or_closing);
	pthread_mutex_unlock(&s->lock);
}
