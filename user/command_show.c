/* SPDX-License-Identifier: MIT */
/*
 * The commands that ask the running daemon and show what it says: as a table, or as it came. What a
 * table looks like is a view: its columns, and the function that makes cells of a row of the answer.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "command_ask.h"
#include "table.h"

/* One line of the answer. */
struct row {
	cJSON *json;
};

struct view {
	const char *command;
	const struct table_column *columns;
	size_t n_columns;
	bool takes_app, takes_why;
	void (*add)(struct table *t, const cJSON *row);
	/* For qsort() over struct row; NULL: in the daemon's order. */
	int (*order)(const void *a, const void *b);
	const char *nothing; /* instead of a table without rows */
};

/* --- cells ----------------------------------------------------------------------------------- */

static void add_text(struct table *t, const cJSON *row, const char *key)
{
	table_add(t, client_text(row, key));
}

static void add_count(struct table *t, uint64_t n)
{
	char text[TABLE_UNIT_MAX];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	table_add(t, text);
}

static void add_number(struct table *t, const cJSON *row, const char *key)
{
	add_count(t, client_number(row, key));
}

static void add_bytes(struct table *t, uint64_t bytes)
{
	char text[TABLE_UNIT_MAX];

	table_add(t, table_bytes(text, bytes));
}

/* "5", or "5/10" of at most 10. */
static void add_active(struct table *t, const cJSON *row)
{
	unsigned long long active = client_number(row, "active"),
			   most = client_number(row, "max_connections");
	char text[2 * TABLE_UNIT_MAX];

	snprintf(text, sizeof(text), most ? "%llu/%llu" : "%llu", active, most);
	table_add(t, text);
}

static void add_duration(struct table *t, const cJSON *row, const char *key)
{
	char text[TABLE_UNIT_MAX];

	table_add(t, table_duration(text, client_number(row, key)));
}

/* Of an app that runs there is nothing to say. */
static void add_removed(struct table *t, const cJSON *row, const char *key)
{
	table_add(t, strcmp(client_text(row, key), "removed") ? "" : "removed");
}

/* --- status ---------------------------------------------------------------------------------- */

static const struct table_column status_columns[] = {
	{ .title = "ENGINE" },
	{ .title = "TO BACKEND", .is_number = true },
	{ .title = "TO CLIENT", .is_number = true },
	{ .title = "WHY" },
};

/* What is not 0, or "none". */
static void print_counts_apart(const cJSON *counts, const char *between)
{
	const char *before = "";
	const cJSON *count;

	cJSON_ArrayForEach(count, counts)
	{
		if (count->valuedouble <= 0)
			continue;
		printf("%s%.0f %s", before, count->valuedouble, count->string);
		before = between;
	}
	puts(*before ? "" : "none");
}

/* "12 done, 3 client_reset" */
static void print_counts(const cJSON *counts)
{
	print_counts_apart(counts, ", ");
}

static void print_wire(const cJSON *row)
{
	uint64_t adopted = client_number(row, "wire_adopted");

	printf("Wire        on %s, packets: ", client_text(row, "wire_devices"));
	print_counts(cJSON_GetObjectItemCaseSensitive(row, "wire_packets"));
	if (adopted)
		printf("Adopted     %llu connections of a daemon before\n",
		       (unsigned long long)adopted);
}

