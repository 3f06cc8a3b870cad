/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <stdio.h>

#include "proxy.h"

int command_help(const struct command *c)
{
	printf("Usage: shunt %s %s\n%s.\n\n%s", c->name, c->arguments, c->summary, c->help);
	return EXIT_SUCCESS;
}

int command_usage_error(const struct command *c)
{
	fprintf(stderr, "Usage: shunt %s %s\n`shunt %s --help` tells more.\n", c->name,
		c->arguments, c->name);
	return EXIT_USAGE;
}

struct config *command_load_config(const char *path)
{
	struct config_vocabulary vocabulary = proxy_vocabulary();
	struct config_errors errors = { 0 };
	struct config *config = config_load(path, &vocabulary, &errors);
	char text[1024];

	for (size_t i = 0; i < errors.n; i++) {
		config_error_format(&errors.list[i], path, text, sizeof(text));
		fprintf(stderr, "%s\n", text);
	}
	if (errors.total > errors.n)
		fprintf(stderr, "%s: and %zu more errors\n", path, errors.total - errors.n);
	config_errors_free(&errors);
	return config;
}
