/* SPDX-License-Identifier: MIT */
/* The loop's promises about order: what is removed gets no event, what is deferred lives to the
 * turn's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop.h"

static struct loop loop;
static struct watch a, b;
static struct work one, two;
static char order[64];

static void note(const char *what)
{
	strncat(order, what, sizeof(order) - strlen(order) - 1);
}

static int ready_fd(void)
{
	return eventfd(1, EFD_NONBLOCK);
}

static int setup(void **state)
{
	(void)state;
	order[0] = '\0';
	a = b = (struct watch){ .fd = -1 };
	return loop_init(&loop);
}

static int teardown(void **state)
{
	(void)state;
	loop_close(&loop);
	return 0;
}

static void run_a_few_turns(void)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_turn(&loop, 0), 0);
}

static void remove_the_other(struct watch *w, uint32_t events)
{
	struct watch *other = w == &a ? &b : &a;

	assert_true(events & EPOLLIN);
	note("r");
	if (other->fd >= 0)
		loop_remove(&loop, other);
}

static void a_removed_watch_gets_no_event_of_this_turn(void **state)
{
	int fd_a = ready_fd(), fd_b = ready_fd();

	(void)state;
	a.ready = b.ready = remove_the_other;
	assert_int_equal(loop_add(&loop, &a, fd_a, EPOLLIN | EPOLLET), 0);
	assert_int_equal(loop_add(&loop, &b, fd_b, EPOLLIN | EPOLLET), 0);
	run_a_few_turns();
	assert_string_equal(order, "r");
	close(fd_a);
	close(fd_b);
}

static void run_two(struct work *w)
{
	(void)w;
	note("2");
}

static void run_one(struct work *w)
{
	(void)w;
	note("1");
	loop_defer(&loop, &two);
}

static void on_ready_defers(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	loop_again(&loop, &one);
	loop_again(&loop, &one);
	loop_defer(&loop, &two);
	note("e");
}

static void deferred_work_ends_its_turn_and_again_waits_for_the_next(void **state)
{
	int fd = ready_fd();

	(void)state;
	work_init(&one, run_one);
	work_init(&two, run_two);
	a.ready = on_ready_defers;
	assert_int_equal(loop_add(&loop, &a, fd, EPOLLIN | EPOLLET), 0);
	run_a_few_turns();
	assert_string_equal(order, "e212");
	close(fd);
}

static void cancel_one(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	work_cancel(&one);
}

static void cancelled_work_does_not_run(void **state)
{
	int fd = ready_fd();

	(void)state;
	work_init(&one, run_one);
	work_init(&two, run_two);
	loop_again(&loop, &one);
	a.ready = cancel_one;
	assert_int_equal(loop_add(&loop, &a, fd, EPOLLIN | EPOLLET), 0);
	run_a_few_turns();
	assert_string_equal(order, "");
	close(fd);
}

static void a_closed_fd_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(loop_add(&loop, &a, 9999, EPOLLIN), -EBADF);
	assert_int_equal(a.fd, -1);
	loop_remove(&loop, &a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_removed_watch_gets_no_event_of_this_turn, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			deferred_work_ends_its_turn_and_again_waits_for_the_next, setup, teardown),
		cmocka_unit_test_setup_teardown(cancelled_work_does_not_run, setup, teardown),
		cmocka_unit_test_setup_teardown(a_closed_fd_is_an_error, setup, teardown),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
