/* SPDX-License-Identifier: MIT */
/*
 * The table of commands and how a request is read. What the rows are made of is in
 * admin_command_rows.c.
 */
#include "admin_command.h"

#include <stdio.h>
#include <string.h>

#include "admin_command_act.h"
#include "admin_command_backend.h"
#include "admin_command_rows.h"

enum option {
	OPTION_APP,
	OPTION_WHY,
	OPTION_LEVEL,
	OPTION_TARGET,
	OPTION_ORDER,
	OPTION_BYPASS,
	N_OPTIONS
};

#define TAKES(option) (1u << (option))

static bool run_help(struct admin_request *r, cJSON *row);

static const struct admin_command commands[] = {
	{ "status", "the daemon as a whole", .wants_flows = true, .run = admin_row_status },
	{ "apps", "a row for each app", TAKES(OPTION_APP), .wants_flows = true,
	  .run = admin_row_app },
	{ "backends", "a row for each target of each app, with its addresses", TAKES(OPTION_APP),
	  .wants_flows = true, .run = admin_row_backend },
	{ "backend-order", "has one target of an app drained, disabled or enabled again",
	  TAKES(OPTION_APP) | TAKES(OPTION_TARGET) | TAKES(OPTION_ORDER),
	  .check = admin_check_backend, .run = admin_row_backend_order },
	{ "flows", "a row for each live connection", TAKES(OPTION_APP) | TAKES(OPTION_WHY),
	  .wants_flows = true, .run = admin_row_flow },
	{ "reload", "reads the configuration again; a row for each change", .wants_reload = true,
	  .run = admin_row_reload },
	{ "top", "status, apps and backends in one answer, of one moment", TAKES(OPTION_APP),
	  .wants_flows = true, .run = admin_row_top },
	{ "config", "the configuration in force, as one row", .run = admin_row_config },
	{ "log-level", "the least important lines that are logged, and another level from now on",
	  TAKES(OPTION_LEVEL), .run = admin_row_log_level },
	{ "bypass", "whether an app's local peers may go around the proxy, or may from now on",
	  TAKES(OPTION_APP) | TAKES(OPTION_BYPASS), .check = admin_check_bypass,
	  .run = admin_row_bypass },
	{ "drain", "no new connections; the daemon ends with the last one",
	  .run = admin_row_drain },
	{ "stop", "closes all connections, and the daemon ends", .run = admin_row_stop },
	{ "help", "a row for each command", .run = run_help },
};

static bool run_help(struct admin_request *r, cJSON *row)
{
	if (r->at == ARRAY_SIZE(commands))
		return false;
	cJSON_AddStringToObject(row, "command", commands[r->at].name);
	cJSON_AddStringToObject(row, "summary", commands[r->at].summary);
	r->at++;
	return true;
}

int admin_unknown(char error[ADMIN_ERROR_MAX], const char *what, const char *name,
		  const char *const *names, size_t n, const char *hint)
{
	const char *nearest = nearest_name(name, names, n);
	int len = snprintf(error, ADMIN_ERROR_MAX, "%s \"%.300s\"", what, name);

	if (nearest)
		snprintf(error + len, ADMIN_ERROR_MAX - (size_t)len, "; did you mean \"%s\"?",
			 nearest);
	else
		snprintf(error + len, ADMIN_ERROR_MAX - (size_t)len, "; %s", hint);
	return -EINVAL;
}

static int find_command(struct admin_request *r, const char *name, char error[ADMIN_ERROR_MAX])
{
	const char *names[ARRAY_SIZE(commands)];

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		names[i] = commands[i].name;
		if (strcmp(names[i], name))
			continue;
		r->command = &commands[i];
		return 0;
	}
	return admin_unknown(error, "there is no command", name, names, ARRAY_SIZE(names),
			     "the command \"help\" lists them");
}

static int set_app(struct admin_request *r, const cJSON *v, char error[ADMIN_ERROR_MAX])
{
	const char **names;
	int rc;

	if (!cJSON_IsString(v)) {
		snprintf(error, ADMIN_ERROR_MAX, "\"app\" must be a string, the name of an app");
		return -EINVAL;
	}
	/* One that runs comes before one of the same name that is leaving. */
	for (size_t i = 0; !r->app && i < r->apps.n; i++)
		if (!strcmp(r->apps.list[i]->conf->name, v->valuestring))
			r->app = r->apps.list[i];
	if (r->app)
		return 0;
	names = xcalloc(r->apps.n, sizeof(*names));
	for (size_t i = 0; i < r->apps.n; i++)
		names[i] = r->apps.list[i]->conf->name;
	rc = admin_unknown(error, "there is no app", v->valuestring, names, r->apps.n,
			   "the command \"apps\" lists them");
	free(names);
	return rc;
}

static int set_why(struct admin_request *r, const cJSON *v, char error[ADMIN_ERROR_MAX])
{
	r->why = cJSON_IsTrue(v);
	if (cJSON_IsBool(v))
		return 0;
	snprintf(error, ADMIN_ERROR_MAX, "\"why\" must be true or false");
	return -EINVAL;
}

