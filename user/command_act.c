/* SPDX-License-Identifier: MIT */
/*
 * The commands whose answer is no table: drain, stop, log-level and bypass, which have the running
 * daemon do something and tell of it in a line of words, and config.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"

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

struct asking {
	const struct act *act;
	bool json;
};

static void on_line(const char *text, cJSON *row, void *arg)
{
	const struct asking *a = arg;

	if (a->json)
		puts(text);
	else if (row && !cJSON_HasObjectItem(row, "end") && !cJSON_HasObjectItem(row, "error"))
		a->act->tell(row);
	cJSON_Delete(row);
}

static int ask(struct asking *a, const char *path, int n, char *const *arguments)
{
	cJSON *request = cJSON_CreateObject();
	char error[CLIENT_ERROR_MAX];
	int rc;

	cJSON_AddStringToObject(request, "command", a->act->command);
	for (int i = 0; i < n; i++)
		cJSON_AddStringToObject(request, a->act->keys[i], arguments[i]);
	rc = client_ask(path, CLIENT_TIMEOUT_DEFAULT_S, request, on_line, a, error);
	cJSON_Delete(request);
	if (rc)
		fprintf(stderr, "shunt: %s\n", error);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
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
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "socket", required_argument, NULL, 's' },
		{ "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct asking a = { .act = find_act(c->name) };
	const char *socket = NULL, *config = NULL;
	int option, arguments, status;
	char *path;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (option == 'j')
			a.json = true;
		else if (option == 's')
			socket = optarg;
		else if (option == 'c')
			config = optarg;
		else
			return option == 'h' ? command_help(c) : command_usage_error(c);
	}
	arguments = argc - optind;
	if (arguments < a.act->least || arguments > count_keys(a.act))
		return command_usage_error(c);
	path = command_socket(socket, config);
	if (!path)
		return EXIT_FAILURE;
	status = ask(&a, path, arguments, argv + optind);
	free(path);
	return status;
}
