/* SPDX-License-Identifier: MIT */
/*
 * The commands whose answer is no table: drain, stop, log-level and bypass, which have the running
 * daemon do something and tell of it in a line of words, and config.
 */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "command_ask.h"

/* How the answer's row is told. */
static void tell_drain(const cJSON *row)
{
	(void)row;
	puts("The daemon takes no new connections, and ends with the last one.");
}

static void tell_stop(const cJSON *row)
{
	(void)row;
	puts("The daemon closes all connections, and ends.");
}

static void tell_log_level(const cJSON *row)
{
	const char *level = client_text(row, "level"), *before = client_text(row, "before");

	if (strcmp(level, before))
		printf("The log level is now %s, was %s.\n", level, before);
	else
		printf("The log level is %s.\n", level);
}

static void tell_bypass(const cJSON *row)
{
	if (strcmp(client_text(row, "bypass"), "off"))
		printf("Local peers of app \"%s\" send to each other where they can.\n",
		       client_text(row, "app"));
	else
		printf("Whatever is sent on connections of app \"%s\" goes through the proxy.\n",
		       client_text(row, "app"));
}

static void tell_config(const cJSON *row)
{
	char *text = cJSON_Print(row);

	if (text)
		puts(text);
	free(text);
}

static const struct act {
	const char *command;
	const char *keys[2]; /* of the request, for its arguments */
	int least;           /* arguments that it must have */
	void (*tell)(const cJSON *row);
} acts[] = {
	{ "drain", .tell = tell_drain },
	{ "stop", .tell = tell_stop },
	{ "log-level", { "level" }, .tell = tell_log_level },
	{ "bypass", { "bypass", "app" }, 2, tell_bypass },
	{ "config", .tell = tell_config },
};

static void tell(void *arg, cJSON *row)
{
	const struct act *act = arg;

	act->tell(row);
	cJSON_Delete(row);
}

static const struct act *find_act(const char *command)
{
	const struct act *act = acts;

	while (strcmp(act->command, command))
		act++;
	return act;
}

static int count_keys(const struct act *act)
{
	int n = 0;

	while (n < (int)ARRAY_SIZE(act->keys) && act->keys[n])
		n++;
	return n;
}

int command_act(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = { COMMAND_ASK_JSON, COMMAND_ASK_OPTIONS };
	const struct act *act = find_act(c->name);
	struct command_ask ask = { 0 };
	cJSON *request;
	int option, n;

	while ((option = getopt_long(argc, argv, COMMAND_ASK_SHORT, options, NULL)) != -1)
		if (!command_ask_option(&ask, option))
			return option == 'h' ? command_help(c) : command_usage_error(c);
	n = argc - optind;
	if (n < act->least || n > count_keys(act))
		return command_usage_error(c);
	request = cJSON_CreateObject();
	cJSON_AddStringToObject(request, "command", act->command);
	for (int i = 0; i < n; i++)
		cJSON_AddStringToObject(request, act->keys[i], argv[optind + i]);
	return command_ask(&ask, request, tell, (void *)act);
}
