/* SPDX-License-Identifier: MIT */
/*
 * shunt backends: the table of targets (command_show.c), or, with a verb in front, an order about
 * one of them.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "command_ask.h"

static const struct verb {
	const char *name;
	const char *order; /* what the daemon calls it */
	const char *flows; /* what becomes of those that there are */
} verbs[] = {
	{ "drain", "drained", "go on" },
	{ "enable", "enabled", NULL },
	{ "disable", "disabled", "are closed" },
};

static const struct verb *find_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

struct order {
	const struct verb *verb;
	const char *app, *target;
};

static void tell(void *arg, cJSON *row)
{
	const struct order *o = arg;
	const char *before = client_text(row, "before");
	uint64_t active = client_number(row, "active");

	if (!strcmp(before, o->verb->order))
		printf("%s of app %s was %s already", o->target, o->app, before);
	else
		printf("%s of app %s is now %s, was %s", o->target, o->app, o->verb->order, before);
	if (o->verb->flows && active)
		printf("; its connections (%llu) %s", (unsigned long long)active, o->verb->flows);
	puts(".");
	cJSON_Delete(row);
}

/* argv begins with the verb. */
static int give_order(const struct command *c, const struct verb *verb, int argc, char **argv)
{
	static const struct option options[] = { COMMAND_ASK_JSON, COMMAND_ASK_OPTIONS };
	struct command_ask ask = { 0 };
	struct order order = { .verb = verb };
	cJSON *request;
	int option;

	while ((option = getopt_long(argc, argv, COMMAND_ASK_SHORT, options, NULL)) != -1)
		if (!command_ask_option(&ask, option))
			return option == 'h' ? command_help(c) : command_usage_error(c);
	if (argc - optind != 2)
		return command_usage_error(c);
	order.app = argv[optind];
	order.target = argv[optind + 1];
	request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", "backend-order");
	cJSON_AddStringToObject(request, "app", order.app);
	cJSON_AddStringToObject(request, "target", order.target);
	cJSON_AddStringToObject(request, "order", verb->order);
	return command_ask(&ask, request, tell, &order);
}

int command_backends(const struct command *c, int argc, char **argv)
{
	const struct verb *verb = argc > 1 ? find_verb(argv[1]) : NULL;

	return verb ? give_order(c, verb, argc - 1, argv + 1) : command_show(c, argc, argv);
}
