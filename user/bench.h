/* SPDX-License-Identifier: MIT */
/*
 * `shunt bench`: the same traffic through every engine that this host supports, through auto and
 * through no proxy at all, in a lab of network namespaces. All daemons (this very binary) and
 * servers run from start to end; every round measures each row with each contender in turn, so that
 * what changes over time changes for all of them. bench.c is the way through; the other bench_*
 * files have a step each.
 */
#ifndef SHUNT_BENCH_H
#define SHUNT_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"
#include "engine.h"
#include "lab.h"
#include "load.h"

#define BENCH_ROUNDS 2
#define BENCH_ROWS_MAX 16
#define BENCH_CONTENDERS_MAX 16
#define BENCH_WARMUP_MS 200
#define BENCH_MEASURE_DEFAULT_MS 1000
#define BENCH_MEASURE_MIN_MS 100
#define BENCH_MEASURE_MAX_MS 60000

struct bench_conf {
	const char *version;
	const char *contenders; /* names, parted by commas; NULL: all that work here */
	uint32_t measure_ms;
	bool json;
};

/* Measures and prints. 0, -EINVAL for a list of contenders that is wrong, or another -errno; what
 * went wrong has been told. */
int bench_run(const struct bench_conf *conf) must_check;

/* --- what the bench_* files share ------------------------------------------------------------ */

struct bench_row {
	const char *key, *title;
	enum load_kind kind;
	unsigned int connections, size;
};

extern const struct bench_row bench_rows[];
extern const size_t n_bench_rows;

struct bench_sample {
	double rate;           /* Gbit/s at the server, or messages or connections a second */
	double p50_us, p99_us; /* of messages, for churn of connections; bulk: NAN */
	/* For a GB, or for a million messages or connections; NAN: no daemon, or nothing moved. */
	double daemon_cpu_s, host_cpu_s;
	uint64_t errors;
};

struct bench_contender {
	const char *name; /* "direct", "auto" or an engine's */
	unsigned int nth; /* its ports and its address of the backend are its own */
	bool is_direct;
	pid_t pid;  /* its daemon; 0: none */
	int log_fd; /* what the daemon wrote to standard error; -1: none */
	struct bench_sample samples[BENCH_ROWS_MAX][BENCH_ROUNDS];
};

/* What most of auto's flows of a row were relayed by when they ended, and why; CLIENT is the
 * direction from the client. */
struct bench_choice {
	char engine[2][16];
	char why[2][160];
	unsigned int flows; /* 0: not known */
};

/* What a child tells its parent, in memory that they share. */
struct bench_shared {
	atomic_uint_fast64_t received; /* by the sink */
	struct bench_sample sample;
	int probe_rc;
	char probe_why[128];
};

struct bench_missing {
	const char *engine;
	char why[128];
};

struct bench {
	const struct bench_conf *conf;
	struct lab lab;
	struct bench_shared *shared;
	double busy_cores; /* what the host did otherwise, just before; NAN: not known */
	pid_t servers;
	struct bench_contender contenders[BENCH_CONTENDERS_MAX];
	size_t n_contenders;
	struct bench_missing missing[BENCH_CONTENDERS_MAX];
	size_t n_missing;
	struct bench_choice choices[BENCH_ROWS_MAX];
};

/* Threads of the load, on either side: half of the cores, as the daemon has one on each. */
unsigned int bench_load_threads(void);
/* What is under way, on a terminal's last line; NULL wipes it. */
void bench_progress(const char *fmt, ...) printf_like(1, 2);

/* bench_daemon.c. Where a row's load connects to: */
struct addr bench_address(const struct bench_contender *c, size_t row);
/* Starts its daemon and waits until it relays. With `records` its log gets a record for each
 * connection, with the reasons for its engines. 0 or -errno, told; bench_daemon_stop() is due in
 * either case. */
int bench_daemon_start(const struct bench *b, struct bench_contender *c, bool records) must_check;
/* Is it still alive? 0 or -EPIPE, told with what it logged. */
int bench_daemon_check(struct bench_contender *c) must_check;
void bench_daemon_stop(struct bench_contender *c);
int bench_servers_start(struct bench *b) must_check;

/* bench_measure.c. All CPU time of the host that was not idle; NAN: /proc/stat does not tell. */
double bench_host_cpu_seconds(void);
/* One measurement, of b->conf->measure_ms. 0 or -errno, told. */
int bench_measure(const struct bench *b, const struct bench_contender *c, size_t row,
		  struct bench_sample *out) must_check;

/* bench_auto.c: fills b->choices by a run of auto apart, with connection records. */
int bench_watch_auto(struct bench *b) must_check;

/* bench_result.c: what the samples say. */
struct bench_metric {
	const char *key, *title;
	size_t offset; /* of a double in a bench_sample */
	bool lower_is_better, of_bulk, of_requests;
};

extern const struct bench_metric bench_metrics[];
extern const size_t n_bench_metrics;

/* The one of this key for a kind of row. */
const struct bench_metric *bench_metric_find(const char *key, const struct bench_row *row);
bool bench_metric_applies(const struct bench_metric *m, const struct bench_row *row);
/* The middle of all rounds; NAN if a round has none. */
double bench_median(const struct bench_contender *c, size_t row, const struct bench_metric *m);
/* The engine's contender (never direct or auto) with the best median; NULL: none has one. */
const struct bench_contender *bench_best(const struct bench *b, size_t row,
					 const struct bench_metric *m);
/* NULL: not measured. */
const struct bench_contender *bench_find(const struct bench *b, const char *name);
/* How many times that of `base` the metric of `c` is: the median of the rounds' ratios, since what
 * slows a whole round down is not in them. NAN: a round has none. */
double bench_ratio(const struct bench_contender *c, const struct bench_contender *base, size_t row,
		   const struct bench_metric *m);
/* Was `c` faster in every round than `base` in any? Else the rounds say little. */
bool bench_is_clearly_faster(const struct bench_contender *c, const struct bench_contender *base,
			     size_t row);

/* bench_print.c, bench_json.c: to standard output. */
void bench_print(const struct bench *b);
int bench_print_json(const struct bench *b) must_check;

#endif
