/* SPDX-License-Identifier: MIT */
#include "command_ask.h"

#include <stdio.h>

#include "client.h"
#include "command.h"

struct hearing {
	bool json;
	void (*row)(void *arg, cJSON *row);
	void *arg;
};

bool command_ask_option(struct command_ask *a, int option)
{
	switch (option) {
	case 'j':
		a->json = true;
		return true;
	case 's':
		a->socket = optarg;
		return true;
	case 'c':
		a->config = optarg;
		return true;
	default:
		return false;
	}
}

static void on_line(const char *text, cJSON *row, void *arg)
{
	const struct hearing *l = arg;

	if (l->json)
		puts(text);
	else if (row && !cJSON_HasObjectItem(row, "end") && !cJSON_HasObjectItem(row, "error")) {
		l->row(l->arg, row);
		return;
	}
	cJSON_Delete(row);
}

int command_ask(const struct command_ask *a, cJSON *request, void (*row)(void *arg, cJSON *row),
		void *arg)
{
	struct hearing l = { a->json, row, arg };
	char *path = command_socket(a->socket, a->config);
	char error[CLIENT_ERROR_MAX];
	int rc = path ? client_ask(path, CLIENT_TIMEOUT_DEFAULT_S, request, on_line, &l, error)
		      : -EINVAL;

	if (path && rc)
		fprintf(stderr, "shunt: %s\n", error);
	if (path && rc && !a->socket && a->config)
		fprintf(stderr,
			"shunt: that is Admin.Socket in %s; a daemon that was started when it said "
			"otherwise is asked with --socket\n",
			a->config);
	cJSON_Delete(request);
	free(path);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
