/* SPDX-License-Identifier: MIT */
/*
 * Counters are read one by one while workers go on counting: each is right, but their sums may
 * differ by what happened in between.
 */
#include "admin_command_rows.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin_command_backend.h"
#include "admin_put.h"
#include "balancer.h"
#include "config_write.h"
#include "wire_leg.h"

#define PORTS_TEXT_MAX 128 /* of where an app listens; no more are begun then */

static void put_str(cJSON *row, const char *key, const char *value)
{
	cJSON_AddStringToObject(row, key, value);
}

static void put_addr(cJSON *row, const char *key, const struct addr *a)
{
	char text[ADDR_TEXT_MAX];

	put_str(row, key, addr_format(a, text));
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* --- counters that several rows have --------------------------------------------------------- */

/* As the log has them. */
static void put_totals(cJSON *row, const struct app_shared *t)
{
	cJSON *closed;

	admin_put_u64(row, "accepted", load(&t->accepted));
	admin_put_u64(row, "failovers", load(&t->failovers));
	closed = cJSON_AddObjectToObject(row, "closed");
	for (size_t i = 0; i < N_CLOSE_REASONS; i++)
		admin_put_u64(closed, close_reasons[i].name, load(&t->closed[i]));
	admin_put_u64(row, "bytes_to_backend", load(&t->bytes_to_backend));
	admin_put_u64(row, "bytes_to_client", load(&t->bytes_to_client));
}

/* --- status ---------------------------------------------------------------------------------- */

static void put_states(cJSON *row, const struct flows *flows)
{
	uint64_t n[N_SESSION_STATES] = { 0 };
	cJSON *states = cJSON_AddObjectToObject(row, "states");

	flows_for_each(f, flows) n[f->state]++;
	/* A session is accepted or closed only for an instant of its worker's turn. */
	for (size_t i = SESSION_ACCEPTED + 1; i < SESSION_CLOSED; i++)
		admin_put_u64(states, session_state_names[i], n[i]);
}

struct engine_tally {
	uint64_t n[N_ENGINE_REASONS][2];
};

static size_t engine_index(const struct engine *engine)
{
	size_t i = 0;

	while (engines[i] != engine)
		i++;
	return i;
}

/* One element for each engine and reason that there is: directions, not sessions. */
static void put_engines(cJSON *row, const struct flows *flows)
{
	struct engine_tally *tally = xcalloc(n_engines, sizeof(*tally));
	cJSON *list = cJSON_AddArrayToObject(row, "engines");

	flows_for_each(f, flows)
	{
		for (int from = 0; from < 2; from++) {
			const struct direction_snapshot *d = &f->dir[from];

			tally[engine_index(d->engine)].n[d->reason][from]++;
		}
	}
	for (size_t i = 0; engines[i]; i++) {
		for (size_t reason = 0; reason < N_ENGINE_REASONS; reason++) {
			const uint64_t *n = tally[i].n[reason];
			cJSON *element;

			if (!n[CLIENT] && !n[BACKEND])
				continue;
			element = cJSON_CreateObject();
			put_str(element, "engine", engines[i]->name);
			admin_put_u64(element, "to_backend", n[CLIENT]);
			admin_put_u64(element, "to_client", n[BACKEND]);
			put_str(element, "why", engine_reason_text((enum engine_reason)reason));
			cJSON_AddItemToArray(list, element);
		}
	}
	free(tally);
}

/* What the verdict program did with segments. */
static void put_sockmap(cJSON *row, const struct admin_context *c)
{
	uint64_t segments[N_SHUNT_COUNTERS];
	cJSON *object;

	if (!c->sockmap || sockmap_counters(c->sockmap, segments))
		return;
	object = cJSON_AddObjectToObject(row, "sockmap_segments");
	for (size_t i = 0; i < N_SHUNT_COUNTERS; i++)
		admin_put_u64(object, sockmap_counter_names[i], segments[i]);
}

/* What the local bypass's programs did with connections and messages. */
static void put_bypass(cJSON *row, const struct admin_context *c)
{
	const struct bypass *bypass = bypassing_bypass(c->bypassing);
	uint64_t n[N_BYPASS_COUNTERS];
	cJSON *object;

	if (!bypass || bypass_counters(bypass, n))
		return;
	object = cJSON_AddObjectToObject(row, "bypass");
	for (size_t i = BYPASS_REDIRECTED; i < N_BYPASS_COUNTERS; i++)
		admin_put_u64(object, bypass_counter_names[i], n[i]);
}

/* Where the wire's program is, what it did with packets, and what is parked. */
static void put_wire(cJSON *row, const struct admin_context *c)
{
	struct wire *wire = wiring_wire(c->wiring);
	uint64_t packets[N_WIRE_COUNTERS];
	struct park_figures parked;
	char devices[256];
	cJSON *object;

	if (!wire || wire_counters(wire, packets))
		return;
	put_str(row, "wire_devices", wiring_devices(c->wiring, devices, sizeof(devices)));
	admin_put_u64(row, "wire_adopted", wire_keeper_count(wiring_keeper(c->wiring)));
	object = cJSON_AddObjectToObject(row, "wire_packets");
	for (size_t i = 0; i < N_WIRE_COUNTERS; i++)
		admin_put_u64(object, wire_counter_names[i], packets[i]);
	parked = park_figures(wire_park(wire));
	object = cJSON_AddObjectToObject(row, "wire_parked");
	admin_put_u64(object, "frames", parked.frames);
	admin_put_u64(object, "bytes", parked.bytes);
	admin_put_u64(object, "frames_so_far", parked.parked);
	admin_put_u64(object, "flows_over_bound", parked.overflowed);
	admin_put_u64(object, "flows_expired", parked.expired);
}

/* Flows that a joining engine could not get, by why not. */
static void put_refused(cJSON *row, const struct admin_context *c)
{
	cJSON *object = cJSON_AddObjectToObject(row, "join_refused");

	for (size_t i = 0; i < N_ENGINE_REASONS; i++) {
		uint64_t n = 0;

		for (size_t w = 0; w < c->workers->n; w++)
			n += load(&c->workers->list[w].sessions.pools.refused[i]);
		if (n)
			admin_put_u64(object, engine_reason_text((enum engine_reason)i), n);
	}
}

static void put_names(cJSON *row, const struct admin_context *c)
{
	struct names_figures f = names_figures(c->names);
	cJSON *lookups;

	admin_put_u64(row, "dns_names", f.names);
	admin_put_u64(row, "dns_names_failing", f.failing);
	lookups = cJSON_AddObjectToObject(row, "dns_lookups");
	for (size_t i = 0; i < N_RESOLVER_OUTCOMES; i++)
		admin_put_u64(lookups, resolver_outcome_names[i], f.lookups[i]);
}

bool admin_row_status(struct admin_request *r, cJSON *row)
{
	const struct admin_context *c = r->context;
	uint64_t fds_left = (uint64_t)MAX(atomic_load(&c->fds->left), 0);
	struct app_shared totals = { 0 };

	if (r->at++)
		return false;
	app_shared_add(&totals, &c->apps->gone);
	for (size_t i = 0; i < r->apps.n; i++)
		app_shared_add(&totals, r->apps.list[i]->shared);
	put_str(row, "version", c->version);
	admin_put_u64(row, "pid", (uint64_t)getpid());
	admin_put_ms(row, "uptime_ms", clock_ns() - r->started_ns);
	put_str(row, "state", workers_state(c->workers));
	admin_put_u64(row, "workers", c->workers->n);
	admin_put_u64(row, "apps", c->apps->running.n);
	admin_put_u64(row, "sessions", flows_count(r->flows));
	put_states(row, r->flows);
	put_totals(row, &totals);
	put_engines(row, r->flows);
	put_sockmap(row, c);
	put_bypass(row, c);
	put_wire(row, c);
	put_refused(row, c);
	put_names(row, c);
	admin_put_u64(row, "max_connections", atomic_load(&c->admission->max_connections));
	admin_put_u64(row, "fds_left", fds_left);
	admin_put_u64(row, "room", MIN(fds_left / SESSION_FDS, admission_left(c->admission)));
	return true;
}

/* --- apps ------------------------------------------------------------------------------------ */

/* The next app that was asked for, or NULL. */
static const struct app *next_app(struct admin_request *r)
{
	while (r->at < r->apps.n) {
		const struct app *app = r->apps.list[r->at++];

		if (!r->app || r->app == app)
			return app;
	}
	return NULL;
}

/* "5001,5200-5210,unix:/run/a", or its beginning and "...". */
static void put_ports(cJSON *row, const struct app_conf *conf)
{
	char text[PORTS_TEXT_MAX + ADDR_TEXT_MAX + sizeof(",...")];
	size_t len = 0, last, i;

	for (i = 0; i < conf->n_ports && len < PORTS_TEXT_MAX; i = last + 1) {
		last = app_conf_last_in_row(conf, i);
		len += (size_t)sprintf(text + len, last > i ? "%s%u-%u" : "%s%u", i ? "," : "",
				       conf->ports[i], conf->ports[last]);
	}
	for (last = 0; i == conf->n_ports && last < conf->n_sockets && len < PORTS_TEXT_MAX; last++)
		len += (size_t)sprintf(text + len, "%s" ADDR_UNIX_PREFIX "%s", len ? "," : "",
				       conf->sockets[last]);
	if (i < conf->n_ports || last < conf->n_sockets)
		sprintf(text + len, ",...");
	put_str(row, "ports", text);
}

/* A reload has removed it, and connections of it are still there. */
static bool is_leaving(const struct admin_request *r, const struct app *app)
{
	const struct app_list *leaving = &r->context->apps->leaving;

	for (size_t i = 0; i < leaving->n; i++)
		if (leaving->list[i] == app)
			return true;
	return false;
}

bool admin_row_app(struct admin_request *r, cJSON *row)
{
	const struct app *app = next_app(r);
	size_t up = 0;

	if (!app)
		return false;
	/* Those that take connections: what an operator has taken out does not. */
	for (size_t i = 0; i < app->n_backends; i++)
		up += backend_endpoints_up(app->backends[i]) > 0 &&
		      atomic_load(&app->backends[i]->order) == BACKEND_ENABLED;
	put_str(row, "app", app->conf->name);
	put_str(row, "state", is_leaving(r, app) ? "removed" : "running");
	put_ports(row, app->conf);
	put_str(row, "balance", app->conf->balance);
	put_str(row, "engine", app->engine ? app->engine->name : "auto");
	admin_put_u64(row, "targets", app->n_backends);
	admin_put_u64(row, "targets_up", up);
	admin_put_u64(row, "active", atomic_load(&app->shared->active));
	admin_put_u64(row, "max_connections", app->conf->max_connections);
	admin_put_u64(row, "queued", waitq_count(&app->shared->queue));
	admin_put_u64(row, "max_queue", app->conf->max_queue);
	put_totals(row, app->shared);
	return true;
}

/* --- backends -------------------------------------------------------------------------------- */

/* The next backend of the apps that were asked for, or NULL. */
static const struct backend *next_backend(struct admin_request *r, const struct app **app)
{
	for (; r->at < r->apps.n; r->at++, r->inner_at = 0) {
		*app = r->apps.list[r->at];
		if ((!r->app || r->app == *app) && r->inner_at < (*app)->n_backends)
			return (*app)->backends[r->inner_at++];
	}
	return NULL;
}

static void put_endpoint(cJSON *list, const struct endpoint *e, uint64_t now_ns)
{
	uint64_t until = load(&e->down_until_ns), since = load(&e->since_ns);
	uint32_t failures = atomic_load(&e->failures);
	cJSON *element = cJSON_CreateObject();

	put_addr(element, "address", &e->addr);
	put_str(element, "state", endpoint_up(e) ? "up" : "down");
	admin_put_ms(element, "since_ms", now_ns > since ? now_ns - since : 0);
	if (failures) {
		admin_put_u64(element, "failures_in_a_row", failures);
		/* 0: the next connection is its trial. */
		admin_put_ms(element, "trial_in_ms", until > now_ns ? until - now_ns : 0);
	}
	admin_put_check(element, e, now_ns);
	cJSON_AddItemToArray(list, element);
}

/* Of a target whose address is a name. */
static void put_name(cJSON *row, const struct names *names, const struct backend *b,
		     uint64_t now_ns)
{
	const struct resolver_failure *f;
	struct name_state state;

	if (!names_state(names, b, &state))
		return;
	f = &state.failure;
	if (state.answered_ns)
		admin_put_ms(row, "dns_age_ms", now_ns - MIN(state.answered_ns, now_ns));
	admin_put_u64(row, "dns_failures", f->in_a_row);
	if (!f->in_a_row)
		return;
	put_str(row, "dns_failure", f->why);
	put_str(row, "dns_failing", f->family ? resolver_family_name(f->family) : "all");
}

bool admin_row_backend(struct admin_request *r, cJSON *row)
{
	const struct app *app;
	const struct backend *b = next_backend(r, &app);
	const struct endpoint_set *set;
	uint64_t now_ns = clock_ns();
	cJSON *addresses;

	if (!b)
		return false;
	/* The main thread is the one that replaces it, so it stays for the length of this call. */
	set = atomic_load(&b->set);
	put_str(row, "app", app->conf->name);
	put_str(row, "app_state", is_leaving(r, app) ? "removed" : "running");
	put_str(row, "target", b->text);
	admin_put_u64(row, "weight", app->conf->targets[r->inner_at - 1].weight);
	put_str(row, "state", !set ? "unresolved" : backend_endpoints_up(b) ? "up" : "down");
	put_str(row, "order", backend_order_names[atomic_load(&b->order)]);
	admin_put_u64(row, "active", atomic_load(&b->active));
	admin_put_u64(row, "max_connections", app->conf->targets[r->inner_at - 1].max_connections);
	admin_put_u64(row, "connects", load(&b->connects));
	admin_put_u64(row, "failures", load(&b->failures));
	admin_put_u64(row, "bytes_to_backend", load(&b->bytes_to_backend));
	admin_put_u64(row, "bytes_to_client", load(&b->bytes_to_client));
	put_name(row, r->context->names, b, now_ns);
	addresses = cJSON_AddArrayToObject(row, "addresses");
	for (size_t i = 0; set && i < set->n; i++)
		put_endpoint(addresses, &set->endpoint[i], now_ns);
	return true;
}

/* --- flows ----------------------------------------------------------------------------------- */

static const struct session_snapshot *next_flow(struct admin_request *r)
{
	for (; r->at < r->flows->n; r->at++, r->inner_at = 0) {
		const struct session_snapshots *part = &r->flows->part[r->at].sessions;

		while (r->inner_at < part->n) {
			const struct session_snapshot *s = &part->list[r->inner_at++];

			/* Of any of its generations, and of what had its name before it was
			 * removed. */
			if (!r->app || !strcmp(r->app->conf->name, s->app->conf->name))
				return s;
		}
	}
	return NULL;
}

static void put_direction(cJSON *row, const struct direction_snapshot *d, const char *to, bool why)
{
	char key[32];

	snprintf(key, sizeof(key), "engine_to_%s", to);
	put_str(row, key, d->engine->name);
	if (why) {
		snprintf(key, sizeof(key), "why_to_%s", to);
		put_str(row, key, engine_reason_text(d->reason));
	}
	snprintf(key, sizeof(key), "bytes_to_%s", to);
	admin_put_u64(row, key, d->bytes);
	snprintf(key, sizeof(key), "backlog_to_%s", to);
	admin_put_u64(row, key, d->backlog);
}

static bool next_adopted(struct admin_request *r, struct kept_flow *out)
{
	const struct wire_keeper *keeper = wiring_keeper(r->context->wiring);

	while (wire_keeper_show(keeper, r->inner_at++, out))
		if (!r->app || !strcmp(out->identity->app, r->app->conf->name))
			return true;
	return false;
}

/* A flow of a daemon before: what it has left in the kernel is all that is known of it. */
static bool row_adopted(struct admin_request *r, cJSON *row)
{
	const struct wire_flow *id;
	struct kept_flow f;
	struct addr at;

	if (!next_adopted(r, &f))
		return false;
	id = f.identity;
	put_str(row, "app", id->app);
	wire_leg_peer(&id->leg[CLIENT], &at);
	put_addr(row, "client", &at);
	wire_leg_own(&id->leg[CLIENT], &at);
	put_addr(row, "listener", &at);
	put_str(row, "target", id->target);
	wire_leg_peer(&id->leg[BACKEND], &at);
	put_addr(row, "address", &at);
	put_str(row, "state",
		session_state_names[f.half_closed ? SESSION_HALF_CLOSED : SESSION_RELAYING]);
	admin_put_ms(row, "age_ms", f.age_ns);
	admin_put_ms(row, "idle_ms", f.idle_ns);
	for (int from = 0; from < 2; from++) {
		struct direction_snapshot d = { &engine_wire, ENGINE_ADOPTED, f.bytes[from], 0 };

		put_direction(row, &d, from == CLIENT ? "backend" : "client", r->why);
	}
	return true;
}

bool admin_row_flow(struct admin_request *r, cJSON *row)
{
	const struct session_snapshot *s = next_flow(r);

	if (!s)
		return row_adopted(r, row);
	put_str(row, "app", s->app->conf->name);
	put_addr(row, "client", &s->client);
	put_addr(row, "listener", &s->listener);
	put_str(row, "target", s->backend ? s->backend->text : "-");
	put_addr(row, "address", &s->address);
	put_str(row, "state", session_state_names[s->state]);
	admin_put_ms(row, "age_ms", s->age_ns);
	admin_put_ms(row, "idle_ms", s->idle_ns);
	put_direction(row, &s->dir[CLIENT], "backend", r->why);
	put_direction(row, &s->dir[BACKEND], "client", r->why);
	return true;
}

/* --- reload ---------------------------------------------------------------------------------- */

static void put_optional(cJSON *row, const char *key, const char *value)
{
	if (value)
		put_str(row, key, value);
}

/* What is wrong, a row each, or what has changed, and then what has no effect. */
bool admin_row_reload(struct admin_request *r, cJSON *row)
{
	const struct reload_answer *a = r->reloaded;
	const struct config_change *c;

	if (*a->error) {
		r->error = a->error;
		if (r->at == a->n_problems)
			return false;
		put_str(row, "problem", a->problems[r->at++]);
		return true;
	}
	if (r->at == a->diff.n + a->n_problems)
		return false;
	if (r->at >= a->diff.n) {
		put_str(row, "warning", a->problems[r->at++ - a->diff.n]);
		return true;
	}
	c = &a->diff.list[r->at++];
	put_str(row, "change", config_change_names[c->kind]);
	put_optional(row, "app", c->app);
	put_optional(row, "key", c->key);
	put_optional(row, "from", c->from);
	put_optional(row, "to", c->to);
	if (c->needs_restart)
		cJSON_AddTrueToObject(row, "needs_restart");
	return true;
}

/* --- all of these but the flows -------------------------------------------------------------- */

bool admin_row_top(struct admin_request *r, cJSON *row)
{
	static const struct {
		const char *name;
		bool (*run)(struct admin_request *r, cJSON *row);
	} parts[] = {
		{ "status", admin_row_status },
		{ "app", admin_row_app },
		{ "backend", admin_row_backend },
	};

	for (; r->part < ARRAY_SIZE(parts); r->part++, r->at = r->inner_at = 0) {
		if (!parts[r->part].run(r, row))
			continue;
		put_str(row, "row", parts[r->part].name);
		return true;
	}
	return false;
}

/* --- config ---------------------------------------------------------------------------------- */

static const struct app_conf *conf_of_app(const void *apps, size_t i)
{
	return ((const struct app_list *)apps)->list[i]->conf;
}

bool admin_row_config(struct admin_request *r, cJSON *row)
{
	const struct admin_context *c = r->context;
	const struct app_list *running = &c->apps->running;
	const struct config_apps apps = { running->n, conf_of_app, running };

	if (r->at++)
		return false;
	config_write(c->config, &apps, row);
	return true;
}
