/* SPDX-License-Identifier: MIT */
/*
 * The admin protocol without a daemon around it: the loop runs here, and clients are fds of the
 * same loop. Workers are real; most tests leave them unstarted, when they have no sessions.
 */
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

static void count_drain(void *daemon)
{
	assert_ptr_equal(daemon, &workers);
	drains++;
}

static void count_stop(void *daemon)
{
	assert_ptr_equal(daemon, &workers);
	stops++;
}

static void load(const char *text)
{
	struct config_vocabulary v = { balancer_names, n_balancers, engine_names, n_engines };
	struct config_errors errors;

	config = config_parse(text, strlen(text), &v, &errors);
	assert_non_null(config);
	config_errors_free(&errors);
	apps.running = apps_make(config, NULL, NULL);
}

static void open_daemon(const char *text)
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

static void close_daemon(void)
{
	workers_stop(&workers, CLOSE_STOPPED);
	workers_close(&workers);
	admin_close(admin);
	assert_int_equal(rmdir(folder), 0); /* the socket is gone */
	apps_free(&apps);
	config_free(config);
	loop_close(&loop);
}

static int open_two_apps(void **state)
{
	(void)state;
	open_daemon(
		"{\"Apps\":[{\"Name\":\"web\",\"Ports\":[1,\"7-9\"],\"Targets\":[\"127.0.0.1:1\","
		"\"127.0.0.1:2\"]},{\"Name\":\"mail\",\"Ports\":[2],\"Targets\":[\"h:3\"]}]}");
	return 0;
}

static int open_many_apps(void **state)
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

static int teardown(void **state)
{
	(void)state;
	close_daemon();
	return 0;
}

static void give_up(struct timer *t)
{
	(void)t;
	fail_msg("nothing happened for %d ms", WAIT_MAX_MS);
}

static void run_loop(void)
{
	struct timer limit;

	loop.stopping = false;
	timer_init(&limit, give_up);
	timer_arm(&loop.timers, &limit, clock_ns() + WAIT_MAX_MS * NSEC_PER_MSEC);
	assert_int_equal(loop_run(&loop), 0);
	timer_disarm(&loop.timers, &limit);
}

static void stop_loop(struct timer *t)
{
	(void)t;
	loop_stop(&loop);
}

static void run_loop_for_ms(uint64_t ms)
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

static struct asker *ask_begin(const char *request, size_t len)
{
	struct asker *a = xcalloc(1, sizeof(*a));
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	strcpy(at.sun_path, path);
	a->watch.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_return_code(connect(a->watch.fd, (struct sockaddr *)&at, sizeof(at)), errno);
	assert_int_equal(send(a->watch.fd, request, len, MSG_NOSIGNAL), len);
	return a;
}

static void on_answer(struct watch *w, uint32_t events)
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
static void ask_end(struct asker *a)
{
	shutdown(a->watch.fd, SHUT_WR);
	a->watch.ready = on_answer;
	assert_int_equal(loop_add(&loop, &a->watch, a->watch.fd, EPOLLIN), 0);
	run_loop();
	a->answer[a->len] = '\0';
}

static void asker_free(struct asker *a)
{
	close(a->watch.fd);
	free(a);
}

/* The whole answer to these lines, to be freed. */
static char *ask(const char *request)
{
	struct asker *a = ask_begin(request, strlen(request));
	char *answer;

	ask_end(a);
	answer = xstrdup(a->answer);
	asker_free(a);
	return answer;
}

static void answers(const char *request, const char *want)
{
	char *answer = ask(request);

	assert_string_equal(answer, want);
	free(answer);
}

/* The first row of the answer, which has n rows and a right end. */
static cJSON *first_row(const char *request, int n)
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

static double number(const cJSON *row, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, key);

	assert_true(cJSON_IsNumber(item));
	return item->valuedouble;
}

static void has_text(const cJSON *row, const char *key, const char *want)
{
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, key)), want);
}

