/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe.h"

#define CONTENDER_LIST_MAX_CHARS 256
#define LOOK_AT_HOST_MS 300

const struct bench_row bench_rows[] = {
	{ "bulk-1", "bulk, 1 stream", LOAD_BULK, 1, 128 << 10 },
	{ "bulk-8", "bulk, 8 streams", LOAD_BULK, 8, 128 << 10 },
	{ "64B-1", "64 B, 1 connection", LOAD_REQUESTS, 1, 64 },
	{ "64B-32", "64 B, 32 connections", LOAD_REQUESTS, 32, 64 },
	{ "16KiB-1", "16 KiB, 1 connection", LOAD_REQUESTS, 1, 16 << 10 },
	{ "16KiB-32", "16 KiB, 32 connections", LOAD_REQUESTS, 32, 16 << 10 },
	{ "churn-32", "connect, 64 B, close; 32 at once", LOAD_CHURN, 32, 64 },
};
const size_t n_bench_rows = ARRAY_SIZE(bench_rows);
_Static_assert(ARRAY_SIZE(bench_rows) <= BENCH_ROWS_MAX, "the samples have room for all rows");
_Static_assert(BENCH_CONTENDERS_MAX < LAB_BACKEND_IPS_MAX, "and an address for each, and one more");

unsigned int bench_load_threads(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return cores >= 4 ? (unsigned int)cores / 2 : 1;
}

void bench_progress(const char *fmt, ...)
{
	va_list args;

	if (!isatty(STDERR_FILENO))
		return;
	fputs("\r\033[K", stderr);
	if (!fmt)
		return;
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fflush(stderr);
}

/* What else the host is busy with: it will be in the results. */
static double busy_cores(void)
{
	double before = bench_host_cpu_seconds();

	usleep(LOOK_AT_HOST_MS * 1000);
	return (bench_host_cpu_seconds() - before) / (LOOK_AT_HOST_MS / 1e3);
}

/* --- contenders ------------------------------------------------------------------------------ */

static void add_contender(struct bench *b, const char *name, bool is_direct)
{
	struct bench_contender *c;

	if (b->n_contenders == BENCH_CONTENDERS_MAX)
		return;
	c = &b->contenders[b->n_contenders];
	*c = (struct bench_contender){ .name = name, .is_direct = is_direct, .log_fd = -1 };
	c->nth = (unsigned int)b->n_contenders++;
}

/* Is it among the names that the user gave, if any were given? */
static bool is_wanted(const struct bench_conf *conf, const char *name)
{
	const char *at = conf->contenders;
	size_t len = strlen(name);

	while (at) {
		if (!strncmp(at, name, len) && (!at[len] || at[len] == ','))
			return true;
		at = strchr(at, ',');
		at = at ? at + 1 : NULL;
	}
	return !conf->contenders;
}

/* Of an engine, or one of the two that are none. */
static bool is_known(const char *name)
{
	return engine_find(name) || !strcmp(name, "auto") || !strcmp(name, "direct");
}

