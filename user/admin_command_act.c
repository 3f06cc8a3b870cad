/* SPDX-License-Identifier: MIT */
#include "admin_command_act.h"

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
