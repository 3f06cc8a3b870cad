/* SPDX-License-Identifier: MIT */
/*
 * The admin protocol without a daemon around it: the loop runs here, and clients are fds of the
 * same loop. Workers are real; most tests leave them unstarted, when they have no sessions.
 */
#ifndef SHUNT_TEST_ADMIN_DAEMON_H
#define SHUNT_TEST_ADMIN_DAEMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin.h"
#include "balancer.h"
#include "client.h"
#include "engine.h"
#include "net.h"

#define WAIT_MAX_MS 20000
#define MANY_APPS 2000

static char folder[64], path[96];
static struct loop loop;
static struct workers workers;
static struct fd_budget fds;
static struct admission admission;
static struct config *config;
static struct apps apps;
static struct admin *admin;

/* --- the daemon's part ------------------------------------------------------------------------ */

static int drains, stops; /* that were ordered */

static inline void count_drain(void *daemon)
{
	assert_ptr_equal(daemon, &workers);
	drains++;
}

static inline void count_stop(void *daemon)
{
	assert_ptr_equal(daemon, &workers);
	stops++;
}

static inline void load(const char *text)
{
	struct config_vocabulary v = { balancer_names, n_balancers, engine_names, n_engines };
	struct config_errors errors;

	config = config_parse(text, strlen(text), &v, &errors);
	assert_non_null(config);
	config_errors_free(&errors);
	apps.running = apps_make(config, NULL, NULL);
}

static inline void open_daemon(const char *text)
{
	struct worker_conf conf = { .max_buffers = 4, .fds = &fds, .admission = &admission };
	struct admin_context context = {
		.version = "1.2.3",
		.workers = &workers,
		.fds = &fds,
		.admission = &admission,
		.control = { &workers, count_drain, count_stop },
	};
	char why[256];

	load(text);
	atomic_store(&fds.left, 100);
	admission_init(&admission, 30);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(workers_init(&workers, 2, &conf), 0);
	context.config = config;
	context.apps = &apps;
	strcpy(folder, "/tmp/shunt-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/admin.sock", folder);
	assert_int_equal(admin_open(&loop, path, &context, &admin, why, sizeof(why)), 0);
}

static inline void close_daemon(void)
{
	workers_stop(&workers, CLOSE_STOPPED);
	workers_close(&workers);
	admission_destroy(&admission);
	admin_close(admin);
	assert_int_equal(rmdir(folder), 0); /* the socket is gone */
	apps_free(&apps);
	config_free(config);
	loop_close(&loop);
}

static inline int open_two_apps(void **state)
{
	(void)state;
	open_daemon(
		"{\"Apps\":[{\"Name\":\"web\",\"Ports\":[4,\"7-9\"],\"Targets\":[\"127.0.0.1:1\","
		"\"127.0.0.1:2\"]},{\"Name\":\"mail\",\"Ports\":[2],\"Targets\":[\"h:3\"]}]}");
	return 0;
}

static inline int open_many_apps(void **state)
{
	char *text = xcalloc(MANY_APPS, 100);
	int len = sprintf(text, "{\"Apps\":[");

	(void)state;
	for (int i = 0; i < MANY_APPS; i++)
		len += sprintf(text + len,
			       "%s{\"Name\":\"app %d\",\"Ports\":[%d],\"Targets\":[\"h:1\"]}",
			       i ? "," : "", i, i + 1);
	strcpy(text + len, "]}");
	open_daemon(text);
	free(text);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	close_daemon();
	return 0;
}

static inline void give_up(struct timer *t)
{
	(void)t;
	fail_msg("nothing happened for %d ms", WAIT_MAX_MS);
}

static inline void run_loop(void)
{
	struct timer limit;

	loop.stopping = false;
	timer_init(&limit, give_up);
	timer_arm(&loop.timers, &limit, clock_ns() + WAIT_MAX_MS * NSEC_PER_MSEC);
	assert_int_equal(loop_run(&loop), 0);
	timer_disarm(&loop.timers, &limit);
}

static inline void stop_loop(struct timer *t)
{
	(void)t;
	loop_stop(&loop);
}

static inline void run_loop_for_ms(uint64_t ms)
{
	struct timer t;

	timer_init(&t, stop_loop);
	timer_arm(&loop.timers, &t, clock_ns() + ms * NSEC_PER_MSEC);
	run_loop();
}

/* --- the client's part ------------------------------------------------------------------------ */

struct asker {
	struct watch watch;
	size_t len;
	char answer[2 << 20];
};

static inline struct asker *ask_begin(const char *request, size_t len)
{
	struct asker *a = xcalloc(1, sizeof(*a));
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	strcpy(at.sun_path, path);
	a->watch.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_return_code(connect(a->watch.fd, (struct sockaddr *)&at, sizeof(at)), errno);
	assert_int_equal(send(a->watch.fd, request, len, MSG_NOSIGNAL), len);
	return a;
}

static inline void on_answer(struct watch *w, uint32_t events)
{
	struct asker *a = container_of(w, struct asker, watch);
	ssize_t n = recv(w->fd, a->answer + a->len, sizeof(a->answer) - 1 - a->len, 0);

	(void)events;
	if (n > 0)
		a->len += (size_t)n;
	else
		loop_stop(&loop);
}

/* Says that there is nothing more to ask, and reads until the daemon closes. */
static inline void ask_end(struct asker *a)
{
	shutdown(a->watch.fd, SHUT_WR);
	a->watch.ready = on_answer;
	assert_int_equal(loop_add(&loop, &a->watch, a->watch.fd, EPOLLIN), 0);
	run_loop();
	a->answer[a->len] = '\0';
}

static inline void asker_free(struct asker *a)
{
	close(a->watch.fd);
	free(a);
}

/* The whole answer to these lines, to be freed. */
static inline char *ask(const char *request)
{
	struct asker *a = ask_begin(request, strlen(request));
	char *answer;

	ask_end(a);
	answer = xstrdup(a->answer);
	asker_free(a);
	return answer;
}

static inline void answers(const char *request, const char *want)
{
	char *answer = ask(request);

	assert_string_equal(answer, want);
	free(answer);
}

/* The first row of the answer, which has n rows and a right end. */
static inline cJSON *first_row(const char *request, int n)
{
	char *answer = ask(request), *line, *rest = answer, last[64] = "";
	cJSON *first = NULL;
	int rows = 0;

	while ((line = strsep(&rest, "\n")) && *line) {
		cJSON *row = cJSON_Parse(line);

		assert_non_null(row);
		snprintf(last, sizeof(last), "%s", line);
		if (rows++)
			cJSON_Delete(row);
		else
			first = row;
	}
	assert_int_equal(rows, n + 1);
	snprintf(answer, 64, "{\"end\":true,\"rows\":%d}", n);
	assert_string_equal(last, answer);
	free(answer);
	return first;
}

static inline double number(const cJSON *row, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, key);

	assert_true(cJSON_IsNumber(item));
	return item->valuedouble;
}

static inline void has_text(const cJSON *row, const char *key, const char *want)
{
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, key)), want);
}

static inline size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

#endif