static void add_status(struct table *t, const cJSON *row)
{
	char up[TABLE_UNIT_MAX], to_backend[TABLE_UNIT_MAX], to_client[TABLE_UNIT_MAX];
	const cJSON *engine;

	printf("shunt %s, pid %.0f, up %s, %s, workers %.0f, apps %.0f\n\n",
	       client_text(row, "version"), (double)client_number(row, "pid"),
	       table_duration(up, client_number(row, "uptime_ms")), client_text(row, "state"),
	       (double)client_number(row, "workers"), (double)client_number(row, "apps"));
	printf("Live        %.0f: ", (double)client_number(row, "sessions"));
	print_counts(cJSON_GetObjectItemCaseSensitive(row, "states"));
	printf("Accepted    %.0f, failovers %.0f\n", (double)client_number(row, "accepted"),
	       (double)client_number(row, "failovers"));
	printf("Closed      ");
	print_counts(cJSON_GetObjectItemCaseSensitive(row, "closed"));
	printf("Relayed     %s to backends, %s to clients\n",
	       table_bytes(to_backend, client_number(row, "bytes_to_backend")),
	       table_bytes(to_client, client_number(row, "bytes_to_client")));
	if (cJSON_HasObjectItem(row, "sockmap_segments")) {
		printf("Kernel      segments: ");
		print_counts(cJSON_GetObjectItemCaseSensitive(row, "sockmap_segments"));
	}
	if (cJSON_HasObjectItem(row, "bypass")) {
		printf("Bypass      ");
		print_counts(cJSON_GetObjectItemCaseSensitive(row, "bypass"));
	}
	if (cJSON_HasObjectItem(row, "wire_packets"))
		print_wire(row);
	if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(row, "join_refused"))) {
		printf("Not joined  ");
		/* Sentences. */
		print_counts_apart(cJSON_GetObjectItemCaseSensitive(row, "join_refused"),
				   "\n            ");
	}
	printf("Room        for %llu more connections\n",
	       (unsigned long long)client_number(row, "room"));
	if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(row, "engines")))
		putchar('\n');
	cJSON_ArrayForEach(engine, cJSON_GetObjectItemCaseSensitive(row, "engines"))
	{
		add_text(t, engine, "engine");
		add_number(t, engine, "to_backend");
		add_number(t, engine, "to_client");
		add_text(t, engine, "why");
	}
}

/* --- apps ------------------------------------------------------------------------------------ */

static const struct table_column app_columns[] = {
	{ .title = "APP" },
	{ .title = "STATE", .is_optional = true },
	{ .title = "PORTS" },
	{ .title = "UP", .is_number = true },
	{ .title = "ACTIVE", .is_number = true },
	{ .title = "QUEUED", .is_number = true },
	{ .title = "ACCEPTED", .is_number = true },
	{ .title = "DONE", .is_number = true },
	{ .title = "CUT", .is_number = true },
	{ .title = "FAILOVERS", .is_number = true },
	{ .title = "TO BACKEND", .is_number = true },
	{ .title = "TO CLIENT", .is_number = true },
	{ .title = "BALANCE" },
	{ .title = "ENGINE" },
};

static void add_app(struct table *t, const cJSON *row)
{
	const cJSON *closed = cJSON_GetObjectItemCaseSensitive(row, "closed"), *count;
	char up[2 * TABLE_UNIT_MAX];
	uint64_t all = 0;

	cJSON_ArrayForEach(count, closed) all += client_number(closed, count->string);
	snprintf(up, sizeof(up), "%.0f/%.0f", (double)client_number(row, "targets_up"),
		 (double)client_number(row, "targets"));
	add_text(t, row, "app");
	add_removed(t, row, "state");
	add_text(t, row, "ports");
	table_add(t, up);
	add_active(t, row);
	add_number(t, row, "queued");
	add_number(t, row, "accepted");
	add_number(t, closed, "done");
	add_count(t, all - client_number(closed, "done"));
	add_number(t, row, "failovers");
	add_bytes(t, client_number(row, "bytes_to_backend"));
	add_bytes(t, client_number(row, "bytes_to_client"));
	add_text(t, row, "balance");
	add_text(t, row, "engine");
}

/* --- backends: a line for each address, with the target's part on the first of them ------------- */

static const struct table_column backend_columns[] = {
	{ .title = "APP" },
	{ .title = "APP STATE", .is_optional = true },
	{ .title = "TARGET" },
	{ .title = "ADDRESS", .is_optional = true },
	{ .title = "STATE" },
	{ .title = "SINCE", .is_number = true },
	{ .title = "TRIED AGAIN", .is_optional = true },
	{ .title = "LAST CHECK", .is_optional = true },
	{ .title = "ORDER", .is_optional = true },
	{ .title = "WEIGHT", .is_number = true },
	{ .title = "ACTIVE", .is_number = true },
	{ .title = "CONNECTS", .is_number = true },
	{ .title = "FAILURES", .is_number = true },
	{ .title = "TO BACKEND", .is_number = true },
	{ .title = "TO CLIENT", .is_number = true },
};
#define BACKEND_FIRST 3 /* what stands before the address's columns */
#define BACKEND_REST 7  /* what follows the address's columns */

/* "passed in 0.31 ms, for 5m12s": the last one, and since when all have come out like it. */
static void add_check(struct table *t, const cJSON *address)
{
	char text[128], since[TABLE_UNIT_MAX];

	if (!cJSON_HasObjectItem(address, "check")) {
		table_add(t, "");
		return;
	}
	snprintf(text, sizeof(text), "%s in %.2f ms, for %s", client_text(address, "check"),
		 (double)client_number(address, "check_latency_us") / 1000,
		 table_duration(since, client_number(address, "check_since_ms")));
	table_add(t, text);
}

