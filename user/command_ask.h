/* SPDX-License-Identifier: MIT */
/* What the commands that ask the running daemon share: their options, and asking it. */
#ifndef SHUNT_COMMAND_ASK_H
#define SHUNT_COMMAND_ASK_H

#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdbool.h>

#include "util.h"

struct command_ask {
	const char *socket, *config; /* see command_socket() */
	bool json;                   /* the daemon's lines as they are */
};

/* For getopt_long(); --json is for those that have it. */
#define COMMAND_ASK_SHORT "c:h"
#define COMMAND_ASK_JSON                                                                           \
	{                                                                                          \
		"json", no_argument, NULL, 'j'                                                     \
	}
#define COMMAND_ASK_OPTIONS                                                                        \
	{ "socket", required_argument, NULL, 's' }, { "config", required_argument, NULL, 'c' },    \
		{ "help", no_argument, NULL, 'h' },                                                \
	{                                                                                          \
		0                                                                                  \
	}

/* Takes one of them, but not --help. False: it is another one. */
bool command_ask_option(struct command_ask *a, int option);

/*
 * Sends the request, which it frees, and prints what went wrong. row() gets what the daemon
 * answers, each row to be given to cJSON_Delete(), or nothing with --json, when all lines are
 * printed. Returns the exit status.
 */
int command_ask(const struct command_ask *a, cJSON *request, void (*row)(void *arg, cJSON *row),
		void *arg);

#endif
