/* SPDX-License-Identifier: MIT */
#include "app.h"

#include <string.h>

static int compare_by_text(const void *va, const void *vb)
{
	const struct backend *const *a = va, *const *b = vb;

	return strcmp((*a)->text, (*b)->text);
}

static int compare_text(const void *text, const void *backend)
{
	return strcmp(text, (*(const struct backend *const *)backend)->text);
}

/* A target stays if there was one of the very same text. */
static void take_backends(struct app *app, const struct app *before)
{
	size_t n_before = before ? before->n_backends : 0;
	struct backend **sorted = xcalloc(n_before, sizeof(struct backend *));

	if (n_before) {
		memcpy(sorted, before->backends, n_before * sizeof(struct backend *));
		qsort(sorted, n_before, sizeof(struct backend *), compare_by_text);
	}
	for (size_t i = 0; i < app->n_backends; i++) {
		const struct target_conf *target = &app->conf->targets[i];
		struct backend **same = n_before ? bsearch(target->text, sorted, n_before,
							   sizeof(struct backend *), compare_text)
						 : NULL;

		app->backends[i] = same ? backend_get(*same) : backend_new(target);
	}
	free(sorted);
}

static struct app_shared *shared_new(void)
{
	struct app_shared *s = xcalloc(1, sizeof(*s));

	waitq_init(&s->queue);
	return s;
}

struct app_shared *app_shared_get(struct app_shared *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void app_shared_put(struct app_shared *s)
{
	if (atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	waitq_destroy(&s->queue);
	free(s);
}

struct app *app_new(struct app_conf *conf, const struct balancer *balancer,
		    const struct engine *engine, const struct app *before)
{
	struct app *app = xcalloc(1, sizeof(*app));

	*app = (struct app){
		.refs = 1,
		.conf = xcalloc(1, sizeof(*conf)),
		.balancer = balancer,
		.engine = engine,
		.shared = app_shared_get(before ? before->shared : shared_new()),
		.n_backends = conf->n_targets,
	};
	*app->conf = *conf;
	*conf = (struct app_conf){ 0 };
	app->backends = xcalloc(app->n_backends, sizeof(struct backend *));
	take_backends(app, before);
	return app;
}

struct app *app_get(struct app *app)
{
	atomic_fetch_add_explicit(&app->refs, 1, memory_order_relaxed);
	return app;
}

void app_put(struct app *app)
{
	if (!app || atomic_fetch_sub(&app->refs, 1) > 1)
		return;
	for (size_t i = 0; i < app->n_backends; i++)
		backend_put(app->backends[i]);
	app_shared_put(app->shared);
	app_conf_free(app->conf);
	free(app->conf);
	free(app->backends);
	free(app->wheel);
	free(app->schedule);
	free(app);
}

void app_replaced(const struct app *before, const struct app *after, uint64_t leave_by_ns)
{
	for (size_t i = 0; i < before->n_backends; i++)
		atomic_store(&before->backends[i]->leave_by_ns, leave_by_ns);
	/* Those that stay are among them: for an instant they had a time that is far off. */
	for (size_t i = 0; i < after->n_backends; i++)
		atomic_store(&after->backends[i]->leave_by_ns, 0);
}

void app_removed(const struct app *app, uint64_t leave_by_ns)
{
	atomic_store(&app->shared->leave_by_ns, leave_by_ns);
}

static void add_counter(_Atomic uint64_t *sum, const _Atomic uint64_t *counter)
{
	atomic_fetch_add(sum, atomic_load(counter));
}

void app_shared_add(struct app_shared *sum, const struct app_shared *s)
{
	add_counter(&sum->accepted, &s->accepted);
	add_counter(&sum->failovers, &s->failovers);
	for (size_t i = 0; i < N_CLOSE_REASONS; i++)
		add_counter(&sum->closed[i], &s->closed[i]);
	add_counter(&sum->bytes_to_backend, &s->bytes_to_backend);
	add_counter(&sum->bytes_to_client, &s->bytes_to_client);
}

struct app_list app_list_copy(const struct app_list *l)
{
	struct app_list copy = { .list = xcalloc(l->n, sizeof(struct app *)), .n = l->n };

	for (size_t i = 0; i < l->n; i++)
		copy.list[i] = app_get(l->list[i]);
	return copy;
}

void app_list_add(struct app_list *l, struct app *app)
{
	l->list = xreallocarray(l->list, l->n + 1, sizeof(struct app *));
	l->list[l->n++] = app_get(app);
}

void app_list_free(struct app_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		app_put(l->list[i]);
	free(l->list);
	*l = (struct app_list){ 0 };
}
