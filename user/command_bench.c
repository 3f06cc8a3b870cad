/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdio.h>

#include "bench.h"
#include "command.h"

static int parse_seconds(const char *text, uint32_t *ms)
{
	char *end;
	double seconds = strtod(text, &end);

	/* Not the other way round: "nan" is in no range. */
	if (*end ||
	    !(seconds * 1e3 >= BENCH_MEASURE_MIN_MS && seconds * 1e3 <= BENCH_MEASURE_MAX_MS)) {
		fprintf(stderr, "shunt: --seconds \"%s\" is not a number from %g to %g\n", text,
			BENCH_MEASURE_MIN_MS / 1e3, BENCH_MEASURE_MAX_MS / 1e3);
		return EXIT_USAGE;
	}
	*ms = (uint32_t)(seconds * 1e3);
	return 0;
}

int command_bench(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "seconds", required_argument, NULL, 's' },
		{ "engine", required_argument, NULL, 'e' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct bench_conf conf = { command_version, .measure_ms = BENCH_MEASURE_DEFAULT_MS };
	int option, rc = 0;

	while (!rc && (option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'j')
			conf.json = true;
		else if (option == 's')
			rc = parse_seconds(optarg, &conf.measure_ms);
		else if (option == 'e')
			conf.contenders = optarg;
		else
			return option == 'h' ? command_help(c) : command_usage_error(c);
	}
	if (!rc && optind < argc)
		return command_usage_error(c);
	if (rc)
		return rc;
	rc = bench_run(&conf);
	return rc == -EINVAL ? EXIT_USAGE : rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
