/* SPDX-License-Identifier: MIT */
#include "admin_command_backend.h"

#include <stdio.h>
#include <string.h>

#include "admin_put.h"
#include "backend_check.h"

static uint64_t age(uint64_t now_ns, uint64_t at_ns)
{
	return now_ns > at_ns ? now_ns - at_ns : 0;
}

void admin_put_check(cJSON *address, const struct endpoint *e, uint64_t now_ns)
{
	const struct endpoint_check *c = &e->check;

	if (!c->at_ns)
		return;
	cJSON_AddStringToObject(address, "check", check_result_names[c->result]);
	admin_put_u64(address, "check_latency_us", c->latency_ns / NSEC_PER_USEC);
	admin_put_ms(address, "check_since_ms", age(now_ns, c->result_since_ns));
	admin_put_ms(address, "check_age_ms", age(now_ns, c->at_ns));
}

static struct backend *find_target(const struct app *app, const char *text)
{
	for (size_t i = 0; i < app->n_backends; i++)
		if (!strcmp(app->backends[i]->text, text))
			return app->backends[i];
	return NULL;
}

int admin_check_backend(struct admin_request *r, char error[ADMIN_ERROR_MAX])
{
	char what[ADMIN_ERROR_MAX];
	const char **names;
	int rc;

	if (!r->app || !*r->target || r->order == N_BACKEND_ORDERS) {
		snprintf(error, ADMIN_ERROR_MAX,
			 "it needs \"app\", \"target\" and \"order\", all three");
		return -EINVAL;
	}
	r->backend = find_target(r->app, r->target);
	if (r->backend)
		return 0;
	names = xcalloc(r->app->n_backends, sizeof(*names));
	for (size_t i = 0; i < r->app->n_backends; i++)
		names[i] = r->app->backends[i]->text;
	snprintf(what, sizeof(what), "app \"%s\" has no target", r->app->conf->name);
	rc = admin_unknown(error, what, r->target, names, r->app->n_backends,
			   "the command \"backends\" lists them");
	free(names);
	return rc;
}

static void log_order(const struct admin_request *r)
{
	static const char *const events[N_BACKEND_ORDERS] = {
		[BACKEND_ENABLED] = "backend_enabled",
		[BACKEND_DRAINED] = "backend_drained",
		[BACKEND_DISABLED] = "backend_disabled",
	};
	struct log_record record;

	log_record_begin(&record, LOG_LEVEL_NOTICE, events[r->order]);
	log_record_str(&record, "app", r->app->conf->name);
	log_record_str(&record, "target", r->backend->text);
	log_record_u64(&record, "active", atomic_load(&r->backend->active));
	log_record_str(&record, "by", "operator");
	log_record_end(&record);
}

/* What a reload has removed, or has replaced by an app of the same name: its connections are still
 * there, and an operator's order is for them, too. */
static void order_leaving(const struct admin_request *r, uint64_t now_ns)
{
	const struct app_list *leaving = &r->context->apps->leaving;

	for (size_t i = 0; i < leaving->n; i++) {
		struct backend *b = NULL;

		if (!strcmp(leaving->list[i]->conf->name, r->app->conf->name))
			b = find_target(leaving->list[i], r->backend->text);
		if (b && b != r->backend)
			backend_set_order(b, r->order, now_ns);
	}
}

bool admin_row_backend_order(struct admin_request *r, cJSON *row)
{
	enum backend_order before;

	if (r->at++)
		return false;
	before = backend_set_order(r->backend, r->order, clock_ns());
	order_leaving(r, clock_ns());
	if (before != r->order)
		log_order(r);
	if (r->order == BACKEND_DISABLED && r->context->cutter)
		cutter_ring(r->context->cutter);
	cJSON_AddStringToObject(row, "app", r->app->conf->name);
	cJSON_AddStringToObject(row, "target", r->backend->text);
	cJSON_AddStringToObject(row, "order", backend_order_names[r->order]);
	cJSON_AddStringToObject(row, "before", backend_order_names[before]);
	admin_put_u64(row, "active", atomic_load(&r->backend->active));
	return true;
}
