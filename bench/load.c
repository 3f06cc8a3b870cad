/* SPDX-License-Identifier: MIT */
/*
 * shunt-load: the project's load generator (user/load.h) as a program, for bench.py. An echo
 * server, or clients that print one JSON object with their rate and latencies.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "addr.h"
#include "load.h"
#include "util.h"

#define CONNECTIONS_MAX 10000
#define THREADS_MAX 64
#define SECONDS_MAX 3600

struct options {
	struct addr at;
	unsigned int connections, threads, size, seconds, warmup_ms;
	bool churn;
};

static int fail(int error)
{
	fprintf(stderr, "shunt-load: %s\n", strerror(error));
	return EXIT_FAILURE;
}

static void print_result(const struct options *o, const struct load_result *r)
{
	const struct histogram *h = &r->latency;

	printf("{\"connections\": %u, \"size\": %u, \"seconds\": %u, \"messages\": %lu, "
	       "\"all_messages\": %lu, \"errors\": %lu, \"rate\": %.1f, ",
	       o->connections, o->size, o->seconds, h->total, r->all_messages, r->errors,
	       (double)h->total / o->seconds);
	printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
	       (double)histogram_quantile(h, 0.5) / 1e3, (double)histogram_quantile(h, 0.99) / 1e3,
	       (double)histogram_quantile(h, 0.999) / 1e3, (double)h->max / 1e3);
}

static int run_clients(const struct options *o)
{
	struct load_conf conf = {
		.kind = o->churn ? LOAD_CHURN : LOAD_REQUESTS,
		.at = o->at,
		.connections = o->connections,
		.threads = MIN(o->threads, o->connections),
		.size = o->size,
		.warmup_ms = o->warmup_ms,
		.measure_ms = o->seconds * 1000,
	};
	struct load_result *result = xcalloc(1, sizeof(*result));
	int rc = load_run(&conf, result);

	if (!rc)
		print_result(o, result);
	free(result);
	return rc ? fail(-rc) : EXIT_SUCCESS;
}

/* Serves until the process is killed. */
static int run_echo(const struct options *o)
{
	struct load_server_conf conf = { .at = o->at, .threads = o->threads, .echo = true };
	int rc = load_serve(&conf);

	if (rc)
		return fail(-rc);
	for (;;)
		pause();
}

static int usage(void)
{
	fputs("Usage: shunt-load echo  ADDRESS:PORT [-t THREADS]\n"
	      "       shunt-load rr    ADDRESS:PORT [-c CONNECTIONS] [-s BYTES] [-d SECONDS]\n"
	      "                        [-w WARMUP_MS] [-t THREADS]\n"
	      "       shunt-load churn ADDRESS:PORT, with the same options\n",
	      stderr);
	return 2;
}

static bool parse_number(const char *text, unsigned int min, unsigned int max, unsigned int *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*out = (unsigned int)n;
	return *text >= '0' && *text <= '9' && !*end && n >= min && n <= max;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
	int option;
	bool ok = true;

	while (ok && (option = getopt(argc, argv, "c:s:d:w:t:")) != -1) {
		if (option == 'c')
			ok = parse_number(optarg, 1, CONNECTIONS_MAX, &o->connections);
		else if (option == 's')
			ok = parse_number(optarg, 1, LOAD_MESSAGE_MAX_BYTES, &o->size);
		else if (option == 'd')
			ok = parse_number(optarg, 1, SECONDS_MAX, &o->seconds);
		else if (option == 'w')
			ok = parse_number(optarg, 0, SECONDS_MAX * 1000, &o->warmup_ms);
		else if (option == 't')
			ok = parse_number(optarg, 1, THREADS_MAX, &o->threads);
		else
			ok = false;
	}
	return ok;
}

int main(int argc, char **argv)
{
	struct options o = { .connections = 1, .threads = 1, .size = 64, .seconds = 5 };
	struct host_port at;
	const char *why;

	if (!parse_options(argc, argv, &o) || argc - optind != 2)
		return usage();
	if (host_port_parse(argv[optind + 1], &at, &why) < 0 || addr_parse_host(at.host, &o.at) < 0)
		return usage();
	addr_set_port(&o.at, at.port);
	if (!strcmp(argv[optind], "echo"))
		return run_echo(&o);
	o.churn = !strcmp(argv[optind], "churn");
	if (!o.churn && strcmp(argv[optind], "rr"))
		return usage();
	return run_clients(&o);
}