static size_t count_lines(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void every_command_answers_and_ends(void **state)
{
	cJSON *row;

	(void)state;
	cJSON_Delete(first_row("{\"command\":\"help\"}\n", 13));
	cJSON_Delete(first_row("{\"command\":\"flows\",\"why\":true}\n", 0));
	row = first_row("{\"command\":\"status\"}\n", 1);
	has_text(row, "version", "1.2.3");
	assert_int_equal(number(row, "pid"), getpid());
	assert_int_equal(number(row, "workers"), 2);
	assert_int_equal(number(row, "apps"), 2);
	assert_int_equal(number(row, "fds_left"), 100);
	assert_int_equal(number(row, "room"), 30); /* fewer than the fds would do for */
	cJSON_Delete(row);
	row = first_row("{\"command\":\"config\"}\n", 1);
	has_text(row, "Engine", "auto");
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(row, "Apps")), 2);
	cJSON_Delete(row);
	row = first_row("{\"command\":\"apps\"}\n", 2);
	has_text(row, "app", "web");
	has_text(row, "ports", "1,7-9");
	assert_int_equal(number(row, "targets_up"), 2);
	cJSON_Delete(row);
	row = first_row("{\"command\":\"backends\",\"app\":\"mail\"}\n", 1);
	has_text(row, "target", "h:3");
	has_text(row, "state", "unresolved");
	cJSON_Delete(row);
}

