/* SPDX-License-Identifier: MIT */
/*
 * shunt-load: the project's load generator (user/load.h) as a program, for bench.py. An echo
 * server, clients that print one JSON object with their rate and latencies, or connections that
 * are open and silent.
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
#define MEASURE_MAX_MS 3600000
#define IDLE_BATCH 32 /* so many are opened at a time: well below any server's backlog */

struct options {
	struct addr at;
	unsigned int connections, threads, size, measure_ms, warmup_ms;
};

static int fail(int error)
{
	fprintf(stderr, "shunt-load: %s\n", strerror(error));
	return EXIT_FAILURE;
}

static void print_result(const struct options *o, const struct load_result *r)
{
	const struct histogram *h = &r->latency;

	printf("{\"connections\": %u, \"size\": %u, \"measure_ms\": %u, \"messages\": %lu, "
	       "\"all_messages\": %lu, \"errors\": %lu, \"rate\": %.1f, ",
	       o->connections, o->size, o->measure_ms, h->total, r->all_messages, r->errors,
	       (double)h->total * 1e3 / o->measure_ms);
	printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
	       (double)histogram_quantile(h, 0.5) / 1e3, (double)histogram_quantile(h, 0.99) / 1e3,
	       (double)histogram_quantile(h, 0.999) / 1e3, (double)h->max / 1e3);
}

static int run_clients(const struct options *o, enum load_kind kind)
{
	struct load_conf conf = {
		.kind = kind,
		.at = o->at,
		.connections = o->connections,
		.threads = MIN(o->threads, o->connections),
		.size = o->size,
		.warmup_ms = o->warmup_ms,
		.measure_ms = o->measure_ms,
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

/* n connections, each of which has carried a byte and its echo. 0 or -errno. */
static int open_idle(const struct addr *at, unsigned int n)
{
	/* They end with a RST: what comes next is to find no thousands of them in TIME_WAIT. */
	static const struct linger reset = { .l_onoff = 1 };
	int fds[IDLE_BATCH];
	char byte = 0;

	for (unsigned int i = 0; i < n; i++) {
		fds[i] = socket(at->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fds[i] < 0 ||
		    setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) ||
		    connect(fds[i], &at->sa, addr_len(at)) ||
		    send(fds[i], &byte, 1, MSG_NOSIGNAL) != 1)
			return -errno;
	}
	for (unsigned int i = 0; i < n; i++) {
		ssize_t got = recv(fds[i], &byte, 1, 0);

		if (got <= 0)
			return got ? -errno : -ECONNRESET;
	}
	return 0;
}

/* Holds connections until the process is killed; says so when all are there. */
static int run_idle(const struct options *o)
{
	for (unsigned int n = 0; n < o->connections; n += IDLE_BATCH) {
		int rc = open_idle(&o->at, MIN(o->connections - n, IDLE_BATCH));

		if (rc)
			return fail(-rc);
	}
	puts("open");
	fflush(stdout);
	for (;;)
		pause();
}

static int usage(void)
{
	fputs("Usage: shunt-load echo  ADDRESS:PORT [-t THREADS]\n"
	      "       shunt-load rr    ADDRESS:PORT [-c CONNECTIONS] [-s BYTES] [-d MEASURE_MS]\n"
	      "                        [-w WARMUP_MS] [-t THREADS]\n"
	      "       shunt-load churn ADDRESS:PORT, with the same options\n"
	      "       shunt-load idle  ADDRESS:PORT [-c CONNECTIONS]\n",
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
			ok = parse_number(optarg, 1, MEASURE_MAX_MS, &o->measure_ms);
		else if (option == 'w')
			ok = parse_number(optarg, 0, MEASURE_MAX_MS, &o->warmup_ms);
		else if (option == 't')
			ok = parse_number(optarg, 1, THREADS_MAX, &o->threads);
		else
			ok = false;
	}
	return ok;
}

int main(int argc, char **argv)
{
	struct options o = { .connections = 1, .threads = 1, .size = 64, .measure_ms = 5000 };
	struct host_port at;
	const char *why;

	if (!parse_options(argc, argv, &o) || argc - optind != 2)
		return usage();
	if (host_port_parse(argv[optind + 1], &at, &why) < 0 || addr_parse_host(at.host, &o.at) < 0)
		return usage();
	addr_set_port(&o.at, at.port);
	if (!strcmp(argv[optind], "echo"))
		return run_echo(&o);
	if (!strcmp(argv[optind], "rr"))
		return run_clients(&o, LOAD_REQUESTS);
	if (!strcmp(argv[optind], "churn"))
		return run_clients(&o, LOAD_CHURN);
	if (!strcmp(argv[optind], "idle"))
		return run_idle(&o);
	return usage();
}
