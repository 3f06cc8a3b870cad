/* SPDX-License-Identifier: MIT */
/*
 * Active checks over loopback, in a loop of the test's own: what comes of one, and how many are
 * made when. The peer is the test itself, which does not answer until it is asked to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "health.h"
#include "health_schedule.h"
#include "net.h"

#define PATIENCE_MS 5000

static struct loop loop;
static int listener;
static struct addr at;
static struct check_outcome outcome;
static int outcomes;

static int open_all(void **state)
{
	socklen_t len = sizeof(at);

	(void)state;
	at = (struct addr){ .in = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	outcomes = 0;
	listener = net_bind(&at, 0, false);
	return loop_init(&loop) || listener < 0 || net_listen(listener, 16) ||
	       getsockname(listener, &at.sa, &len);
}

static int close_all(void **state)
{
	(void)state;
	close(listener);
	loop_close(&loop);
	return 0;
}

static void on_outcome(struct health_check *c, const struct check_outcome *o)
{
	assert_false(health_check_under_way(c));
	outcome = *o;
	outcomes++;
}

static struct health_bytes bytes(const char *text)
{
	struct health_bytes b = { .n = strlen(text) };

	memcpy(b.data, text, b.n);
	return b;
}

static void turn_until_outcome(void)
{
	uint64_t end_ns = clock_ns() + PATIENCE_MS * NSEC_PER_MSEC;

	while (!outcomes && clock_ns() < end_ns)
		assert_int_equal(loop_turn(&loop, 10), 0);
	assert_int_equal(outcomes, 1);
}

/* Starts one and returns the peer's end of its connection. */
static int begin(struct health_check *c, const struct health_conf *conf)
{
	struct addr peer;
	int fd;

	health_check_init(c, &loop, on_outcome);
	assert_int_equal(health_check_start(c, &at, conf), 0);
	while ((fd = net_accept(listener, &peer)) < 0)
		assert_int_equal(loop_turn(&loop, 10), 0);
	return fd;
}

static void a_connection_is_enough_without_expect(void **state)
{
	struct health_conf conf = HEALTH_CONF_DEFAULT;
	struct health_check c;
	char byte;
	int fd;

	(void)state;
	fd = begin(&c, &conf);
	turn_until_outcome();
	assert_int_equal(outcome.result, CHECK_PASSED);
	assert_true(outcome.latency_ns > 0);
	/* Its end is a RST. */
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	close(fd);
}

