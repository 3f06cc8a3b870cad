/* SPDX-License-Identifier: MIT */
/*
 * Counters are read one by one while workers go on counting: each is right, but their sums may
 * differ by what happened in between.
 */
#include "metrics.h"

#include <pthread.h>
#include <stdio_ext.h>
#include <string.h>

#include "backend_check.h"
#include "log.h"
#include "metrics_process.h"
#include "metrics_text.h"
#include "sources.h"

struct metrics {
	struct metrics_text text;
	const struct admin_context *context;
	const struct flows *flows;
};

/* One of the three writes the samples: for the daemon, for each app, for each target of each. */
struct family {
	const char *name;
	enum metric_type type;
	const char *help;
	void (*all)(struct metrics *m);
	void (*app)(struct metrics *m, const struct app *app);
	void (*backend)(struct metrics *m, const struct app *app, const struct backend *b);
};

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static void put(struct metrics *m, uint64_t value)
{
	metric_begin(&m->text, "");
	metric_end(&m->text, value);
}

/* --- the daemon ------------------------------------------------------------------------------ */

static void put_build(struct metrics *m)
{
	metric_begin(&m->text, "");
	metric_label(&m->text, "version", m->context->version);
	metric_end(&m->text, 1);
}

static void put_ready(struct metrics *m)
{
	put(m, workers_ready(m->context->workers));
}

static void put_lost_lines(struct metrics *m)
{
	put(m, log_lost());
}

static void put_free_fds(struct metrics *m)
{
	put(m, (uint64_t)MAX(atomic_load(&m->context->fds->left), 0));
}

static void put_connections(struct metrics *m)
{
	put(m, atomic_load(&m->context->admission->connections));
}

/* None: no limit. */
static void put_max_connections(struct metrics *m)
{
	uint32_t max = atomic_load(&m->context->admission->max_connections);

	if (max)
		put(m, max);
}

static void put_untracked(struct metrics *m)
{
	put(m, sources_untracked(m->context->admission->sources));
}

static void begin_worker(struct metrics *m, size_t i)
{
	char index[24];

	snprintf(index, sizeof(index), "%zu", i);
	metric_begin(&m->text, "");
	metric_label(&m->text, "worker", index);
}

static void put_worker_connections(struct metrics *m)
{
	for (size_t i = 0; i < m->flows->n; i++) {
		begin_worker(m, i);
		metric_end(&m->text, m->flows->part[i].sessions.n);
	}
}

static void put_worker_cpu(struct metrics *m)
{
	const struct workers *ws = m->context->workers;

	for (size_t i = 0; i < ws->n_inited; i++) {
		const struct worker *w = &ws->list[i];
		struct timespec ts;
		clockid_t clock;

		/* A thread that has ended has no clock any more. */
		if (!w->started || atomic_load(&w->done) ||
		    pthread_getcpuclockid(w->thread, &clock) || clock_gettime(clock, &ts))
			continue;
		begin_worker(m, i);
		metric_end_seconds(&m->text,
				   (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec);
	}
}

/* One number for each of these names, which are values of a label. */
static void put_by(struct metrics *m, const char *label, const char *const *names,
		   const uint64_t *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		metric_begin(&m->text, "");
		metric_label(&m->text, label, names[i]);
		metric_end(&m->text, numbers[i]);
	}
}

/* --- active checks --------------------------------------------------------------------------- */

static void put_checks(struct metrics *m)
{
	struct health_figures f = health_figures(m->context->health);

	put_by(m, "result", check_result_names, f.results, N_CHECK_RESULTS);
}

static void put_checks_postponed(struct metrics *m)
{
	put(m, health_figures(m->context->health).postponed);
}

static void put_checked_addresses(struct metrics *m)
{
	put(m, health_figures(m->context->health).addresses);
}

/* --- names ----------------------------------------------------------------------------------- */

static void put_lookups(struct metrics *m)
{
	struct names_figures f = names_figures(m->context->names);

	put_by(m, "outcome", resolver_outcome_names, f.lookups, N_RESOLVER_OUTCOMES);
}

static void put_names(struct metrics *m)
{
	put(m, names_figures(m->context->names).names);
}

