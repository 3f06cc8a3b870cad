/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

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

/* A folder that is not there is clear: pins go with their daemon. But is this where pins could be? */
static bool can_have_pins(const char *pins)
{
	char path[PATH_MAX];
	struct statfs fs;

	snprintf(path, sizeof(path), "%s", pins);
	while (statfs(path, &fs)) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return false;
		*slash = '\0';
	}
	return fs.f_type == BPF_FS_MAGIC;
}

int command_wire(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "pins", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *pins = NULL, *path = NULL;
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
	if (pins && !can_have_pins(pins)) {
		fprintf(stderr, "shunt: %s can't have pins: it is no folder in a BPF file system\n",
			pins);
		return EXIT_FAILURE;
	}
	pins = pins ? pins : WIRE_PINS_DEFAULT;
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
