// SPDX-License-Identifier: MIT
/*
 * The load generator against its own servers, over loopback: what one side sends, the other counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <unistd.h>

#include "load.h"
#include "net.h"

#define CONNECTIONS 5
#define MESSAGE_BYTES 30000
#define WARMUP_MS 20
#define MEASURE_MS 100
#define SETTLE_MAX_MS 2000

static atomic_uint_fast64_t received;
static struct load_result result;

struct window {
	int begins, ends;
	uint64_t begin_ns, end_ns;
};

static void on_window(void *arg, bool begins)
{
	struct window *w = arg;

	assert_int_equal(w->ends, 0);
	w->begins += begins;
	w->ends += !begins;
	*(begins ? &w->begin_ns : &w->end_ns) = clock_ns();
}

/* A port of 127.0.0.1 that nobody listens on. */
static struct addr free_address(void)
{
	struct addr a = { .in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);
	int fd = net_bind(&a, 0, false);

	assert_true(fd >= 0);
	assert_int_equal(getsockname(fd, &a.sa, &len), 0);
	close(fd);
	return a;
}

static struct addr serve(bool echo)
{
	struct load_server_conf conf = { free_address(), 2, echo, &received };

	atomic_store(&received, 0);
	assert_int_equal(load_serve(&conf), 0);
	return conf.at;
}

static void run(enum load_kind kind, struct addr at)
{
	struct window w = { 0 };
	struct load_conf conf = {
		.kind = kind,
		.at = at,
		.connections = CONNECTIONS,
		.threads = 2,
		.size = MESSAGE_BYTES,
		.warmup_ms = WARMUP_MS,
		.measure_ms = MEASURE_MS,
		.on_window = on_window,
		.arg = &w,
	};

	assert_int_equal(load_run(&conf, &result), 0);
	assert_int_equal(w.begins, 1);
	assert_int_equal(w.ends, 1);
	assert_true(w.end_ns > w.begin_ns);
}

static void check_messages(void)
{
	uint64_t bytes = atomic_load(&received);

	assert_int_equal(result.errors, 0);
	assert_true(result.latency.total > 0);
	assert_true(result.all_messages >= result.latency.total);
	/* Each connection may have had a message under way at the end. */
	assert_true(bytes >= result.all_messages * MESSAGE_BYTES);
	assert_true(bytes <= (result.all_messages + CONNECTIONS) * MESSAGE_BYTES);
}

static void test_requests_come_back_whole(void **state)
{
	(void)state;
	run(LOAD_REQUESTS, serve(true));
	check_messages();
}

static void test_churn_connects_for_each_message(void **state)
{
	(void)state;
	run(LOAD_CHURN, serve(true));
	check_messages();
}

static void test_bulk_arrives_at_the_sink(void **state)
{
	uint64_t before = 0;

	(void)state;
	run(LOAD_BULK, serve(false));
	assert_int_equal(result.errors, 0);
	assert_int_equal(result.latency.total, 0);
	/* What was sent last may still be on its way. */
	for (int ms = 0; ms < SETTLE_MAX_MS; ms += 20) {
		before = atomic_load(&received);
		usleep(20000);
		if (before && before == atomic_load(&received))
			break;
	}
	assert_true(before > MESSAGE_BYTES);
}

static void test_a_server_that_is_not_there_counts_as_errors(void **state)
{
	(void)state;
	run(LOAD_REQUESTS, free_address());
	assert_true(result.errors >= CONNECTIONS);
	assert_int_equal(result.all_messages, 0);
}

static void test_a_port_that_is_taken_is_told(void **state)
{
	struct load_server_conf conf = { serve(true), 1, true, NULL };

	(void)state;
	assert_int_equal(load_serve(&conf), -EADDRINUSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_come_back_whole),
		cmocka_unit_test(test_churn_connects_for_each_message),
		cmocka_unit_test(test_bulk_arrives_at_the_sink),
		cmocka_unit_test(test_a_server_that_is_not_there_counts_as_errors),
		cmocka_unit_test(test_a_port_that_is_taken_is_told),
	};

	(void)!net_unshare(); /* nobody else takes a port, or makes a device, there */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