static int check_names(const struct bench_conf *conf)
{
	char list[CONTENDER_LIST_MAX_CHARS], *save = NULL;
	int rc = conf->contenders && !*conf->contenders ? -EINVAL : 0;

	snprintf(list, sizeof(list), "%s", conf->contenders ? conf->contenders : "");
	for (char *name = strtok_r(list, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		if (is_known(name))
			continue;
		fprintf(stderr, "shunt bench: there is no engine \"%s\"\n", name);
		rc = -EINVAL;
	}
	if (!rc)
		return 0;
	fputs("shunt bench: --engine takes of these, parted by commas: direct,auto", stderr);
	for (size_t i = 0; engines[i]; i++)
		fprintf(stderr, ",%s", engines[i]->name);
	fputc('\n', stderr);
	return rc;
}

/* Probed where the daemons will run; what a probe leaves in the kernel goes with its child. */
static int probe(struct bench *b, const struct engine *e)
{
	struct bench_missing *m = &b->missing[b->n_missing];
	pid_t pid = lab_fork(&b->lab, LAB_PROXY, true);
	int rc;

	if (pid < 0)
		return pid;
	if (!pid) {
		b->shared->probe_why[0] = '\0';
		b->shared->probe_rc =
			probe_engine(e, b->shared->probe_why, sizeof(b->shared->probe_why));
		_exit(EXIT_SUCCESS);
	}
	rc = lab_wait(pid);
	if (rc || b->shared->probe_rc) {
		m->engine = e->name;
		snprintf(m->why, sizeof(m->why), "%s",
			 rc ? "its probe crashed" : b->shared->probe_why);
		b->n_missing++;
	} else {
		add_contender(b, e->name, false);
	}
	return 0;
}

static int choose_contenders(struct bench *b)
{
	int rc = 0;

	if (is_wanted(b->conf, "direct"))
		add_contender(b, "direct", true);
	for (size_t i = 0; !rc && engines[i] && i < BENCH_CONTENDERS_MAX - 2; i++)
		if (is_wanted(b->conf, engines[i]->name))
			rc = probe(b, engines[i]);
	if (!rc && is_wanted(b->conf, "auto"))
		add_contender(b, "auto", false);
	if (rc || b->n_contenders)
		return rc;
	for (size_t i = 0; i < b->n_missing; i++)
		fprintf(stderr, "shunt bench: the engine %s is not available: %s\n",
			b->missing[i].engine, b->missing[i].why);
	return -ENOTSUP;
}

static int start_all(struct bench *b)
{
	int rc = bench_servers_start(b);

	for (size_t i = 0; !rc && i < b->n_contenders; i++) {
		bench_progress("starting: %s", b->contenders[i].name);
		if (!b->contenders[i].is_direct)
			rc = bench_daemon_start(b, &b->contenders[i], false);
	}
	return rc;
}

/* --- the way through ------------------------------------------------------------------------- */

/* Another one begins each round, so that no contender always follows the same other one. */
static int measure_row(struct bench *b, int round, size_t row)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < b->n_contenders; i++) {
		struct bench_contender *c = &b->contenders[(i + (size_t)round) % b->n_contenders];

		bench_progress("round %d of %d: %s: %s", round + 1, BENCH_ROUNDS,
			       bench_rows[row].title, c->name);
		rc = bench_measure(b, c, row, &c->samples[row][round]);
		if (!rc)
			rc = bench_daemon_check(c);
	}
	return rc;
}

static int measure_all(struct bench *b)
{
	int rc = start_all(b);

	for (int round = 0; !rc && round < BENCH_ROUNDS; round++)
		for (size_t row = 0; !rc && row < n_bench_rows; row++)
			rc = measure_row(b, round, row);
	if (!rc && bench_find(b, "auto"))
		rc = bench_watch_auto(b);
	bench_progress(NULL);
	return rc;
}

static void stop_all(struct bench *b)
{
	for (size_t i = 0; i < b->n_contenders; i++) {
		bench_daemon_stop(&b->contenders[i]);
		if (b->contenders[i].log_fd >= 0)
			close(b->contenders[i].log_fd);
	}
	lab_stop(b->servers, SIGKILL);
	lab_close(&b->lab);
	munmap(b->shared, sizeof(*b->shared));
}

int bench_run(const struct bench_conf *conf)
{
	struct bench *b;
	int rc = check_names(conf);

	if (rc)
		return rc;
	if (geteuid()) {
		fputs("shunt bench: needs root, for network namespaces: sudo shunt bench\n",
		      stderr);
		return -EPERM;
	}
	b = xcalloc(1, sizeof(*b));
	b->conf = conf;
	b->shared = mmap(NULL, sizeof(*b->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b->shared == MAP_FAILED) {
		perror("shunt bench: mmap");
		free(b);
		return -ENOMEM;
	}
	b->busy_cores = busy_cores();
	bench_progress("making network namespaces");
	rc = lab_open(&b->lab, BENCH_CONTENDERS_MAX + 1);
	if (!rc)
		rc = choose_contenders(b);
	if (!rc)
		rc = measure_all(b);
	stop_all(b);
	if (!rc && conf->json)
		rc = bench_print_json(b);
	else if (!rc)
		bench_print(b);
	free(b);
	return rc;
}
