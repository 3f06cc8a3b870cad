/* SPDX-License-Identifier: MIT */
/*
 * What Prometheus is told, without Prometheus: the text's grammar, its numbers, and the HTTP around
 * it. The loop runs here, and the client is an fd of the same loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "balancer.h"
#include "engine.h"
#include "http.h"
#include "metrics.h"
#include "metrics_text.h"
#include "net.h"

#define WAIT_MAX_MS 20000

static struct loop loop;
static struct workers workers;
static struct fd_budget fds;
static struct admission admission;
static struct config *config;
static struct apps apps;
static struct admin_context context;
static struct http *http;
static struct addr at;

/* --- the daemon's part ------------------------------------------------------------------------ */

/* An address of the loopback that nothing listens on just now. */
static struct addr free_address(void)
{
	struct addr a = { .in = { .sin_family = AF_INET } };
	socklen_t len = sizeof(a);
	int fd;

	a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = net_bind(&a, 0, false);
	assert_true(fd >= 0);
	assert_return_code(getsockname(fd, &a.sa, &len), errno);
	close(fd);
	return a;
}

static int open_daemon(void **state)
{
	static const char text[] = "{\"Apps\":[{\"Name\":\"a \\\"b\\\" \\\\\",\"Ports\":[3],"
				   "\"Targets\":[\"127.0.0.1:1\",\"h:2\"],\"MaxConnections\":7},"
				   "{\"Name\":\"plain\",\"Ports\":[2],\"Targets\":[\"h:3\"]}]}";
	struct config_vocabulary v = { balancer_names, n_balancers, engine_names, n_engines };
	struct worker_conf conf = { .max_buffers = 4, .fds = &fds, .admission = &admission };
	struct config_errors errors;
	char why[128];

	(void)state;
	config = config_parse(text, strlen(text), &v, &errors);
	assert_non_null(config);
	apps.running = apps_make(config, NULL, NULL);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(workers_init(&workers, 2, &conf), 0);
	atomic_store(&fds.left, 100);
	admission_init(&admission, 30);
	context = (struct admin_context){ .version = "1.2.3",
					  .apps = &apps,
					  .workers = &workers,
					  .fds = &fds,
					  .admission = &admission };
	at = free_address();
	assert_int_equal(http_open(&loop, &at, &context, &http, why, sizeof(why)), 0);
	return 0;
}

static int close_daemon(void **state)
{
	(void)state;
	workers_stop(&workers, CLOSE_STOPPED);
	workers_close(&workers);
	admission_destroy(&admission);
	http_close(http);
	apps_free(&apps);
	config_free(config);
	loop_close(&loop);
	return 0;
}

/* --- the client's part ------------------------------------------------------------------------ */

struct client {
	struct watch watch;
	bool ended;
	size_t len;
	char answer[1 << 20];
};

static void on_answer(struct watch *w, uint32_t events)
{
	struct client *c = container_of(w, struct client, watch);
	ssize_t n = recv(w->fd, c->answer + c->len, sizeof(c->answer) - 1 - c->len, 0);

	(void)events;
	if (n > 0)
		c->len += (size_t)n;
	else
		c->ended = true;
}

static void no_answer(struct timer *t)
{
	(void)t;
	fail_msg("there was no answer for %d ms", WAIT_MAX_MS);
}

/* The whole answer, to be freed; `method path` is asked for. */
static char *ask(const char *what)
{
	struct client *c = xcalloc(1, sizeof(*c));
	struct timer limit;
	char request[256], *answer;
	int fd, n = snprintf(request, sizeof(request),
			     "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", what);

	timer_init(&limit, no_answer);
	timer_arm(&loop.timers, &limit, clock_ns() + WAIT_MAX_MS * NSEC_PER_MSEC);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_return_code(connect(fd, &at.sa, addr_len(&at)), errno);
	assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
	c->watch = (struct watch){ .fd = -1, .ready = on_answer };
	assert_int_equal(loop_add(&loop, &c->watch, fd, EPOLLIN), 0);
	while (!c->ended)
		assert_int_equal(loop_turn(&loop, -1), 0);
	timer_disarm(&loop.timers, &limit);
	loop_remove(&loop, &c->watch);
	close(fd);
	answer = xstrdup(c->answer);
	free(c);
	return answer;
}

static void answers(const char *what, const char *status, const char *body)
{
	char *answer = ask(what), *head_end = strstr(answer, "\r\n\r\n");

	assert_memory_equal(answer, status, strlen(status));
	assert_non_null(head_end);
	assert_string_equal(head_end + strlen("\r\n\r\n"), body);
	free(answer);
}

