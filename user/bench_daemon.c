/* SPDX-License-Identifier: MIT */
/*
 * The daemons under test and the servers behind them. A daemon is this very binary with its
 * configuration on standard input: an app for each row, each on a port of its own, with an address
 * of the backend that no other daemon connects to. So no contender looks for a local port among
 * those that another one has left in TIME_WAIT.
 */
#include "bench.h"

#include <cjson/cJSON.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine_bypass.h"

#define ECHO_PORT 7000
#define SINK_PORT 7001
#define DAEMON_PORT_FIRST 7100

static uint16_t daemon_port(const struct bench_contender *c, size_t row)
{
	return (uint16_t)(DAEMON_PORT_FIRST + c->nth * BENCH_ROWS_MAX + row);
}

static uint16_t server_port(size_t row)
{
	return bench_rows[row].kind == LOAD_BULK ? SINK_PORT : ECHO_PORT;
}

static const char *backend_ip(const struct bench_contender *c, char buf[INET_ADDRSTRLEN])
{
	snprintf(buf, INET_ADDRSTRLEN, LAB_BACKEND_IP_FORMAT, LAB_BACKEND_IP_FIRST + c->nth);
	return buf;
}

struct addr bench_address(const struct bench_contender *c, size_t row)
{
	char ip[INET_ADDRSTRLEN];
	struct addr a;

	if (addr_parse_host(c->is_direct ? backend_ip(c, ip) : LAB_PROXY_IP, &a))
		abort(); /* a constant that is no address */
	addr_set_port(&a, c->is_direct ? server_port(row) : daemon_port(c, row));
	return a;
}

/* It goes around an engine, and is not one to ask for. */
static bool is_bypass(const struct bench_contender *c)
{
	return engine_find(c->name) == &engine_bypass;
}

static void add_app(cJSON *apps, const struct bench_contender *c, size_t row)
{
	cJSON *app = cJSON_CreateObject();
	char ip[INET_ADDRSTRLEN], target[64];

	snprintf(target, sizeof(target), "%s:%u", backend_ip(c, ip), server_port(row));
	cJSON_AddStringToObject(app, "Name", bench_rows[row].key);
	cJSON_AddBoolToObject(app, "LocalBypass", is_bypass(c));
	cJSON_AddItemToArray(cJSON_AddArrayToObject(app, "Listen"),
			     cJSON_CreateString(LAB_PROXY_IP));
	cJSON_AddItemToArray(cJSON_AddArrayToObject(app, "Ports"),
			     cJSON_CreateNumber(daemon_port(c, row)));
	cJSON_AddItemToArray(cJSON_AddArrayToObject(app, "Targets"), cJSON_CreateString(target));
	cJSON_AddItemToArray(apps, app);
}

static char *make_config(const struct bench_contender *c, bool records)
{
	cJSON *config = cJSON_CreateObject(), *apps;
	char *text;

	cJSON_AddBoolToObject(cJSON_AddObjectToObject(config, "Log"), "Access", records);
	apps = cJSON_AddArrayToObject(config, "Apps");
	for (size_t i = 0; i < n_bench_rows; i++)
		add_app(apps, c, i);
	text = cJSON_PrintUnformatted(config);
	cJSON_Delete(config);
	return text;
}