static void put_failing_names(struct metrics *m)
{
	put(m, names_figures(m->context->names).failing);
}

/* --- engines --------------------------------------------------------------------------------- */

static uint64_t count_directions(const struct flows *flows, const struct engine *engine, int from)
{
	uint64_t n = 0;

	flows_for_each(f, flows) n += f->dir[from].engine == engine;
	return n;
}

static void put_engines(struct metrics *m)
{
	static const char *const to[] = { [CLIENT] = "backend", [BACKEND] = "client" };

	for (size_t i = 0; engines[i]; i++) {
		for (int from = 0; from < 2; from++) {
			metric_begin(&m->text, "");
			metric_label(&m->text, "engine", engines[i]->name);
			metric_label(&m->text, "to", to[from]);
			metric_end(&m->text, count_directions(m->flows, engines[i], from));
		}
	}
}

/* Those reasons that have been met. */
static void put_refused(struct metrics *m)
{
	const struct workers *ws = m->context->workers;

	for (size_t reason = 0; reason < N_ENGINE_REASONS; reason++) {
		uint64_t n = 0;

		for (size_t i = 0; i < ws->n_inited; i++)
			n += load(&ws->list[i].sessions.pools.refused[reason]);
		if (!n)
			continue;
		metric_begin(&m->text, "");
		metric_label(&m->text, "reason", engine_reason_text((enum engine_reason)reason));
		metric_end(&m->text, n);
	}
}

/* --- the kernel's side ----------------------------------------------------------------------- */

static void put_sockmap_segments(struct metrics *m)
{
	uint64_t segments[N_SHUNT_COUNTERS];

	if (!m->context->sockmap || sockmap_counters(m->context->sockmap, segments))
		return;
	for (size_t i = 0; i < N_SHUNT_COUNTERS; i++) {
		metric_begin(&m->text, "");
		metric_label(&m->text, "result", sockmap_counter_names[i]);
		metric_end(&m->text, segments[i]);
	}
}

static void put_sockmap_memory(struct metrics *m)
{
	if (m->context->sockmap)
		put(m, sockmap_memory(m->context->sockmap));
}

static void put_bypass_messages(struct metrics *m)
{
	const struct bypass *bypass = bypassing_bypass(m->context->bypassing);
	uint64_t n[N_BYPASS_COUNTERS];

	if (!bypass || bypass_counters(bypass, n))
		return;
	for (size_t i = BYPASS_REDIRECTED; i < N_BYPASS_MODES; i++) {
		metric_begin(&m->text, "");
		metric_label(&m->text, "result", bypass_counter_names[i]);
		metric_end(&m->text, n[i]);
	}
}

static void put_bypass_memory(struct metrics *m)
{
	const struct bypass *bypass = bypassing_bypass(m->context->bypassing);

	if (bypass)
		put(m, bypass_memory(bypass));
}

static void put_wire_packets(struct metrics *m)
{
	const struct wire *wire = wiring_wire(m->context->wiring);
	uint64_t packets[N_WIRE_COUNTERS];

	if (!wire || wire_counters(wire, packets))
		return;
	for (size_t i = 0; i < N_WIRE_COUNTERS; i++) {
		metric_begin(&m->text, "");
		metric_label(&m->text, "result", wire_counter_names[i]);
		metric_end(&m->text, packets[i]);
	}
}

static void put_wire_adopted(struct metrics *m)
{
	if (m->context->wiring)
		put(m, wire_keeper_count(wiring_keeper(m->context->wiring)));
}

static void put_wire_parked(struct metrics *m)
{
	const struct wire *wire = wiring_wire(m->context->wiring);

	if (wire)
		put(m, park_figures(wire_park(wire)).bytes);
}

static void put_wire_memory(struct metrics *m)
{
	const struct wire *wire = wiring_wire(m->context->wiring);

	if (wire)
		put(m, wire_memory(wire));
}

/* --- apps ------------------------------------------------------------------------------------ */

static void label_app(struct metrics_text *t, const void *app)
{
	metric_label(t, "app", ((const struct app *)app)->conf->name);
}

