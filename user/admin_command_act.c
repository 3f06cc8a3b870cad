/* SPDX-License-Identifier: MIT */
#include "admin_command_act.h"

#include <stdio.h>

#include "log.h"

bool admin_row_drain(struct admin_request *r, cJSON *row)
{
	const struct admin_context *c = r->context;

	if (r->at++)
		return false;
	c->control.drain(c->control.daemon);
	cJSON_AddStringToObject(row, "state", workers_state(c->workers));
	return true;
}

bool admin_row_stop(struct admin_request *r, cJSON *row)
{
	const struct admin_context *c = r->context;

	if (r->at++)
		return false;
	c->control.stop(c->control.daemon);
	cJSON_AddStringToObject(row, "state", "stopping");
	return true;
}

bool admin_row_log_level(struct admin_request *r, cJSON *row)
{
	enum log_level before = log_level_now();

	if (r->at++)
		return false;
	if (r->sets_level && r->level != before) {
		/* Told at whichever of the two levels writes more. */
		if (r->level > before)
			log_set_level(r->level);
		log_notice("the log level is now %s, was %s", log_level_name(r->level),
			   log_level_name(before));
		log_set_level(r->level);
	}
	cJSON_AddStringToObject(row, "level", log_level_name(log_level_now()));
	cJSON_AddStringToObject(row, "before", log_level_name(before));
	return true;
}

static const char *bypass_word(bool off)
{
	return off ? "off" : "on";
}

int admin_check_bypass(struct admin_request *r, char error[ADMIN_ERROR_MAX])
{
	const char *why = NULL;

	if (!r->app)
		why = "which app? It takes an \"app\"";
	else if (!r->app->conf->local_bypass)
		why = "this app is not bypassed: its \"LocalBypass\" is false";
	else if (!bypassing_serves(r->app))
		why = "this app is not bypassed: it has a \"ProxyProtocol\"";
	else if (!bypassing_bypass(r->context->bypassing))
		why = "the local bypass does not run: the log says why";
	if (why)
		snprintf(error, ADMIN_ERROR_MAX, "%s", why);
	return why ? -EINVAL : 0;
}

bool admin_row_bypass(struct admin_request *r, cJSON *row)
{
	bool before;

	if (r->at++)
		return false;
	before = atomic_load(&r->app->shared->bypass_off);
	if (r->sets_bypass && before != r->bypass_off) {
		bypassing_switch(r->context->bypassing, r->app, r->bypass_off);
		log_notice("the local bypass of app \"%s\" is now %s", r->app->conf->name,
			   bypass_word(r->bypass_off));
	}
	cJSON_AddStringToObject(row, "app", r->app->conf->name);
	cJSON_AddStringToObject(row, "bypass",
				bypass_word(atomic_load(&r->app->shared->bypass_off)));
	cJSON_AddStringToObject(row, "before", bypass_word(before));
	return true;
}
