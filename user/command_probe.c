/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>

#include "command.h"
#include "probe.h"

int command_probe(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct probe_report report = { 0 };
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'h')
			return command_help(c);
		if (option != 'j')
			return command_usage_error(c);
		json = true;
	}
	if (optind < argc)
		return command_usage_error(c);
	probe_all(&report);
	if (json)
		probe_print_json(&report, stdout);
	else
		probe_print_text(&report, stdout);
	return EXIT_SUCCESS;
}
