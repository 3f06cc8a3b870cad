/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "wire.h"

static int clear(const char *pins)
{
	int n = wire_clear(pins);

	if (n == -EBUSY) {
		fprintf(stderr, "shunt: a daemon is using %s: stop it first\n", pins);
		return EXIT_FAILURE;
	}
	if (n < 0) {
		fprintf(stderr, "shunt: %s can't be cleared: %s\n", pins, strerror(-n));
		return EXIT_FAILURE;
	}
	printf("%s is clear; %d connection%s on it\n", pins, n, n == 1 ? " was" : "s were");
	return EXIT_SUCCESS;
}

int command_wire(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "pins", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *pins = WIRE_PINS_DEFAULT, *path = NULL;
	struct config *config = NULL;
	int o, status;

	while ((o = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			path = optarg;
			break;
		case 'p':
			pins = optarg;
			break;
		case 'h':
			return command_help(c);
		default:
			return command_usage_error(c);
		}
	}
	if (argc - optind != 1 || strcmp(argv[optind], "clear"))
		return command_usage_error(c);
	if (path) {
		config = command_load_config(path);
		if (!config)
			return EXIT_FAILURE;
		pins = config->wire.pins;
	}
	status = pins && *pins ? clear(pins) : EXIT_SUCCESS;
	config_free(config);
	return status;
}