static int set_level(struct admin_request *r, const cJSON *v, char error[ADMIN_ERROR_MAX])
{
	const char *names[N_LOG_LEVELS], *name = cJSON_GetStringValue(v);

	for (unsigned int i = 0; i < N_LOG_LEVELS; i++) {
		names[i] = log_level_name((enum log_level)i);
		if (!name || strcmp(name, names[i]))
			continue;
		r->level = (enum log_level)i;
		r->sets_level = true;
		return 0;
	}
	return admin_unknown(error, "there is no log level", name ? name : "", names, N_LOG_LEVELS,
			     "there are error, warning, notice, info and debug");
}

static int set_target(struct admin_request *r, const cJSON *v, char error[ADMIN_ERROR_MAX])
{
	const char *text = cJSON_GetStringValue(v);

	if (text && *text && strlen(text) < sizeof(r->target)) {
		snprintf(r->target, sizeof(r->target), "%s", text);
		return 0;
	}
	snprintf(error, ADMIN_ERROR_MAX, "\"target\" must be a string, a target's text");
	return -EINVAL;
}

static int set_order(struct admin_request *r, const cJSON *v, char error[ADMIN_ERROR_MAX])
{
	const char *name = cJSON_GetStringValue(v);

	for (unsigned int i = 0; name && i < N_BACKEND_ORDERS; i++) {
		if (strcmp(name, backend_order_names[i]))
			continue;
		r->order = (enum backend_order)i;
		return 0;
	}
	return admin_unknown(error, "there is no order", name ? name : "", backend_order_names,
			     N_BACKEND_ORDERS, "there are enabled, drained and disabled");
}

static int set_bypass(struct admin_request *r, const cJSON *v, char error[ADMIN_ERROR_MAX])
{
	const char *word = cJSON_GetStringValue(v);

	r->bypass_off = word && !strcmp(word, "off");
	r->sets_bypass = r->bypass_off || (word && !strcmp(word, "on"));
	if (r->sets_bypass)
		return 0;
	snprintf(error, ADMIN_ERROR_MAX, "\"bypass\" must be \"on\" or \"off\"");
	return -EINVAL;
}

static const struct {
	const char *name;
	int (*set)(struct admin_request *r, const cJSON *v, char error[ADMIN_ERROR_MAX]);
} options[N_OPTIONS] = {
	[OPTION_APP] = { "app", set_app },       [OPTION_WHY] = { "why", set_why },
	[OPTION_LEVEL] = { "level", set_level }, [OPTION_TARGET] = { "target", set_target },
	[OPTION_ORDER] = { "order", set_order }, [OPTION_BYPASS] = { "bypass", set_bypass },
};

static int set_option(struct admin_request *r, const cJSON *v, char error[ADMIN_ERROR_MAX])
{
	const char *names[N_OPTIONS];
	char what[64], hint[64] = "it takes none";
	size_t n = 0, len = 0;

	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (!(r->command->options & TAKES(i)))
			continue;
		if (!strcmp(options[i].name, v->string))
			return options[i].set(r, v, error);
		len += (size_t)snprintf(hint + len, sizeof(hint) - len, "%s\"%s\"",
					n ? ", " : "it takes: ", options[i].name);
		names[n++] = options[i].name;
	}
	snprintf(what, sizeof(what), "the command \"%s\" takes no option", r->command->name);
	return admin_unknown(error, what, v->string, names, n, hint);
}

static int read_request(struct admin_request *r, const cJSON *request, char error[ADMIN_ERROR_MAX])
{
	const cJSON *name = cJSON_GetObjectItemCaseSensitive(request, "command"), *member;
	int rc;

	if (!cJSON_IsObject(request) || !cJSON_IsString(name)) {
		snprintf(error, ADMIN_ERROR_MAX,
			 "a request must be one line of JSON such as {\"command\": \"status\"}");
		return -EINVAL;
	}
	rc = find_command(r, name->valuestring, error);
	cJSON_ArrayForEach(member, request)
	{
		if (!rc && strcmp(member->string, "command"))
			rc = set_option(r, member, error);
	}
	if (!rc && r->command->check)
		rc = r->command->check(r, error);
	return rc;
}

/* A reload between two rows changes nothing in the answer. */
static void take_apps(struct admin_request *r)
{
	struct apps *apps = r->context->apps;

	apps_prune(apps);
	r->apps = app_list_copy(&apps->running);
	for (size_t i = 0; i < apps->leaving.n; i++)
		app_list_add(&r->apps, apps->leaving.list[i]);
}

void admin_request_end(struct admin_request *r)
{
	flows_free(r->flows);
	reload_answer_put(r->reloaded);
	app_list_free(&r->apps);
	*r = (struct admin_request){ 0 };
}

int admin_request_parse(struct admin_request *r, const struct admin_context *context,
			const char *line, char error[ADMIN_ERROR_MAX])
{
	cJSON *request = cJSON_ParseWithOpts(line, NULL, true);
	int rc;

	*r = (struct admin_request){ .context = context, .order = N_BACKEND_ORDERS };
	take_apps(r);
	rc = read_request(r, request, error);
	cJSON_Delete(request);
	return rc;
}