/* LOCAL: the connection is the daemon's own. */
static void a_header_comes_before_what_is_sent(void **state)
{
	static const char wanted[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0PING";
	struct health_conf conf = HEALTH_CONF_DEFAULT;
	char got[sizeof(wanted) - 1];
	struct health_check c;
	struct addr peer;
	int fd;

	(void)state;
	conf.send = bytes("PING");
	conf.expect = bytes("PONG");
	health_check_init(&c, &loop, on_outcome);
	c.header = PROXY_HEADER_V2;
	for (int i = 0; i < 2; i++) { /* each time */
		outcomes = 0;
		assert_int_equal(health_check_start(&c, &at, &conf), 0);
		while ((fd = net_accept(listener, &peer)) < 0)
			assert_int_equal(loop_turn(&loop, 10), 0);
		while (recv(fd, got, sizeof(got), MSG_PEEK) < (ssize_t)sizeof(got))
			assert_int_equal(loop_turn(&loop, 10), 0);
		assert_int_equal(recv(fd, got, sizeof(got), 0), sizeof(got));
		assert_memory_equal(got, wanted, sizeof(got));
		assert_int_equal(send(fd, "PONG", 4, MSG_NOSIGNAL), 4);
		turn_until_outcome();
		assert_int_equal(outcome.result, CHECK_PASSED);
		close(fd);
	}
}

static void who_refuses_has_failed(void **state)
{
	struct health_conf conf = HEALTH_CONF_DEFAULT;
	struct health_check c;

	(void)state;
	close(listener);
	health_check_init(&c, &loop, on_outcome);
	assert_int_equal(health_check_start(&c, &at, &conf), 0);
	turn_until_outcome();
	assert_int_equal(outcome.result, CHECK_REFUSED);
	listener = -1;
}

/* What is expected is found wherever it is, also behind its own beginning and over several reads. */
static void the_answer_is_searched_as_it_comes(void **state)
{
	static const char *const answers[][3] = {
		{ "aab", "", "" }, { "xaa", "ab", "" }, { "a", "a", "aaab" }, { "aaba", "", "" }
	};
	struct health_conf conf = HEALTH_CONF_DEFAULT;

	(void)state;
	conf.send = bytes("PING\r\n");
	conf.expect = bytes("aab");
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct health_check c;
		char asked[16];
		int fd = begin(&c, &conf);

		outcomes = 0;
		for (size_t k = 0; k < 3; k++) {
			const char *part = answers[i][k];

			for (int turns = 0; turns < 3; turns++)
				assert_int_equal(loop_turn(&loop, 1), 0);
			if (*part)
				assert_int_equal(send(fd, part, strlen(part), 0), strlen(part));
		}
		assert_int_equal(recv(fd, asked, sizeof(asked), 0), 6);
		assert_memory_equal(asked, "PING\r\n", 6);
		turn_until_outcome();
		assert_int_equal(outcome.result, CHECK_PASSED);
		close(fd);
	}
}

static void a_wrong_answer_is_told_from_none(void **state)
{
	static const struct {
		const char *answer;
		bool ends;
		enum check_result result;
	} rows[] = {
		{ "aa", true, CHECK_MISMATCH },
		{ "", true, CHECK_CLOSED },
		{ "aa", false, CHECK_MISMATCH }, /* by the timeout */
		{ "", false, CHECK_TIMEOUT },
	};
	struct health_conf conf = HEALTH_CONF_DEFAULT;

	(void)state;
	conf.timeout_ms = 100;
	conf.expect = bytes("aab");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct health_check c;
		int fd = begin(&c, &conf);

		outcomes = 0;
		if (*rows[i].answer)
			assert_true(send(fd, rows[i].answer, strlen(rows[i].answer), 0) > 0);
		if (rows[i].ends)
			assert_int_equal(shutdown(fd, SHUT_WR), 0);
		turn_until_outcome();
		assert_int_equal(outcome.result, rows[i].result);
		close(fd);
	}
}

/* The loop comes back only when the time is over, but the answer was there in time. */
static void a_late_thread_takes_nothing_down(void **state)
{
	struct health_conf conf = HEALTH_CONF_DEFAULT;
	struct health_check c;
	int fd;

	(void)state;
	conf.timeout_ms = 20;
	conf.expect = bytes("+");
	fd = begin(&c, &conf);
	assert_int_equal(send(fd, "+", 1, 0), 1);
	usleep(50000);
	loop.now_ns = clock_ns();
	timer_wheel_run(&loop.timers, loop.now_ns); /* before any event is seen */
	assert_int_equal(outcomes, 1);
	assert_int_equal(outcome.result, CHECK_PASSED);
	close(fd);
}

static void an_abandoned_check_leaves_nothing(void **state)
{
	struct health_conf conf = HEALTH_CONF_DEFAULT;
	struct health_check c;
	int fd;

	(void)state;
	conf.expect = bytes("+");
	fd = begin(&c, &conf);
	health_check_abandon(&c);
	health_check_abandon(&c);
	assert_int_equal(loop_turn(&loop, 1), 0);
	assert_int_equal(outcomes, 0);
	assert_int_equal(timer_wheel_next_ns(&loop.timers), UINT64_MAX);
	close(fd);
}

static int compare(const void *va, const void *vb)
{
	const uint64_t *a = va, *b = vb;

	return (*a > *b) - (*a < *b);
}

