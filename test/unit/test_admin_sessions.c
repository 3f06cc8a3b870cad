/* SPDX-License-Identifier: MIT */
/* Asking workers that have sessions, are busy or have ended; and the client's side of the socket. */
#include "admin_daemon.h"

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
		cmocka_unit_test(no_byte_of_a_live_flow_is_missing_or_counted_twice),
		TEST(a_stop_in_the_middle_of_a_question_leaks_nothing),
		TEST(a_client_that_goes_away_while_workers_are_asked_is_forgotten),
		TEST(a_worker_that_has_ended_has_no_sessions_and_holds_up_nobody),
		TEST(the_client_hands_out_lines_and_says_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
