/* SPDX-License-Identifier: MIT */
/*
 * One measurement: a child in the client's place makes the load, and looks at the clocks, at the
 * sink's counter and at CPU times when the measured time begins and ends. So the warm-up is in
 * nothing.
 */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct mark {
	uint64_t at_ns, received;
	double daemon_cpu_s, host_cpu_s;
};

struct measurement {
	const struct bench *b;
	const struct bench_contender *contender;
	struct mark begin, end;
};

/* See proc_stat(5). `steal` is what the hypervisor gave to others; guests are in `user` already. */
double bench_host_cpu_seconds(void)
{
	enum { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, N_FIELDS };
	unsigned long long t[N_FIELDS];
	FILE *f = fopen("/proc/stat", "re");
	int n = 0;

	if (f) {
		n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &t[USER], &t[NICE],
			   &t[SYSTEM], &t[IDLE], &t[IOWAIT], &t[IRQ], &t[SOFTIRQ]);
		fclose(f);
	}
	if (n != N_FIELDS)
		return NAN;
	return (double)(t[USER] + t[NICE] + t[SYSTEM] + t[IRQ] + t[SOFTIRQ]) /
	       (double)sysconf(_SC_CLK_TCK);
}

/* User and system time of all threads of the daemon, finer than the ticks of /proc/PID/stat. */
static double daemon_cpu_seconds(pid_t pid)
{
	struct timespec ts;
	clockid_t clock;

	if (pid <= 0 || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &ts))
		return NAN;
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void on_window(void *arg, bool begins)
{
	struct measurement *m = arg;

	*(begins ? &m->begin : &m->end) = (struct mark){
		.at_ns = clock_ns(),
		.received = atomic_load(&m->b->shared->received),
		.daemon_cpu_s = daemon_cpu_seconds(m->contender->pid),
		.host_cpu_s = bench_host_cpu_seconds(),
	};
}

static struct bench_sample make_sample(const struct measurement *m, const struct bench_row *row,
				       const struct load_result *r)
{
	double seconds = (double)(m->end.at_ns - m->begin.at_ns) / 1e9;
	double gbit = (double)(m->end.received - m->begin.received) * 8 / 1e9;
	struct bench_sample s = { .p50_us = NAN, .p99_us = NAN, .errors = r->errors };
	double units_a_second; /* GB, or millions of messages or connections */

	if (row->kind == LOAD_BULK) {
		s.rate = gbit / seconds;
		units_a_second = s.rate / 8;
	} else {
		s.rate = (double)r->latency.total * 1e3 / m->b->conf->measure_ms;
		s.p50_us = (double)histogram_quantile(&r->latency, 0.5) / 1e3;
		s.p99_us = (double)histogram_quantile(&r->latency, 0.99) / 1e3;
		units_a_second = s.rate / 1e6;
	}
	s.daemon_cpu_s = s.host_cpu_s = NAN;
	if (units_a_second > 0) {
		s.daemon_cpu_s =
			(m->end.daemon_cpu_s - m->begin.daemon_cpu_s) / seconds / units_a_second;
		s.host_cpu_s = (m->end.host_cpu_s - m->begin.host_cpu_s) / seconds / units_a_second;
	}
	return s;
}

/* In the child: its exit status. */
static int run_load(const struct bench *b, const struct bench_contender *c, size_t row)
{
	struct measurement m = { .b = b, .contender = c };
	struct load_result *result = xcalloc(1, sizeof(*result));
	struct load_conf conf = {
		.kind = bench_rows[row].kind,
		.at = bench_address(c, row),
		.connections = bench_rows[row].connections,
		.threads = MIN(bench_load_threads(), bench_rows[row].connections),
		.size = bench_rows[row].size,
		.warmup_ms = BENCH_WARMUP_MS,
		.measure_ms = b->conf->measure_ms,
		.on_window = on_window,
		.arg = &m,
	};
	int rc = load_run(&conf, result);

	if (!rc)
		b->shared->sample = make_sample(&m, &bench_rows[row], result);
	else
		fprintf(stderr, "shunt bench: can't make the load: %s\n", strerror(-rc));
	free(result);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}

int bench_measure(const struct bench *b, const struct bench_contender *c, size_t row,
		  struct bench_sample *out)
{
	pid_t pid = lab_fork(&b->lab, LAB_CLIENT, false);
	int rc;

	if (pid < 0)
		return pid;
	if (!pid)
		_exit(run_load(b, c, row));
	rc = lab_wait(pid);
	if (rc) {
		fprintf(stderr, "shunt bench: %s, %s: the load came to no end\n", c->name,
			bench_rows[row].title);
		return rc;
	}
	*out = b->shared->sample;
	if (out->errors) {
		bench_progress(NULL);
		fprintf(stderr, "shunt bench: %s, %s: %llu connections failed\n", c->name,
			bench_rows[row].title, (unsigned long long)out->errors);
	}
	return 0;
}