static void put_for_app(struct metrics *m, const struct app *app, uint64_t value)
{
	metric_begin(&m->text, "");
	label_app(&m->text, app);
	metric_end(&m->text, value);
}

static void put_accepted(struct metrics *m, const struct app *app)
{
	put_for_app(m, app, load(&app->shared->accepted));
}

static void put_active(struct metrics *m, const struct app *app)
{
	put_for_app(m, app, atomic_load(&app->shared->active));
}

/* An app without a limit has no sample. */
static void put_limit(struct metrics *m, const struct app *app)
{
	if (app->conf->max_connections)
		put_for_app(m, app, app->conf->max_connections);
}

static void put_queued(struct metrics *m, const struct app *app)
{
	put_for_app(m, app, waitq_count(&app->shared->queue));
}

static void put_queue_time(struct metrics *m, const struct app *app)
{
	metric_histogram(&m->text, &app->shared->queue_time, &connect_bounds, label_app, app);
}

static void put_failovers(struct metrics *m, const struct app *app)
{
	put_for_app(m, app, load(&app->shared->failovers));
}

static void put_closed(struct metrics *m, const struct app *app)
{
	for (size_t i = 0; i < N_CLOSE_REASONS; i++) {
		metric_begin(&m->text, "");
		label_app(&m->text, app);
		metric_label(&m->text, "reason", close_reasons[i].name);
		metric_end(&m->text, load(&app->shared->closed[i]));
	}
}

static void put_connect_time(struct metrics *m, const struct app *app)
{
	metric_histogram(&m->text, &app->shared->connect_time, &connect_bounds, label_app, app);
}

static void put_duration(struct metrics *m, const struct app *app)
{
	metric_histogram(&m->text, &app->shared->duration, &connection_bounds, label_app, app);
}

/* --- targets --------------------------------------------------------------------------------- */

static void begin_backend(struct metrics *m, const struct app *app, const struct backend *b)
{
	metric_begin(&m->text, "");
	label_app(&m->text, app);
	metric_label(&m->text, "target", b->text);
}

static void put_for_backend(struct metrics *m, const struct app *app, const struct backend *b,
			    uint64_t value)
{
	begin_backend(m, app, b);
	metric_end(&m->text, value);
}

static void put_up(struct metrics *m, const struct app *app, const struct backend *b)
{
	put_for_backend(m, app, b, backend_endpoints_up(b) > 0);
}

static void put_addresses(struct metrics *m, const struct app *app, const struct backend *b)
{
	const struct endpoint_set *set = atomic_load(&b->set);
	uint64_t all = set ? set->n : 0, up = backend_endpoints_up(b);

	begin_backend(m, app, b);
	metric_label(&m->text, "state", "up");
	metric_end(&m->text, up);
	begin_backend(m, app, b);
	metric_label(&m->text, "state", "down");
	metric_end(&m->text, all - MIN(up, all));
}

/* Of targets that are checked. */
static void put_check_up(struct metrics *m, const struct app *app, const struct backend *b)
{
	if (app->conf->health.on)
		put_for_backend(m, app, b, atomic_load(&b->set) && !backend_checked_down(b));
}

static void put_order(struct metrics *m, const struct app *app, const struct backend *b)
{
	uint32_t order = atomic_load(&b->order);

	for (uint32_t i = 0; i < N_BACKEND_ORDERS; i++) {
		begin_backend(m, app, b);
		metric_label(&m->text, "order", backend_order_names[i]);
		metric_end(&m->text, i == order);
	}
}

static void put_backend_active(struct metrics *m, const struct app *app, const struct backend *b)
{
	put_for_backend(m, app, b, atomic_load(&b->active));
}

/* A target without a limit has no sample. */
static void put_backend_limits(struct metrics *m, const struct app *app)
{
	for (size_t i = 0; i < app->n_backends; i++) {
		uint32_t max = app->conf->targets[i].max_connections;

		if (max)
			put_for_backend(m, app, app->backends[i], max);
	}
}

static void put_connects(struct metrics *m, const struct app *app, const struct backend *b)
{
	put_for_backend(m, app, b, load(&b->connects));
}

static void put_failures(struct metrics *m, const struct app *app, const struct backend *b)
{
	put_for_backend(m, app, b, load(&b->failures));
}

