/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "client.h"
#include "top.h"

static struct top_row *new_row(struct top_rows *rows)
{
	if (rows->n == rows->size) {
		rows->size = MAX(16u, 2 * rows->size);
		rows->list = xreallocarray(rows->list, rows->size, sizeof(*rows->list));
	}
	rows->list[rows->n] = (struct top_row){ 0 };
	return &rows->list[rows->n++];
}

/* Ends that nobody wanted: all but those in good order and of silence. */
static uint64_t count_failed(const cJSON *closed)
{
	const cJSON *count;
	uint64_t n = 0;

	cJSON_ArrayForEach(count, closed)
	{
		if (strcmp(count->string, "done") && strcmp(count->string, "idle_timeout"))
			n += (uint64_t)count->valuedouble;
	}
	return n;
}

static void fill(struct top_row *r, const cJSON *row)
{
	r->app = xstrdup(client_text(row, "app"));
	r->active = client_number(row, "active");
	r->count[TOP_TO_BACKEND] = client_number(row, "bytes_to_backend");
	r->count[TOP_TO_CLIENT] = client_number(row, "bytes_to_client");
}

static void add_app(struct top_sample *s, const cJSON *row)
{
	struct top_row *r = new_row(&s->apps);

	fill(r, row);
	r->count[TOP_NEW] = client_number(row, "accepted");
	r->count[TOP_FAILED] = count_failed(cJSON_GetObjectItemCaseSensitive(row, "closed"));
	snprintf(r->state, sizeof(r->state), "%.0f/%.0f", (double)client_number(row, "targets_up"),
		 (double)client_number(row, "targets"));
}

static void add_target(struct top_sample *s, const cJSON *row)
{
	struct top_row *r = new_row(&s->targets);
	const char *state = client_text(row, "state"), *order = client_text(row, "order");

	fill(r, row);
	r->target = xstrdup(client_text(row, "target"));
	r->count[TOP_NEW] = client_number(row, "connects");
	r->count[TOP_FAILED] = client_number(row, "failures");
	if (*order && strcmp(order, "enabled"))
		state = order;
	snprintf(r->state, sizeof(r->state), "%s", strcmp(state, "unresolved") ? state : "no addr");
}

void top_sample_add(struct top_sample *s, cJSON *row)
{
	const char *kind = client_text(row, "row");

	if (!strcmp(kind, "status") && !s->status) {
		s->status = row;
		return;
	}
	if (!strcmp(kind, "app"))
		add_app(s, row);
	else if (!strcmp(kind, "backend"))
		add_target(s, row);
	cJSON_Delete(row);
}

static bool is_same(const struct top_row *a, const struct top_row *b)
{
	return !strcmp(a->app, b->app) && (!a->target || !strcmp(a->target, b->target));
}

/* Both lists are sorted alike or nearly so: each search begins behind the last find. */
static const struct top_row *find(const struct top_rows *rows, const struct top_row *r, size_t *at)
{
	for (size_t i = 0; i < rows->n; i++) {
		size_t k = (*at + i) % rows->n;

		if (!is_same(r, &rows->list[k]))
			continue;
		*at = k + 1;
		return &rows->list[k];
	}
	return NULL;
}

static int by_place(const void *va, const void *vb)
{
	const struct top_row *a = va, *b = vb;
	int order = strcmp(a->app, b->app);

	return order || !a->target ? order : strcmp(a->target, b->target);
}

static void sort(struct top_rows *rows)
{
	if (rows->n)
		qsort(rows->list, rows->n, sizeof(*rows->list), by_place);
}

static void compare(struct top_rows *rows, struct top_rows *before, double seconds)
{
	size_t at = 0;

	sort(rows);
	sort(before);
	for (size_t i = 0; i < rows->n; i++) {
		struct top_row *r = &rows->list[i];
		const struct top_row *was = find(before, r, &at);

		for (size_t c = 0; was && c < N_TOP_COUNTERS; c++)
			if (r->count[c] > was->count[c])
				r->rate[c] = (double)(r->count[c] - was->count[c]) / seconds;
	}
}

bool top_sample_compare(struct top_sample *s, struct top_sample *before)
{
	uint64_t now_ms = client_number(s->status, "uptime_ms");
	uint64_t before_ms = client_number(before->status, "uptime_ms");

	if (!before->status ||
	    client_number(s->status, "pid") != client_number(before->status, "pid") ||
	    now_ms < before_ms)
		return !before->status;
	if (now_ms == before_ms)
		return true;
	s->seconds = (double)(now_ms - before_ms) / 1000;
	compare(&s->apps, &before->apps, s->seconds);
	compare(&s->targets, &before->targets, s->seconds);
	s->status_before = before->status;
	before->status = NULL;
	return true;
}

static void free_rows(struct top_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		free(rows->list[i].app);
		free(rows->list[i].target);
	}
	free(rows->list);
}

void top_sample_free(struct top_sample *s)
{
	cJSON_Delete(s->status);
	cJSON_Delete(s->status_before);
	free_rows(&s->apps);
	free_rows(&s->targets);
	*s = (struct top_sample){ 0 };
}
