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

void command_print_errors(const char *path, const struct config_errors *errors)
{
	char text[1024];

	for (size_t i = 0; i < errors->n; i++) {
		config_error_format(&errors->list[i], path, text, sizeof(text));
		fprintf(stderr, "%s\n", text);
	}
	if (errors->total > errors->n)
		fprintf(stderr, "%s: and %zu more of them\n", path, errors->total - errors->n);
}

struct config *command_load_config(const char *path)
{
	struct config_vocabulary vocabulary = proxy_vocabulary();
	struct config_errors errors = { 0 };
	struct config *config = config_load(path, &vocabulary, &errors);

	command_print_errors(path, &errors);
	config_errors_free(&errors);
	return config;
}

char *command_socket(const char *socket, const char *config)
{
	struct config *c;
	char *path = NULL;

	if (socket || !config)
		return xstrdup(socket ? socket : ADMIN_SOCKET_DEFAULT);
	c = command_load_config(config);
	if (!c)
		return NULL;
	if (*c->admin_socket)
		path = xstrdup(c->admin_socket);
	else
		fprintf(stderr,
			"shunt: %s switches the admin socket off (\"Admin\": {\"Socket\": \"\"}), so "
			"its daemon can't be asked\n",
			config);
	config_free(c);
	return path;
}