static void add_address(struct table *t, const cJSON *address)
{
	uint64_t trial_ms = client_number(address, "trial_in_ms");
	char text[TABLE_UNIT_MAX], trial[TABLE_UNIT_MAX + sizeof("in ")];

	add_text(t, address, "address");
	add_text(t, address, "state");
	add_duration(t, address, "since_ms");
	snprintf(trial, sizeof(trial), "in %s", table_duration(text, trial_ms));
	if (!cJSON_HasObjectItem(address, "trial_in_ms"))
		table_add(t, "");
	else
		table_add(t, trial_ms ? trial : "by next client");
	add_check(t, address);
}

static void add_no_address(struct table *t, const cJSON *row)
{
	table_add(t, "");
	add_text(t, row, "state");
	table_add(t, "-");
	table_add(t, "");
	table_add(t, "");
}

static void add_backend_rest(struct table *t, const cJSON *row)
{
	const char *order = client_text(row, "order");

	table_add(t, strcmp(order, "enabled") ? order : "");
	add_number(t, row, "weight");
	add_active(t, row);
	add_number(t, row, "connects");
	add_number(t, row, "failures");
	add_bytes(t, client_number(row, "bytes_to_backend"));
	add_bytes(t, client_number(row, "bytes_to_client"));
}

static void add_backend(struct table *t, const cJSON *row)
{
	const cJSON *addresses = cJSON_GetObjectItemCaseSensitive(row, "addresses");
	const cJSON *address = addresses ? addresses->child : NULL;

	add_text(t, row, "app");
	add_removed(t, row, "app_state");
	add_text(t, row, "target");
	if (address)
		add_address(t, address);
	else
		add_no_address(t, row);
	add_backend_rest(t, row);
	while (address && (address = address->next)) {
		for (int i = 0; i < BACKEND_FIRST; i++)
			table_add(t, "");
		add_address(t, address);
		for (int i = 0; i < BACKEND_REST; i++)
			table_add(t, "");
	}
}

/* --- flows ----------------------------------------------------------------------------------- */

static const struct table_column flow_columns[] = {
	{ .title = "APP" },
	{ .title = "CLIENT" },
	{ .title = "LISTENER" },
	{ .title = "TARGET" },
	{ .title = "ADDRESS", .is_optional = true },
	{ .title = "STATE" },
	{ .title = "ENGINE" },
	{ .title = "AGE", .is_number = true },
	{ .title = "IDLE", .is_number = true },
	{ .title = "TO BACKEND", .is_number = true },
	{ .title = "TO CLIENT", .is_number = true },
	{ .title = "BACKLOG", .is_number = true },
	{ .title = "WHY", .is_optional = true },
};

/* Both directions as one when they are the same. */
static void add_both(struct table *t, const char *to_backend, const char *to_client,
		     const char *between)
{
	char text[512];

	if (!strcmp(to_backend, to_client)) {
		table_add(t, to_backend);
		return;
	}
	snprintf(text, sizeof(text), "%s%s%s", to_backend, between, to_client);
	table_add(t, text);
}

static void add_flow(struct table *t, const cJSON *row)
{
	add_text(t, row, "app");
	add_text(t, row, "client");
	add_text(t, row, "listener");
	add_text(t, row, "target");
	add_text(t, row, "address");
	add_text(t, row, "state");
	add_both(t, client_text(row, "engine_to_backend"), client_text(row, "engine_to_client"),
		 ",");
	add_duration(t, row, "age_ms");
	add_duration(t, row, "idle_ms");
	add_bytes(t, client_number(row, "bytes_to_backend"));
	add_bytes(t, client_number(row, "bytes_to_client"));
	add_bytes(t, client_number(row, "backlog_to_backend") +
			     client_number(row, "backlog_to_client"));
	add_both(t, client_text(row, "why_to_backend"), client_text(row, "why_to_client"),
		 "; to the client: ");
}

/* By app, and then the oldest first. */
static int flow_order(const void *va, const void *vb)
{
	const cJSON *a = ((const struct row *)va)->json, *b = ((const struct row *)vb)->json;
	uint64_t age_a = client_number(a, "age_ms"), age_b = client_number(b, "age_ms");
	int order = strcmp(client_text(a, "app"), client_text(b, "app"));

	return order ? order : (age_a < age_b) - (age_a > age_b);
}

