/* SPDX-License-Identifier: MIT */
/*
 * The command line: a table of commands, each with its options, its help and its function. Exit
 * status: 0 done, 1 it went wrong (and said why), 2 the command line is not understood.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "config.h"
#include "log.h"
#include "proxy.h"
#include "util.h"

#ifndef SHUNT_VERSION
#define SHUNT_VERSION "unknown"
#endif

const char command_version[] = SHUNT_VERSION;

/* What the command line may say instead of the config; NULL: it does not. */
struct overrides {
	struct reload_source source;
	const char *engine, *workers, *log_format, *log_level;
};

/* The index of `name` among the names, or -1 after the possible ones have been printed. */
static int choose(const char *option, const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return (int)i;
	fprintf(stderr, "shunt: %s \"%s\" is not one of:", option, name);
	for (size_t i = 0; i < n; i++)
		fprintf(stderr, " %s", names[i]);
	fputc('\n', stderr);
	return -1;
}

static int override_engine(struct config *c, const char *name)
{
	struct config_vocabulary v = proxy_vocabulary();
	int i = choose("--engine", name, v.engines, v.n_engines);

	if (i < 0)
		return EXIT_USAGE;
	/* The command line is for trying things: it goes before what the file says, also for single
	 * apps. */
	c->engine = v.engines[i];
	for (size_t a = 0; a < c->n_apps; a++)
		c->apps[a].engine = NULL;
	return 0;
}

static int override_workers(struct config *c, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n > CONFIG_WORKERS_MAX) {
		fprintf(stderr,
			"shunt: --workers \"%s\" is not a number from 0 (one a core) to %d\n", text,
			CONFIG_WORKERS_MAX);
		return EXIT_USAGE;
	}
	c->workers = (uint32_t)n;
	return 0;
}

static int override_log(struct config *c, const struct overrides *o)
{
	static const char *const formats[] = { "text", "json" };
	static const char *const levels[] = { "error", "warning", "notice", "info", "debug" };
	int i;

	if (o->log_format) {
		i = choose("--log-format", o->log_format, formats, ARRAY_SIZE(formats));
		if (i < 0)
			return EXIT_USAGE;
		c->log.format = (enum log_format)i;
	}
	if (o->log_level) {
		i = choose("--log-level", o->log_level, levels, ARRAY_SIZE(levels));
		if (i < 0)
			return EXIT_USAGE;
		c->log.level = (enum log_level)i;
	}
	return 0;
}

static int apply_overrides(struct config *c, const struct overrides *o)
{
	int rc = 0;

	if (o->engine)
		rc = override_engine(c, o->engine);
	if (!rc && o->workers)
		rc = override_workers(c, o->workers);
	return rc ? rc : override_log(c, o);
}

/* For a reload: what has been applied once can be applied again. */
static struct config *load_again(const struct reload_source *source, struct config_errors *errors)
{
	const struct overrides *o = container_of(source, const struct overrides, source);
	struct config_vocabulary vocabulary = proxy_vocabulary();
	struct config *c = config_load(source->path, &vocabulary, errors);

	if (c && apply_overrides(c, o)) {
		config_free(c);
		return NULL;
	}
	return c;
}

static int start_log(const struct log_conf *conf)
{
	int rc = log_configure(conf);

	if (rc)
		fprintf(stderr, "shunt: the log file %s can't be opened: %s\n", conf->file,
			strerror(-rc));
	return rc ? EXIT_FAILURE : 0;
}

static int run_with(const struct overrides *o)
{
	struct config *c = command_load_config(o->source.path);
	int rc;

	if (!c)
		return EXIT_FAILURE;
	rc = apply_overrides(c, o);
	if (!rc)
		rc = start_log(&c->log);
	if (rc) {
		config_free(c);
		return rc;
	}
	config_warn(c, o->source.path);
	return proxy_run(c, &o->source, SHUNT_VERSION) ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int command_run(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "engine", required_argument, NULL, 'e' },
		{ "workers", required_argument, NULL, 'w' },
		{ "log-format", required_argument, NULL, 'f' },
		{ "log-level", required_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct overrides o = { .source = { CONFIG_PATH_DEFAULT, load_again } };
	int option;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			o.source.path = optarg;
			break;
		case 'e':
			o.engine = optarg;
			break;
		case 'w':
			o.workers = optarg;
			break;
		case 'f':
			o.log_format = optarg;
			break;
		case 'l':
			o.log_level = optarg;
			break;
		case 'h':
			return command_help(c);
		default:
			return command_usage_error(c);
		}
	}
	return optind < argc ? command_usage_error(c) : run_with(&o);
}