static void what_is_wrong_is_told_with_what_would_be_right(void **state)
{
	static const struct {
		const char *request, *error;
	} row[] = {
		{ "{\"command\":\"sttaus\"}",
		  "there is no command \\\"sttaus\\\"; did you mean \\\"status\\\"?" },
		{ "{\"command\":\"frobnicate\"}",
		  "there is no command \\\"frobnicate\\\"; the command \\\"help\\\" lists them" },
		{ "{\"command\":\"flows\",\"app\":\"wbb\"}",
		  "there is no app \\\"wbb\\\"; did you mean \\\"web\\\"?" },
		{ "{\"command\":\"reload\"}", "this daemon's configuration can't be read again" },
		{ "{\"command\":\"flows\",\"app\":7}",
		  "\\\"app\\\" must be a string, the name of an app" },
		{ "{\"command\":\"flows\",\"why\":1}", "\\\"why\\\" must be true or false" },
		{ "{\"command\":\"flows\",\"whyy\":true}",
		  "the command \\\"flows\\\" takes no option \\\"whyy\\\"; did you mean \\\"why\\\"?" },
		{ "{\"command\":\"apps\",\"colour\":1}",
		  "the command \\\"apps\\\" takes no option \\\"colour\\\"; it takes: \\\"app\\\"" },
		{ "{\"command\":\"backend-order\",\"app\":\"web\",\"order\":\"drained\"}",
		  "it needs \\\"app\\\", \\\"target\\\" and \\\"order\\\", all three" },
		{ "{\"command\":\"backend-order\",\"order\":\"drain\"}",
		  "there is no order \\\"drain\\\"; did you mean \\\"drained\\\"?" },
		{ "{\"command\":\"backend-order\",\"target\":\"\"}",
		  "\\\"target\\\" must be a string, a target's text" },
		{ "{\"command\":\"backend-order\",\"app\":\"web\",\"target\":\"127.0.0.1:3\","
		  "\"order\":\"drained\"}",
		  "app \\\"web\\\" has no target \\\"127.0.0.1:3\\\"; did you mean "
		  "\\\"127.0.0.1:1\\\"?" },
		{ "{\"command\":\"status\",\"app\":\"web\"}",
		  "the command \\\"status\\\" takes no option \\\"app\\\"; it takes none" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		char request[256], want[256];

		snprintf(request, sizeof(request), "%s\n", row[i].request);
		snprintf(want, sizeof(want), "{\"error\":\"%s\"}\n", row[i].error);
		answers(request, want);
	}
}

static void a_target_is_taken_out_and_back(void **state)
{
	cJSON *row;

	(void)state;
	answers("{\"command\":\"backend-order\",\"app\":\"web\",\"target\":\"127.0.0.1:1\","
		"\"order\":\"drained\"}\n",
		"{\"app\":\"web\",\"target\":\"127.0.0.1:1\",\"order\":\"drained\","
		"\"before\":\"enabled\",\"active\":0}\n{\"end\":true,\"rows\":1}\n");
	row = first_row("{\"command\":\"backends\",\"app\":\"web\"}\n", 2);
	has_text(row, "order", "drained");
	has_text(row, "state", "up");
	cJSON_Delete(row);
	/* In whatever order the request has them. */
	answers("{\"order\":\"enabled\",\"target\":\"127.0.0.1:1\",\"app\":\"web\","
		"\"command\":\"backend-order\"}\n",
		"{\"app\":\"web\",\"target\":\"127.0.0.1:1\",\"order\":\"enabled\","
		"\"before\":\"drained\",\"active\":0}\n{\"end\":true,\"rows\":1}\n");
}

static void what_is_no_request_is_told_and_the_connection_goes_on(void **state)
{
	static const char *const wrong[] = {
		"flows",
		"{\"command\":\"flows\"",
		"{\"command\":\"flows\"} x",
		"[]",
		"{}",
		"{\"command\":7}",
		"null",
		"\"flows\"",
		"{\"command\":\"flows\"}{\"command\":\"flows\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char request[128];

		snprintf(request, sizeof(request), "%s\n\n \r\n{\"command\":\"flows\"}\n",
			 wrong[i]);
		answers(request,
			"{\"error\":\"a request must be one line of JSON such as "
			"{\\\"command\\\": \\\"status\\\"}\"}\n{\"end\":true,\"rows\":0}\n");
	}
}

static void orders_are_carried_out_once(void **state)
{
	(void)state;
	drains = stops = 0;
	answers("{\"command\":\"drain\"}\n",
		"{\"state\":\"starting\"}\n{\"end\":true,\"rows\":1}\n");
	assert_int_equal(drains, 1);
	assert_int_equal(stops, 0);
	answers("{\"command\":\"stop\"}\n",
		"{\"state\":\"stopping\"}\n{\"end\":true,\"rows\":1}\n");
	assert_int_equal(drains, 1);
	assert_int_equal(stops, 1);
}

static void the_bypass_is_not_switched_where_there_is_none(void **state)
{
	(void)state;
	answers("{\"command\":\"bypass\",\"bypass\":\"off\"}\n",
		"{\"error\":\"which app? It takes an \\\"app\\\"\"}\n");
	answers("{\"command\":\"bypass\",\"bypass\":\"down\"}\n",
		"{\"error\":\"\\\"bypass\\\" must be \\\"on\\\" or \\\"off\\\"\"}\n");
	answers("{\"command\":\"bypass\",\"bypass\":\"off\",\"app\":\"web\"}\n",
		"{\"error\":\"this app is not bypassed: its \\\"LocalBypass\\\" is false\"}\n");
}

static void the_log_level_is_told_and_changed(void **state)
{
	(void)state;
	assert_int_equal(log_level_now(), LOG_LEVEL_INFO);
	answers("{\"command\":\"log-level\"}\n",
		"{\"level\":\"info\",\"before\":\"info\"}\n{\"end\":true,\"rows\":1}\n");
	answers("{\"command\":\"log-level\",\"level\":\"error\"}\n",
		"{\"level\":\"error\",\"before\":\"info\"}\n{\"end\":true,\"rows\":1}\n");
	assert_int_equal(log_level_now(), LOG_LEVEL_ERROR);
	answers("{\"command\":\"log-level\",\"level\":\"wanring\"}\n",
		"{\"error\":\"there is no log level \\\"wanring\\\"; did you mean "
		"\\\"warning\\\"?\"}\n");
	answers("{\"command\":\"log-level\",\"level\":3}\n",
		"{\"error\":\"there is no log level \\\"\\\"; there are error, warning, notice, info "
		"and debug\"}\n");
	assert_int_equal(log_level_now(), LOG_LEVEL_ERROR);
	log_set_level(LOG_LEVEL_INFO);
}

static void requests_are_answered_one_after_the_other_also_without_a_last_newline(void **state)
{
	(void)state;
	answers("{\"command\":\"flows\"}\n{\"command\":\"flow\"}\n{\"command\":\"flows\"}",
		"{\"end\":true,\"rows\":0}\n"
		"{\"error\":\"there is no command \\\"flow\\\"; did you mean \\\"flows\\\"?\"}\n"
		"{\"end\":true,\"rows\":0}\n");
}

static void a_line_without_end_is_refused(void **state)
{
	size_t len = ADMIN_REQUEST_MAX_BYTES + 1000;
	char *line = xcalloc(1, len);
	struct asker *a;

	(void)state;
	memset(line, ' ', len);
	a = ask_begin(line, len);
	ask_end(a);
	assert_string_equal(a->answer,
			    "{\"error\":\"a request must be one line of at most 64 KiB\"}\n");
	asker_free(a);
	free(line);
}

static void one_client_too_many_is_told_so(void **state)
{
	struct asker *others[ADMIN_CLIENTS_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		others[i] = ask_begin("", 0);
	run_loop_for_ms(20);
	answers("", "{\"error\":\"too many clients at the admin socket: close another one "
		    "first\"}\n");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		asker_free(others[i]);
	answers("{\"command\":\"flows\"}\n", "{\"end\":true,\"rows\":0}\n");
}

/* Its answer is far longer than what the socket holds. */
static void a_client_that_does_not_read_stops_nobody_and_loses_nothing(void **state)
{
	static const char request[] = "{\"command\":\"apps\"}\n";
	struct asker *slow = ask_begin(request, strlen(request));

	(void)state;
	run_loop_for_ms(50);
	cJSON_Delete(first_row(request, MANY_APPS));
	ask_end(slow);
	assert_int_equal(count_lines(slow->answer), MANY_APPS + 1);
	asker_free(slow);
}

/* Who has read all of it and asks nothing is left alone for much longer. */
static void a_client_that_never_reads_is_closed_in_time(void **state)
{
	static const char long_one[] = "{\"command\":\"apps\"}\n",
			  short_one[] = "{\"command\":\"flows\"}\n";
	struct asker *stuck = ask_begin(long_one, strlen(long_one));
	struct asker *idle = ask_begin(short_one, strlen(short_one));

	(void)state;
	run_loop_for_ms(50);
	timer_wheel_run(&loop.timers, loop.now_ns + (ADMIN_STALL_MAX_MS + 100) * NSEC_PER_MSEC);
	ask_end(stuck);
	assert_in_range(count_lines(stuck->answer), 1, MANY_APPS - 1);
	ask_end(idle);
	assert_int_equal(count_lines(idle->answer), 1);
	asker_free(stuck);
	asker_free(idle);
}

static void a_client_that_goes_away_in_its_answer_is_forgotten(void **state)
{
	static const char request[] = "{\"command\":\"apps\"}\n";
	struct asker *gone = ask_begin(request, strlen(request));

	(void)state;
	run_loop_for_ms(50);
	asker_free(gone);
	run_loop_for_ms(50);
	cJSON_Delete(first_row(request, MANY_APPS));
}

/* --- with sessions ---------------------------------------------------------------------------- */

static int listening_socket(struct addr *at)
{
	socklen_t len = sizeof(*at);
	int fd;

	assert_int_equal(addr_parse_host("127.0.0.1", at), 0);
	fd = net_bind(at, 0, false);
	assert_true(fd >= 0);
	assert_int_equal(net_listen(fd, NET_BACKLOG), 0);
	assert_return_code(getsockname(fd, &at->sa, &len), errno);
	return fd;
}

/* Retried, since accepting does not wait. */
static int accept_from(int listener)
{
	struct addr peer;
	int fd;

	for (int i = 0; (fd = net_accept(listener, &peer)) == -EAGAIN && i < 5000; i++)
		usleep(1000);
	assert_true(fd >= 0);
	return fd;
}

static void read_exactly(int fd, size_t n)
{
	char byte;

	for (int i = 0; n && i < 5000; i++) {
		if (recv(fd, &byte, 1, 0) == 1)
			n--;
		else
			usleep(1000);
	}
	assert_int_equal(n, 0);
}

static void no_byte_of_a_live_flow_is_missing_or_counted_twice(void **state)
{
	struct addr at, backend_at;
	int backend = listening_socket(&backend_at), front = listening_socket(&at), client, served;
	char text[256], backend_text[ADDR_TEXT_MAX], front_text[ADDR_TEXT_MAX];
	struct listener *listener;
	cJSON *row;

	(void)state;
	addr_format(&backend_at, backend_text);
	snprintf(text, sizeof(text),
		 "{\"Apps\":[{\"Name\":\"a\",\"Ports\":[1],\"Targets\":[\"%s\"]}]}", backend_text);
	open_daemon(text);
	listener = listener_new(front, &at, 0, &fds);
	assert_int_equal(listener_open(listener, &workers.list[0].listeners, apps.running.list[0]),
			 0);
	assert_int_equal(workers_start(&workers), 0);
	client = net_connect(&at);
	assert_true(client >= 0);
	served = accept_from(backend);
	assert_int_equal(send(client, "12345", 5, 0), 5);
	read_exactly(served, 5);
	assert_int_equal(send(served, "123", 3, 0), 3);
	read_exactly(client, 3);

	row = first_row("{\"command\":\"flows\",\"why\":true,\"app\":\"a\"}\n", 1);
	has_text(row, "app", "a");
	has_text(row, "listener", addr_format(&at, front_text));
	has_text(row, "target", backend_text);
	has_text(row, "address", backend_text);
	has_text(row, "state", "relaying");
	has_text(row, "engine_to_backend", "copy");
	has_text(row, "why_to_client", engine_reason_text(ENGINE_FIRST_BYTES));
	assert_int_equal(number(row, "bytes_to_backend"), 5);
	assert_int_equal(number(row, "bytes_to_client"), 3);
	assert_int_equal(number(row, "backlog_to_client"), 0);
	cJSON_Delete(row);
	for (int i = 0; i < 3; i++) {
		row = first_row("{\"command\":\"backends\"}\n", 1);
		assert_int_equal(number(row, "bytes_to_backend"), 5);
		assert_int_equal(number(row, "active"), i < 2);
		cJSON_Delete(row);
		if (i == 1) {
			close(client);
			close(served);
			while (atomic_load(&apps.running.list[0]->shared->active))
				usleep(1000);
		}
	}
	close(backend);
	close_daemon();
}

struct nap {
	struct message message;
	useconds_t us;
};

static void run_nap(struct message *m, struct worker *w)
{
	struct nap *nap = container_of(m, struct nap, message);

	(void)w;
	usleep(nap->us);
	free(nap);
}

/* A worker that can't answer for a while. */
static void make_busy(struct worker *w, useconds_t us)
{
	struct nap *nap = xcalloc(1, sizeof(*nap));

	nap->message.run = run_nap;
	nap->us = us;
	worker_post(w, &nap->message);
}

/* The sanitizer says whether that leaks. */
static void a_stop_in_the_middle_of_a_question_leaks_nothing(void **state)
{
	static const char request[] = "{\"command\":\"flows\"}\n";
	struct asker *a, *gone;

	(void)state;
	assert_int_equal(workers_start(&workers), 0);
	make_busy(&workers.list[1], 300000);
	gone = ask_begin(request, strlen(request));
	a = ask_begin(request, strlen(request));
	run_loop_for_ms(50);
	asker_free(gone);
	run_loop_for_ms(50);
	asker_free(a);
}

static void a_client_that_goes_away_while_workers_are_asked_is_forgotten(void **state)
{
	static const char request[] = "{\"command\":\"flows\"}\n";
	struct asker *gone;

	(void)state;
	assert_int_equal(workers_start(&workers), 0);
	make_busy(&workers.list[1], 100000);
	gone = ask_begin(request, strlen(request));
	run_loop_for_ms(20);
	asker_free(gone);
	run_loop_for_ms(200);
	answers(request, "{\"end\":true,\"rows\":0}\n");
}

static void a_worker_that_has_ended_has_no_sessions_and_holds_up_nobody(void **state)
{
	static const char request[] = "{\"command\":\"flows\"}\n";
	struct asker *a;

	(void)state;
	assert_int_equal(workers_start(&workers), 0);
	/* Asked while one has ended and the other is about to. */
	make_busy(&workers.list[1], 100000);
	a = ask_begin(request, strlen(request));
	workers_drain(&workers);
	run_loop_for_ms(20);
	while (!workers_all_done(&workers))
		usleep(1000);
	workers_run_orphans(&workers);
	ask_end(a);
	assert_string_equal(a->answer, "{\"end\":true,\"rows\":0}\n");
	asker_free(a);
	answers(request, "{\"end\":true,\"rows\":0}\n");
}

/* --- client.c --------------------------------------------------------------------------------- */

struct question {
	struct watch answered; /* an eventfd */
	const char *path, *command;
	int rc, lines;
	char error[CLIENT_ERROR_MAX];
};

static void count_line(const char *text, cJSON *row, void *arg)
{
	struct question *q = arg;

	assert_non_null(text);
	cJSON_Delete(row);
	q->lines++;
}

static void *question_main(void *arg)
{
	struct question *q = arg;
	cJSON *request = cJSON_CreateObject();
	uint64_t one = 1;

	cJSON_AddStringToObject(request, "command", q->command);
	q->rc = client_ask(q->path, CLIENT_TIMEOUT_DEFAULT_S, request, count_line, q, q->error);
	cJSON_Delete(request);
	if (write(q->answered.fd, &one, sizeof(one)) < 0)
		q->rc = -errno;
	return NULL;
}

static void on_answered(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	loop_stop(&loop);
}

/* client_ask() waits, so it has a thread of its own. */
static struct question put_question(const char *socket_path, const char *command)
{
	struct question q = { .path = socket_path, .command = command };
	pthread_t thread;

	q.answered.ready = on_answered;
	assert_int_equal(loop_add(&loop, &q.answered, eventfd(0, 0), EPOLLIN), 0);
	assert_int_equal(pthread_create(&thread, NULL, question_main, &q), 0);
	run_loop();
	pthread_join(thread, NULL);
	close(q.answered.fd);
	return q;
}

static void the_client_hands_out_lines_and_says_what_is_wrong(void **state)
{
	struct question q;

	(void)state;
	q = put_question(path, "apps");
	assert_int_equal(q.rc, 0);
	assert_int_equal(q.lines, 3);
	q = put_question(path, "statsu");
	assert_int_equal(q.rc, -EPROTO);
	assert_int_equal(q.lines, 1);
	assert_string_equal(q.error, "there is no command \"statsu\"; did you mean \"status\"?");
	q = put_question("/nonexistent/s", "status");
	assert_int_equal(q.rc, -ENOENT);
	assert_int_equal(q.lines, 0);
	assert_non_null(strstr(q.error, "no daemon answers at /nonexistent/s: No such file or "
					"directory: is it running?"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_two_apps, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_command_answers_and_ends),
		TEST(what_is_wrong_is_told_with_what_would_be_right),
		TEST(a_target_is_taken_out_and_back),
		TEST(what_is_no_request_is_told_and_the_connection_goes_on),
		TEST(requests_are_answered_one_after_the_other_also_without_a_last_newline),
		TEST(orders_are_carried_out_once),
		TEST(the_log_level_is_told_and_changed),
		TEST(the_bypass_is_not_switched_where_there_is_none),
		TEST(a_line_without_end_is_refused),
		TEST(one_client_too_many_is_told_so),
		cmocka_unit_test_setup_teardown(
			a_client_that_does_not_read_stops_nobody_and_loses_nothing, open_many_apps,
			teardown),
		cmocka_unit_test_setup_teardown(a_client_that_goes_away_in_its_answer_is_forgotten,
						open_many_apps, teardown),
		cmocka_unit_test_setup_teardown(a_client_that_never_reads_is_closed_in_time,
						open_many_apps, teardown),
		cmocka_unit_test(no_byte_of_a_live_flow_is_missing_or_counted_twice),
		TEST(a_stop_in_the_middle_of_a_question_leaks_nothing),
		TEST(a_client_that_goes_away_while_workers_are_asked_is_forgotten),
		TEST(a_worker_that_has_ended_has_no_sessions_and_holds_up_nobody),
		TEST(the_client_hands_out_lines_and_says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
