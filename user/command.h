/* SPDX-License-Identifier: MIT */
/*
 * What the commands of the command line share. A command is a row of the table in main.c, its
 * function either there or in a file of its own. Exit status: 0 done, 1 it went wrong (and said
 * why), 2 the command line is not understood.
 */
#ifndef SHUNT_COMMAND_H
#define SHUNT_COMMAND_H

#include "config.h"

#define CONFIG_PATH_DEFAULT "/etc/shunt/config.json"

#define EXIT_USAGE 2

struct command {
	const char *name, *arguments, *summary, *help;
	int (*run)(const struct command *c, int argc, char **argv);
};

/* Both return the exit status. */
int command_help(const struct command *c);
int command_usage_error(const struct command *c);
/* A line of standard error each. */
void command_print_errors(const char *path, const struct config_errors *errors);
/* NULL after every error has been printed. */
struct config *command_load_config(const char *path) must_check;

/*
 * Where the daemon is asked: at `socket`, or where the file `config` says, or, without either, at
 * the default. To be freed; NULL after it has been printed why there is none.
 */
char *command_socket(const char *socket, const char *config) must_check;

/* What `shunt --version` says, without the name. */
extern const char command_version[];

/* The commands that have a file of their own. command_show: status, apps, flows, reload;
 * command_act: drain, stop, log-level, config. */
int command_bench(const struct command *c, int argc, char **argv);
int command_probe(const struct command *c, int argc, char **argv);
int command_backends(const struct command *c, int argc, char **argv);
int command_show(const struct command *c, int argc, char **argv);
int command_act(const struct command *c, int argc, char **argv);
int command_top(const struct command *c, int argc, char **argv);
int command_wire(const struct command *c, int argc, char **argv);

#endif