static void has_line(const char *text, const char *line)
{
	char whole[512];

	snprintf(whole, sizeof(whole), "\n%s\n", line);
	if (!strstr(text, whole))
		fail_msg("there is no line \"%s\" in\n%s", line, text);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void buckets_are_by_their_highest_value(void **state)
{
	struct buckets b = { 0 };

	(void)state;
	for (size_t i = 1; i < connect_bounds.n; i++)
		assert_true(connect_bounds.upper_ns[i] > connect_bounds.upper_ns[i - 1]);
	for (size_t i = 1; i < connection_bounds.n; i++)
		assert_true(connection_bounds.upper_ns[i] > connection_bounds.upper_ns[i - 1]);
	assert_true(connect_bounds.n <= BUCKETS_MAX && connection_bounds.n <= BUCKETS_MAX);
	buckets_add(&b, &connect_bounds, connect_bounds.upper_ns[3]);
	buckets_add(&b, &connect_bounds, connect_bounds.upper_ns[3] + 1);
	buckets_add(&b, &connect_bounds, UINT64_MAX / 2);
	assert_int_equal(b.count[3], 1);
	assert_int_equal(b.count[4], 1);
	assert_int_equal(b.count[connect_bounds.n], 1);
}

static void label_x(struct metrics_text *t, const void *value)
{
	metric_label(t, "x", value);
}

static void a_histogram_is_cumulative_and_its_labels_escaped(void **state)
{
	static const struct bucket_bounds bounds = { 2, { 1500000, NSEC_PER_SEC } };
	struct buckets b = { 0 };
	struct metrics_text t;
	char *text;
	size_t len;

	(void)state;
	buckets_add(&b, &bounds, 1000000);
	buckets_add(&b, &bounds, 2000000);
	buckets_add(&b, &bounds, 2 * NSEC_PER_SEC);
	t.out = open_memstream(&text, &len);
	metric_family(&t, "f", METRIC_HISTOGRAM, "Help.");
	metric_histogram(&t, &b, &bounds, label_x, "q\"b\\n\n");
	fclose(t.out);
	assert_string_equal(text, "# HELP f Help.\n# TYPE f histogram\n"
				  "f_bucket{x=\"q\\\"b\\\\n\\n\",le=\"0.0015\"} 1\n"
				  "f_bucket{x=\"q\\\"b\\\\n\\n\",le=\"1\"} 2\n"
				  "f_bucket{x=\"q\\\"b\\\\n\\n\",le=\"+Inf\"} 3\n"
				  "f_sum{x=\"q\\\"b\\\\n\\n\"} 2.003000000\n"
				  "f_count{x=\"q\\\"b\\\\n\\n\"} 3\n");
	free(text);
}

static void what_is_counted_is_told(void **state)
{
	char *text;

	(void)state;
	atomic_store(&apps.running.list[0]->shared->accepted, 12);
	atomic_store(&apps.running.list[1]->shared->closed[CLOSE_NO_BACKEND], 3);
	atomic_store(&apps.running.list[0]->backends[1]->bytes_to_client, 1ull << 60);
	buckets_add(&apps.running.list[1]->shared->connect_time, &connect_bounds, NSEC_PER_MSEC);
	text = ask("GET /metrics");
	has_line(text, "shunt_build_info{version=\"1.2.3\"} 1");
	has_line(text, "shunt_ready 0");
	has_line(text, "shunt_worker_connections{worker=\"1\"} 0");
	has_line(text, "shunt_connections_accepted_total{app=\"a \\\"b\\\" \\\\\"} 12");
	has_line(text, "shunt_connections_limit{app=\"a \\\"b\\\" \\\\\"} 7");
	has_line(text, "shunt_connections_closed_total{app=\"plain\",reason=\"no_backend\"} 3");
	has_line(text, "shunt_backend_up{app=\"a \\\"b\\\" \\\\\",target=\"127.0.0.1:1\"} 1");
	has_line(text, "shunt_backend_up{app=\"plain\",target=\"h:3\"} 0");
	has_line(text,
		 "shunt_backend_received_bytes_total{app=\"a \\\"b\\\" \\\\\",target=\"h:2\"} "
		 "1152921504606846976");
	has_line(text, "shunt_connect_duration_seconds_bucket{app=\"plain\",le=\"0.0005\"} 0");
	has_line(text, "shunt_connect_duration_seconds_bucket{app=\"plain\",le=\"0.001\"} 1");
	has_line(text, "shunt_connect_duration_seconds_sum{app=\"plain\"} 0.001000000");
	assert_null(strstr(text, "shunt_connections_limit{app=\"plain\"}"));
	free(text);
}

/* Does `name` begin the sample's name, with nothing but a suffix of a histogram's behind? */
static bool is_of_family(const char *sample, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(sample, name, len))
		return false;
	return strchr("{ ", sample[len]) || !strncmp(sample + len, "_bucket{", 8) ||
	       !strncmp(sample + len, "_sum{", 5) || !strncmp(sample + len, "_count{", 7);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void every_sample_is_told_once_and_under_its_family(void **state)
{
	char *answer = ask("GET /metrics"), *rest = strstr(answer, "\r\n\r\n") + 4, *line;
	char *series[4096], family[128] = "", name[128];
	size_t n = 0;

	(void)state;
	while ((line = strsep(&rest, "\n")) && *line) {
		if (sscanf(line, "# HELP %127s", family) == 1)
			continue;
		if (sscanf(line, "# TYPE %127s", name) == 1) {
			assert_string_equal(name, family);
			continue;
		}
		if (!is_of_family(line, family))
			fail_msg("\"%s\" stands under %s", line, family);
		*strrchr(line, ' ') = '\0';
		assert_true(n < ARRAY_SIZE(series));
		series[n++] = line;
	}
	assert_true(n > 100);
	qsort(series, n, sizeof(*series), by_text);
	for (size_t i = 1; i < n; i++)
		assert_string_not_equal(series[i], series[i - 1]);
	free(answer);
}

static void ready_is_told_apart_from_starting_and_draining(void **state)
{
	(void)state;
	answers("GET /healthz", "HTTP/1.1 200 ", "ok\n");
	answers("GET /readyz", "HTTP/1.1 503 ", "starting\n");
	assert_int_equal(workers_start(&workers), 0);
	answers("GET /readyz", "HTTP/1.1 200 ", "ready\n");
	workers_drain(&workers);
	answers("GET /readyz", "HTTP/1.1 503 ", "draining\n");
	answers("GET /healthz", "HTTP/1.1 200 ", "ok\n");
}

static void what_is_not_there_is_told_so(void **state)
{
	char *answer;

	(void)state;
	answers("GET /", "HTTP/1.1 404 ", "there are /metrics, /healthz and /readyz\n");
	answers("DELETE /metrics", "HTTP/1.1 405 ", "GET or HEAD is what works here\n");
	answers("HEAD /metrics", "HTTP/1.1 200 ", "");
	answer = ask("nonsense");
	assert_memory_equal(answer, "HTTP/1.", 7);
	free(answer);
}

/* More clients than are taken at a time, who say nothing: when they have gone, there is room again.
 */
static void too_many_silent_clients_are_got_over(void **state)
{
	int fds_of[HTTP_CLIENTS_MAX + 20];

	(void)state;
	for (size_t round = 0; round < 3; round++) {
		size_t n = HTTP_CLIENTS_MAX - 1 + round * 10;

		for (size_t i = 0; i < n; i++) {
			fds_of[i] = socket(AF_INET, SOCK_STREAM, 0);
			assert_return_code(connect(fds_of[i], &at.sa, addr_len(&at)), errno);
			assert_int_equal(loop_turn(&loop, 0), 0);
		}
		for (size_t i = 0; i < n; i++)
			close(fds_of[i]);
		answers("GET /healthz", "HTTP/1.1 200 ", "ok\n");
	}
}

/* However far a question has got: nothing is left of it. */
static void the_end_may_come_before_the_answer(void **state)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

	for (int turns = 0; turns < 6; turns++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		open_daemon(state);
		assert_int_equal(workers_start(&workers), 0);
		assert_return_code(connect(fd, &at.sa, addr_len(&at)), errno);
		assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
		for (int i = 0; i < turns; i++)
			assert_int_equal(loop_turn(&loop, 0), 0);
		close_daemon(state);
		close(fd);
	}
}