static int command_check(const struct command *c, int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' }, { 0 } };
	size_t ports = 0, targets = 0;
	struct config *config;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
		return option == 'h' ? command_help(c) : command_usage_error(c);
	if (argc - optind != 1)
		return command_usage_error(c);
	config = command_load_config(argv[optind]);
	if (!config)
		return EXIT_FAILURE;
	for (size_t i = 0; i < config->n_apps; i++) {
		ports += config->apps[i].n_ports;
		targets += config->apps[i].n_targets;
	}
	printf("%s: right: %zu app%s, %zu port%s, %zu target%s\n", argv[optind], config->n_apps,
	       config->n_apps == 1 ? "" : "s", ports, ports == 1 ? "" : "s", targets,
	       targets == 1 ? "" : "s");
	command_print_errors(argv[optind], &config->notes);
	config_free(config);
	return EXIT_SUCCESS;
}

#define SHOW_APP_OPTION "      --app NAME       of this app only\n"
#define SHOW_OPTIONS                                                                               \
	"      --json           the daemon's answer as it is, one JSON object a line\n"            \
	"      --socket PATH    where the daemon is asked (default " ADMIN_SOCKET_DEFAULT ")\n"    \
	"  -c, --config FILE    the same, by the Admin.Socket of its configuration\n"
#define SHOW_NOTES "\nBytes are in units of 1024. Exit status 1: no daemon, or it said no.\n"