/* No gap between neighbours is much longer than if they stood at equal distances. */
static void checks_are_spread_over_the_interval(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 10, 333, 20000 };
	const uint64_t interval = 2 * NSEC_PER_SEC;

	(void)state;
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		size_t n = sizes[s];
		uint64_t *phase = xcalloc(n + 1, sizeof(*phase)), longest = 0;

		for (size_t i = 0; i < n; i++)
			phase[i] = health_phase_ns((uint32_t)i, interval);
		qsort(phase, n, sizeof(*phase), compare);
		phase[n] = phase[0] + interval; /* the next round */
		for (size_t i = 0; i < n; i++)
			longest = MAX(longest, phase[i + 1] - phase[i]);
		assert_true(longest <= interval * 2 / n);
		free(phase);
	}
}

static void intervals_vary_by_their_jitter_and_no_more(void **state)
{
	const uint64_t interval = 2 * NSEC_PER_SEC, half = interval * HEALTH_JITTER_PERCENT / 200;
	uint64_t rng = 7, least = UINT64_MAX, most = 0;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t pause = health_pause_ns(interval, &rng);

		least = MIN(least, pause);
		most = MAX(most, pause);
	}
	assert_in_range(least, interval - half, interval - half / 2);
	assert_in_range(most, interval + half / 2, interval + half);
}

/* An app with one target, where the listener is. */
static struct app *open_app(uint32_t interval_ms)
{
	struct target_conf *target = xcalloc(1, sizeof(*target));
	struct app_conf conf = { .name = xstrdup("app"), .targets = target, .n_targets = 1 };

	*target = (struct target_conf){ .text = xstrdup("t"), .is_literal = true, .addr = at };
	target->at.port = addr_port(&at);
	conf.health = HEALTH_CONF_DEFAULT;
	conf.health.on = true;
	conf.health.interval_ms = interval_ms;
	return app_new(&conf, NULL, NULL, NULL);
}

static void without_open_files_a_check_is_late_not_failed(void **state)
{
	struct fd_budget fds = { .left = 8 };
	const struct health_context context = { .loop = &loop, .fds = &fds };
	struct health *h = health_new(&context);
	struct app *app = open_app(10);
	struct app_list apps = { &app, 1 };
	uint64_t end_ns = clock_ns() + PATIENCE_MS * NSEC_PER_MSEC;

	(void)state;
	atomic_store(&fds.left, 0);
	health_follow(h, &apps);
	assert_int_equal(health_figures(h).addresses, 1);
	while (health_figures(h).postponed < 3 && clock_ns() < end_ns)
		assert_int_equal(loop_turn(&loop, 10), 0);
	assert_int_equal(health_figures(h).results[CHECK_PASSED], 0);
	assert_int_equal(backend_endpoints_up(app->backends[0]), 1);
	atomic_store(&fds.left, 1);
	while (health_figures(h).results[CHECK_PASSED] < 3 && clock_ns() < end_ns)
		assert_int_equal(loop_turn(&loop, 10), 0);
	apps.n = 0;
	health_follow(h, &apps); /* whether one is under way or not */
	assert_int_equal(health_figures(h).addresses, 0);
	assert_int_equal(atomic_load(&fds.left), 1);
	assert_int_equal(atomic_load(&app->refs), 1);
	health_free(h);
	app_put(app);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_connection_is_enough_without_expect),
		TEST(a_header_comes_before_what_is_sent),
		TEST(who_refuses_has_failed),
		TEST(the_answer_is_searched_as_it_comes),
		TEST(a_wrong_answer_is_told_from_none),
		TEST(a_late_thread_takes_nothing_down),
		TEST(an_abandoned_check_leaves_nothing),
		cmocka_unit_test(checks_are_spread_over_the_interval),
		cmocka_unit_test(intervals_vary_by_their_jitter_and_no_more),
		TEST(without_open_files_a_check_is_late_not_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