#define WITH_DAEMON(test) cmocka_unit_test_setup_teardown(test, open_daemon, close_daemon)

/* One without would be told nowhere, or end the daemon at the first question. */
static void every_counter_of_the_kernel_has_a_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_SHUNT_COUNTERS; i++)
		assert_non_null(sockmap_counter_names[i]);
	for (size_t i = 0; i < N_WIRE_COUNTERS; i++)
		assert_non_null(wire_counter_names[i]);
	for (size_t i = 0; i < N_ENGINE_REASONS; i++)
		assert_non_null(engine_reason_text((enum engine_reason)i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_counter_of_the_kernel_has_a_name),
		cmocka_unit_test(buckets_are_by_their_highest_value),
		cmocka_unit_test(a_histogram_is_cumulative_and_its_labels_escaped),
		WITH_DAEMON(what_is_counted_is_told),
		WITH_DAEMON(every_sample_is_told_once_and_under_its_family),
		WITH_DAEMON(ready_is_told_apart_from_starting_and_draining),
		WITH_DAEMON(what_is_not_there_is_told_so),
		WITH_DAEMON(too_many_silent_clients_are_got_over),
		cmocka_unit_test(the_end_may_come_before_the_answer),
	};

	(void)!net_unshare(); /* nobody else takes a port, or makes a device, there */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
