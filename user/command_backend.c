/* SPDX-License-Identifier: MIT */
/*
 * shunt backends: the table of targets (command_show.c), or, with a verb in front, an order about
 * one of them.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"

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

struct asking {
	const struct verb *verb;
	const char *app, *target, *socket, *config;
	bool json;
};

static void tell(const struct asking *a, const cJSON *row)
{
	const char *before = client_text(row, "before");
	uint64_t active = client_number(row, "active");

	if (!strcmp(before, a->verb->order))
		printf("%s of app %s was %s already", a->target, a->app, before);
	else
		printf("%s of app %s is now %s, was %s", a->target, a->app, a->verb->order, before);
	if (a->verb->flows && active)
		printf("; its connections (%llu) %s", (unsigned long long)active, a->verb->flows);
	puts(".");
}

static void on_line(const char *text, cJSON *row, void *arg)
{
	const struct asking *a = arg;

	if (a->json)
		puts(text);
	else if (row && !cJSON_HasObjectItem(row, "end") && !cJSON_HasObjectItem(row, "error"))
		tell(a, row);
	cJSON_Delete(row);
}

static int ask(struct asking *a)
{
	cJSON *request = cJSON_CreateObject();
	char *path = command_socket(a->socket, a->config);
	char error[CLIENT_ERROR_MAX];
	int rc = -1;

	cJSON_AddStringToObject(request, "command", "backend-order");
	cJSON_AddStringToObject(request, "app", a->app);
	cJSON_AddStringToObject(request, "target", a->target);
	cJSON_AddStringToObject(request, "order", a->verb->order);
	if (path)
		rc = client_ask(path, CLIENT_TIMEOUT_DEFAULT_S, request, on_line, a, error);
	if (path && rc)
		fprintf(stderr, "shunt: %s\n", error);
	cJSON_Delete(request);
	free(path);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* argv begins with the verb. */
static int give_order(const struct command *c, const struct verb *verb, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "socket", required_argument, NULL, 's' },
		{ "config", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct asking a = { .verb = verb };
	int option;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (option == 'j')
			a.json = true;
		else if (option == 's')
			a.socket = optarg;
		else if (option == 'c')
			a.config = optarg;
		else
			return option == 'h' ? command_help(c) : command_usage_error(c);
	}
	if (argc - optind != 2)
		return command_usage_error(c);
	a.app = argv[optind];
	a.target = argv[optind + 1];
	return ask(&a);
}

int command_backends(const struct command *c, int argc, char **argv)
{
	const struct verb *verb = argc > 1 ? find_verb(argv[1]) : NULL;

	return verb ? give_order(c, verb, argc - 1, argv + 1) : command_show(c, argc, argv);
}