/* An fd to read the configuration from, or -errno. */
static int config_fd(const struct bench_contender *c, bool records)
{
	int fd = memfd_create("config", MFD_CLOEXEC), rc = fd < 0 ? -errno : 0;
	char *text = make_config(c, records);

	if (!text)
		rc = -ENOMEM;
	else if (!rc && write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		rc = -EIO;
	cJSON_free(text);
	if (!rc && lseek(fd, 0, SEEK_SET))
		rc = -errno;
	if (!rc)
		return fd;
	if (fd >= 0)
		close(fd);
	return rc;
}

static void print_log(const struct bench_contender *c)
{
	char text[4096];
	off_t at = 0;
	ssize_t n;

	while (c->log_fd >= 0 && (n = pread(c->log_fd, text, sizeof(text), at)) > 0) {
		fwrite(text, 1, (size_t)n, stderr);
		at += n;
	}
}

static void exec_daemon(const struct bench_contender *c, int config, bool records)
{
	if (dup2(config, STDIN_FILENO) >= 0 && dup2(c->log_fd, STDOUT_FILENO) >= 0 &&
	    dup2(c->log_fd, STDERR_FILENO) >= 0)
		execl("/proc/self/exe", "shunt", "run", "-c", "-", "--engine",
		      is_bypass(c) ? "auto" : c->name, "--log-format", "json", "--log-level",
		      records ? "debug" : "warning", NULL);
	_exit(EXIT_FAILURE);
}

/* It listens before it has probed its engines, so it is ready when it relays. To be tried by the
 * row of so many connections that one more is nothing. */
static int wait_until_it_relays(const struct bench *b, const struct bench_contender *c)
{
	struct addr at;
	size_t row = 0;

	while (bench_rows[row].kind != LOAD_CHURN)
		row++;
	at = bench_address(c, row);
	return lab_wait_for_port(&b->lab, LAB_CLIENT, &at, true, c->pid);
}

int bench_daemon_start(const struct bench *b, struct bench_contender *c, bool records)
{
	int config, rc;

	c->log_fd = memfd_create("log", MFD_CLOEXEC);
	config = c->log_fd < 0 ? -errno : config_fd(c, records);
	if (config < 0) {
		fprintf(stderr, "shunt bench: memory for a daemon's files: %s\n",
			strerror(-config));
		return config;
	}
	c->pid = lab_fork(&b->lab, LAB_PROXY, true);
	if (!c->pid)
		exec_daemon(c, config, records);
	close(config);
	if (c->pid < 0)
		return c->pid;
	rc = wait_until_it_relays(b, c);
	if (rc) {
		print_log(c);
		fprintf(stderr, "shunt bench: the daemon with --engine %s does not relay\n",
			c->name);
	}
	return rc;
}

int bench_daemon_check(struct bench_contender *c)
{
	if (c->pid <= 0 || !lab_has_ended(c->pid))
		return 0;
	c->pid = 0;
	bench_progress(NULL);
	print_log(c);
	fprintf(stderr, "shunt bench: the daemon with --engine %s has ended by itself\n", c->name);
	return -EPIPE;
}

void bench_daemon_stop(struct bench_contender *c)
{
	lab_stop(c->pid, SIGTERM);
	c->pid = 0;
}

/* In a child of its own; returns only when it failed. */
static void serve(const struct bench *b)
{
	struct load_server_conf conf = { .threads = bench_load_threads(), .echo = true };
	int rc;

	conf.at.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(ECHO_PORT) };
	rc = load_serve(&conf);
	if (!rc) {
		conf.at.in.sin_port = htons(SINK_PORT);
		conf.echo = false;
		conf.received = &b->shared->received;
		rc = load_serve(&conf);
	}
	if (rc) {
		fprintf(stderr, "shunt bench: can't start the servers: %s\n", strerror(-rc));
		return;
	}
	for (;;)
		pause();
}

int bench_servers_start(struct bench *b)
{
	static const struct bench_contender direct = { .is_direct = true };

	b->servers = lab_fork(&b->lab, LAB_BACKEND, false);
	if (b->servers < 0)
		return b->servers;
	if (!b->servers) {
		serve(b);
		_exit(EXIT_FAILURE);
	}
	for (size_t row = 0; row < n_bench_rows; row++) {
		struct addr at = bench_address(&direct, row);
		int rc = lab_wait_for_port(&b->lab, LAB_CLIENT, &at, false, b->servers);

		if (rc) {
			fputs("shunt bench: the servers can't be reached from the client\n",
			      stderr);
			return rc;
		}
	}
	return 0;
}