/* --- reload: what has changed ------------------------------------------------------------------ */

static const struct table_column reload_columns[] = {
	{ .title = "CHANGE" },
	{ .title = "APP", .is_optional = true },
	{ .title = "KEY", .is_optional = true },
	{ .title = "FROM", .is_optional = true },
	{ .title = "TO", .is_optional = true },
	{ .title = "NOTE", .is_optional = true },
};

static void add_reload(struct table *t, const cJSON *row)
{
	add_text(t, row, "change");
	add_text(t, row, "app");
	add_text(t, row, "key");
	add_text(t, row, "from");
	add_text(t, row, "to");
	table_add(t, cJSON_HasObjectItem(row, "needs_restart") ? "needs a restart" : "");
}

/* --- the command ----------------------------------------------------------------------------- */

#define COLUMNS(list) .columns = (list), .n_columns = ARRAY_SIZE(list)

static const struct view views[] = {
	{ "status", COLUMNS(status_columns), .add = add_status },
	{ "apps", COLUMNS(app_columns), .takes_app = true, .add = add_app },
	{ "backends", COLUMNS(backend_columns), .takes_app = true, .add = add_backend },
	{ "flows", COLUMNS(flow_columns), .takes_app = true, .takes_why = true, .add = add_flow,
	  .order = flow_order },
	{ "reload", COLUMNS(reload_columns), .add = add_reload, .nothing = "nothing has changed" },
};

struct show {
	const struct view *view;
	const char *app;
	bool why;
	struct row *rows; /* for a table: all of the answer but its end */
	size_t n_rows, rows_size;
};

static void keep_row(void *arg, cJSON *row)
{
	struct show *s = arg;

	if (cJSON_HasObjectItem(row, "problem"))
		fprintf(stderr, "%s\n", client_text(row, "problem"));
	if (cJSON_HasObjectItem(row, "warning")) {
		fprintf(stderr, "%s\n", client_text(row, "warning"));
		cJSON_Delete(row);
		return;
	}
	if (s->n_rows == s->rows_size) {
		s->rows_size = MAX(64u, 2 * s->rows_size);
		s->rows = xreallocarray(s->rows, s->rows_size, sizeof(*s->rows));
	}
	s->rows[s->n_rows++].json = row;
}

static void print_table(const struct show *s)
{
	const struct view *v = s->view;
	struct table *t = table_new(v->columns, v->n_columns);

	if (v->nothing && !s->n_rows)
		puts(v->nothing);
	if (v->order && s->n_rows)
		qsort(s->rows, s->n_rows, sizeof(*s->rows), v->order);
	for (size_t i = 0; i < s->n_rows; i++)
		v->add(t, s->rows[i].json);
	if (table_has_rows(t) || (!s->n_rows && !v->nothing))
		table_print(t, stdout);
	table_free(t);
}

static int ask(struct show *s, const struct command_ask *a)
{
	cJSON *request = cJSON_CreateObject();
	int status;

	cJSON_AddStringToObject(request, "command", s->view->command);
	if (s->app)
		cJSON_AddStringToObject(request, "app", s->app);
	if (s->why)
		cJSON_AddTrueToObject(request, "why");
	status = command_ask(a, request, keep_row, s);
	if (status == EXIT_SUCCESS && !a->json)
		print_table(s);
	for (size_t i = 0; i < s->n_rows; i++)
		cJSON_Delete(s->rows[i].json);
	free(s->rows);
	return status;
}

static const struct view *find_view(const char *command)
{
	const struct view *v = views;

	while (strcmp(v->command, command))
		v++;
	return v;
}

int command_show(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "app", required_argument, NULL, 'a' },
		{ "why", no_argument, NULL, 'y' },
		COMMAND_ASK_JSON,
		COMMAND_ASK_OPTIONS,
	};
	struct show s = { .view = find_view(c->name) };
	struct command_ask a = { 0 };
	int option;

	while ((option = getopt_long(argc, argv, COMMAND_ASK_SHORT, options, NULL)) != -1) {
		if (option == 'a')
			s.app = optarg;
		else if (option == 'y')
			s.why = true;
		else if (!command_ask_option(&a, option))
			return option == 'h' ? command_help(c) : command_usage_error(c);
	}
	if (optind < argc || (s.app && !s.view->takes_app) || (s.why && !s.view->takes_why))
		return command_usage_error(c);
	return ask(&s, &a);
}