static void put_bytes_to_backend(struct metrics *m, const struct app *app, const struct backend *b)
{
	put_for_backend(m, app, b, load(&b->bytes_to_backend));
}

static void put_bytes_to_client(struct metrics *m, const struct app *app, const struct backend *b)
{
	put_for_backend(m, app, b, load(&b->bytes_to_client));
}

/* --- the table ------------------------------------------------------------------------------- */

static const struct family families[] = {
	{ "shunt_build_info", METRIC_GAUGE, "Always 1; the label tells which version this is.",
	  .all = put_build },
	{ "shunt_ready", METRIC_GAUGE, "1 while new connections are accepted.", .all = put_ready },
	{ "shunt_connection_fds_free", METRIC_GAUGE,
	  "File descriptors that are left for connections, which need two each.",
	  .all = put_free_fds },
	{ "shunt_connections", METRIC_GAUGE,
	  "Connections that are accepted and not closed, those in queues included.",
	  .all = put_connections },
	{ "shunt_max_connections", METRIC_GAUGE, "MaxConnections of the daemon, if it has one.",
	  .all = put_max_connections },
	{ "shunt_sources_untracked_total", METRIC_COUNTER,
	  "Connections whose source found no room in the table of sources, and has no limit.",
	  .all = put_untracked },
	{ "shunt_log_lines_lost_total", METRIC_COUNTER,
	  "Log lines that were dropped because the log's reader was too slow.",
	  .all = put_lost_lines },
	{ "shunt_worker_connections", METRIC_GAUGE, "Live connections of each worker thread.",
	  .all = put_worker_connections },
	{ "shunt_worker_cpu_seconds_total", METRIC_COUNTER,
	  "Processor time of each worker thread, user and system.", .all = put_worker_cpu },
	{ "shunt_health_checks_total", METRIC_COUNTER, "Active checks by what came of them.",
	  .all = put_checks },
	{ "shunt_health_checks_postponed_total", METRIC_COUNTER,
	  "Active checks that were late for want of open files or room.",
	  .all = put_checks_postponed },
	{ "shunt_health_addresses", METRIC_GAUGE, "Addresses that are checked.",
	  .all = put_checked_addresses },
	{ "shunt_dns_lookups_total", METRIC_COUNTER,
	  "Lookups of targets' names by what came of them; \"half_failed\": of one family only.",
	  .all = put_lookups },
	{ "shunt_dns_names", METRIC_GAUGE, "Names of targets, each looked up by its TTL.",
	  .all = put_names },
	{ "shunt_dns_names_failing", METRIC_GAUGE,
	  "Names whose last lookup failed, wholly or for one family.", .all = put_failing_names },
	{ "shunt_engine_directions", METRIC_GAUGE,
	  "Directions of live connections by the engine that moves their bytes.",
	  .all = put_engines },
	{ "shunt_engine_refused_total", METRIC_COUNTER,
	  "Connections that a kernel engine could not take, by why not.", .all = put_refused },
	{ "shunt_sockmap_segments_total", METRIC_COUNTER,
	  "What the sockmap engine's BPF program did with the segments that it saw.",
	  .all = put_sockmap_segments },
	{ "shunt_bypass_messages_total", METRIC_COUNTER,
	  "What the local bypass's BPF program did with what paired local peers sent.",
	  .all = put_bypass_messages },
	{ "shunt_bypass_memory_bytes", METRIC_GAUGE, "Kernel memory of the local bypass's maps.",
	  .all = put_bypass_memory },
	{ "shunt_wire_packets_total", METRIC_COUNTER,
	  "What the wire's BPF program did with the packets of joined and held connections.",
	  .all = put_wire_packets },
	{ "shunt_wire_adopted_connections", METRIC_GAUGE,
	  "Connections on the wire that a daemon before this one has joined.",
	  .all = put_wire_adopted },
	{ "shunt_wire_parked_bytes", METRIC_GAUGE,
	  "What is kept for connections that are about to be joined.", .all = put_wire_parked },
	{ "shunt_wire_memory_bytes", METRIC_GAUGE, "Kernel memory of the wire's maps.",
	  .all = put_wire_memory },
	{ "shunt_sockmap_memory_bytes", METRIC_GAUGE, "Kernel memory of the sockmap engine's maps.",
	  .all = put_sockmap_memory },
	{ "shunt_connections_accepted_total", METRIC_COUNTER, "Connections accepted.",
	  .app = put_accepted },
	{ "shunt_connections_active", METRIC_GAUGE, "Live connections, without those in the queue.",
	  .app = put_active },
	{ "shunt_connections_limit", METRIC_GAUGE, "MaxConnections of apps that have one.",
	  .app = put_limit },
	{ "shunt_connections_queued", METRIC_GAUGE,
	  "Connections that wait for a place in the app or at a target.", .app = put_queued },
	{ "shunt_queue_duration_seconds", METRIC_HISTOGRAM,
	  "Time in the queue, of connections that got a place.", .app = put_queue_time },
	{ "shunt_connections_closed_total", METRIC_COUNTER,
	  "Connections that have ended, by why; \"done\" is an end in good order.",
	  .app = put_closed },
	{ "shunt_failovers_total", METRIC_COUNTER,
	  "Times that a connection went on to another target.", .app = put_failovers },
	{ "shunt_connect_duration_seconds", METRIC_HISTOGRAM,
	  "Time to connect to a target, of the attempts that succeeded.", .app = put_connect_time },
	{ "shunt_connection_duration_seconds", METRIC_HISTOGRAM,
	  "Life of connections that reached a target, when they have ended.", .app = put_duration },
	{ "shunt_backend_up", METRIC_GAUGE, "1 if the target has an address that is up.",
	  .backend = put_up },
	{ "shunt_backend_addresses", METRIC_GAUGE, "Addresses of the target by their state.",
	  .backend = put_addresses },
	{ "shunt_backend_check_up", METRIC_GAUGE,
	  "1 unless active checks have found all addresses of the target down.",
	  .backend = put_check_up },
	{ "shunt_backend_order", METRIC_GAUGE,
	  "1 for what an operator has ordered of the target, 0 for the others.",
	  .backend = put_order },
	{ "shunt_backend_connections_active", METRIC_GAUGE,
	  "Connections to the target, established or under way.", .backend = put_backend_active },
	{ "shunt_backend_connections_limit", METRIC_GAUGE,
	  "MaxConnections of targets that have one.", .app = put_backend_limits },
	{ "shunt_backend_connects_total", METRIC_COUNTER, "Connects that succeeded.",
	  .backend = put_connects },
	{ "shunt_backend_connect_failures_total", METRIC_COUNTER, "Connects that failed.",
	  .backend = put_failures },
	{ "shunt_backend_sent_bytes_total", METRIC_COUNTER, "Bytes relayed to the target.",
	  .backend = put_bytes_to_backend },
	{ "shunt_backend_received_bytes_total", METRIC_COUNTER,
	  "Bytes relayed from the target to clients.", .backend = put_bytes_to_client },
};

static void put_family(struct metrics *m, const struct family *f)
{
	/* A removed app may have the name of one that runs: its samples end with it. */
	const struct app_list *apps = &m->context->apps->running;

	metric_family(&m->text, f->name, f->type, f->help);
	if (f->all)
		f->all(m);
	for (size_t i = 0; i < apps->n; i++) {
		const struct app *app = apps->list[i];

		if (f->app)
			f->app(m, app);
		for (size_t b = 0; f->backend && b < app->n_backends; b++)
			f->backend(m, app, app->backends[b]);
	}
}

char *metrics_render(const struct admin_context *context, const struct flows *flows, size_t *len)
{
	struct metrics m = { .context = context, .flows = flows };
	char *text = NULL;
	bool failed;

	m.text.out = open_memstream(&text, len);
	if (!m.text.out)
		return NULL;
	__fsetlocking(m.text.out, FSETLOCKING_BYCALLER); /* nobody else's: a third faster */
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		put_family(&m, &families[i]);
	metrics_process(&m.text);
	failed = ferror(m.text.out) != 0;
	if (!fclose(m.text.out) && !failed)
		return text;
	free(text);
	return NULL;
}