static const struct command commands[] = {
	{
		.name = "run",
		.arguments = "[-c FILE] [OPTION]...",
		.summary = "Runs the proxy in the foreground",
		.help = "  -c, --config FILE    the configuration (default " CONFIG_PATH_DEFAULT
			"; - for standard input)\n"
			"      --engine NAME    auto, copy, splice, sockmap or wire: instead of what the file says\n"
			"      --workers N      threads, 0 for one a core: instead of what the file says\n"
			"      --log-format F   text or json: instead of what the file says\n"
			"      --log-level L    error, warning, notice, info or debug: likewise\n\n"
			"SIGTERM drains: no new connections, and the end when the last one is done; a second\n"
			"one, or SIGINT, stops at once.\n",
		.run = command_run,
	},
	{
		.name = "check",
		.arguments = "FILE",
		.summary =
			"Says whether a configuration is right, or everything that is wrong with it",
		.help = "Exit status 0: it is right. 1: each error is on standard error, as\n"
			"FILE:LINE:COLUMN: app \"NAME\": what is wrong, what would be right.\n"
			"So are keys that are right, and have no effect.\n",
		.run = command_check,
	},
	{
		.name = "bench",
		.arguments = "[--json] [--seconds S] [--engine LIST]",
		.summary = "Measures every engine that works here, side by side",
		.help = "      --json         one JSON document, with every sample\n"
			"      --seconds S    of each measurement (1)\n"
			"      --engine LIST  of direct (no proxy), auto and the engines, parted by commas\n"
			"                     (all that work here)\n\n"
			"Sends the same traffic through each, in network namespaces of its own, and says what\n"
			"auto makes of it. Needs root and iproute2; with S = 1 it takes less than two minutes.\n",
		.run = command_bench,
	},
	{
		.name = "status",
		.arguments = "[OPTION]...",
		.summary = "Shows the running daemon as a whole: sessions, engines, counters",
		.help = SHOW_OPTIONS SHOW_NOTES,
		.run = command_show,
	},
	{
		.name = "apps",
		.arguments = "[--app NAME] [OPTION]...",
		.summary = "Shows the running daemon's apps",
		.help = SHOW_APP_OPTION SHOW_OPTIONS SHOW_NOTES,
		.run = command_show,
	},
	{
		.name = "backends",
		.arguments = "[drain|disable|enable APP TARGET] [--app NAME] [OPTION]...",
		.summary = "Shows each target with its addresses, or takes one out of service",
		.help = SHOW_APP_OPTION SHOW_OPTIONS
		"\nAfter drain, TARGET of APP gets no new connections, and those that it has go on; after\n"
		"disable they are closed, too; enable has it back. A reload changes none of that.\n" SHOW_NOTES,
		.run = command_backends,
	},
	{
		.name = "flows",
		.arguments = "[--app NAME] [--why] [OPTION]...",
		.summary = "Shows the live connections",
		.help = SHOW_APP_OPTION
		"      --why            why each is on its engine\n" SHOW_OPTIONS
		"\nTO BACKEND and TO CLIENT are bytes that have been passed on, BACKLOG those that\n"
		"wait inside.\n" SHOW_NOTES,
		.run = command_show,
	},
	{
		.name = "reload",
		.arguments = "[OPTION]...",
		.summary = "Has the running daemon read its configuration again",
		.help = SHOW_OPTIONS
		"\nPrints what has changed. If something is wrong, each error is on standard error as\n"
		"with `shunt check`, and nothing has changed. Established connections go on.\n"
		"Exit status 1: no daemon, or it said no.\n",
		.run = command_show,
	},
	{
		.name = "top",
		.arguments = "[--app NAME] [--interval S] [--count N] [OPTION]...",
		.summary = "Shows the running daemon live: rates by app and target",
		.help = SHOW_APP_OPTION
		"      --interval S     seconds between two looks, from 0.1 to 60 (1)\n"
		"      --count N        so many looks as plain text, also without a terminal\n"
		"      --socket PATH    where the daemon is asked (default " ADMIN_SOCKET_DEFAULT
		")\n"
		"  -c, --config FILE    the same, by the Admin.Socket of its configuration\n\n"
		"Keys: q quits; n, a, c, f, b, t sort by name, active, new, failed, bytes to the\n"
		"backend, to the client; r reverses; Tab shows both lists, apps, targets; + and -\n"
		"change the interval. If the daemon goes away, it waits for the next one.\n",
		.run = command_top,
	},
	{
		.name = "config",
		.arguments = "[OPTION]...",
		.summary = "Shows the running daemon's configuration, complete",
		.help = SHOW_OPTIONS
		"\nWith every default, and what the command line said; it can be read as a file.\n",
		.run = command_act,
	},
	{
		.name = "drain",
		.arguments = "[OPTION]...",
		.summary = "Has the running daemon end with its last connection",
		.help = SHOW_OPTIONS
		"\nAs SIGTERM: no new connections, at most DrainTimeout for those there are.\n",
		.run = command_act,
	},
	{
		.name = "stop",
		.arguments = "[OPTION]...",
		.summary = "Has the running daemon close all connections, and end",
		.help = SHOW_OPTIONS "\nAs SIGINT: every connection gets a RST.\n",
		.run = command_act,
	},
	{
		.name = "log-level",
		.arguments = "[LEVEL] [OPTION]...",
		.summary = "Says how much the running daemon logs, or changes it",
		.help = SHOW_OPTIONS
		"\nLEVEL is error, warning, notice, info or debug, until the daemon ends.\n",
		.run = command_act,
	},
	{
		.name = "bypass",
		.arguments = "on|off APP [OPTION]...",
		.summary = "Lets an app's local peers send to each other, or not any more",
		.help = SHOW_OPTIONS
		"\nWith off, what is sent from now on goes through the proxy, also on connections that\n"
		"there are, and nothing of what was sent before is lost or overtaken. Until the daemon\n"
		"ends; only for apps whose LocalBypass is true.\n",
		.run = command_act,
	},
	{
		.name = "wire",
		.arguments = "clear [-c FILE] [--pins FOLDER]",
		.summary = "Removes what a dead daemon has left on the wire",
		.help = "  -c, --config FILE    the configuration, for its Wire.Pins (default: no file)\n"
			"      --pins FOLDER    where the daemon pinned it (default " WIRE_PINS_DEFAULT
			")\n\n"
			"Connections on the wire outlive a daemon that is killed, and the next one adopts them.\n"
			"If there is to be no next one, this takes the program off the devices and its maps out of\n"
			"the kernel. The connections that were still on it end: their ends get a RST when they\n"
			"next send.\n",
		.run = command_wire,
	},
	{
		.name = "probe",
		.arguments = "[--json]",
		.summary = "Says which engines work on this kernel, by trying them",
		.help = "      --json    as a JSON array\n\n"
			"Each line: what was tried, what came out, and what follows from it. The daemon does the\n"
			"same when it starts.\n",
		.run = command_probe,
	},
};

static void print_overview(FILE *out)
{
	fputs("Usage: shunt COMMAND [OPTION]...\nA raw TCP proxy that gets out of its own way.\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fputs("\n`shunt COMMAND --help` tells more; `shunt --version` says which one this is.\n",
	      out);
}

int main(int argc, char **argv)
{
	const char *names[ARRAY_SIZE(commands)], *nearest;

	if (argc < 2) {
		print_overview(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("shunt " SHUNT_VERSION);
		return EXIT_SUCCESS;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_overview(stdout);
		return EXIT_SUCCESS;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		names[i] = commands[i].name;
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(&commands[i], argc - 1, argv + 1);
	}
	nearest = nearest_name(argv[1], names, ARRAY_SIZE(names));
	fprintf(stderr, "shunt: there is no command \"%s\"", argv[1]);
	fprintf(stderr, nearest ? "; did you mean \"%s\"?\n" : "\n", nearest);
	print_overview(stderr);
	return EXIT_USAGE;
}
