/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pool.h"

static void buffers_are_bounded_and_come_back_warm(void **state)
{
	struct buffer *b[3];
	struct buffer_pool p;

	(void)state;
	buffer_pool_init(&p, 2);
	b[0] = buffer_get(&p);
	b[1] = buffer_get(&p);
	assert_non_null(b[0]);
	assert_non_null(b[1]);
	assert_null(buffer_get(&p));
	buffer_put(&p, b[0]);
	b[2] = buffer_get(&p);
	assert_ptr_equal(b[2], b[0]);
	assert_int_equal(b[2]->len, 0);
	memset(b[2]->data, 0xff, BUFFER_BYTES);
	buffer_put(&p, b[1]);
	buffer_put(&p, b[2]);
	buffer_put(&p, NULL);
	assert_int_equal(p.n_out, 0);
	buffer_pool_close(&p);
}

static void only_some_idle_buffers_are_kept(void **state)
{
	enum { MANY = BUFFERS_IDLE_MAX + 20 };
	struct buffer *b[MANY];
	struct buffer_pool p;

	(void)state;
	buffer_pool_init(&p, MANY);
	for (int i = 0; i < MANY; i++)
		assert_non_null(b[i] = buffer_get(&p));
	for (int i = 0; i < MANY; i++)
		buffer_put(&p, b[i]);
	assert_int_equal(p.n_idle, BUFFERS_IDLE_MAX);
	buffer_pool_close(&p);
}

static void pipes_are_bounded_and_come_back_warm(void **state)
{
	struct pipe *a, *b;
	struct pipe_pool p;

	(void)state;
	pipe_pool_init(&p, 1);
	a = pipe_get(&p);
	assert_non_null(a);
	assert_true(a->capacity >= PIPE_SLOT_BYTES);
	assert_null(pipe_get(&p));
	pipe_put(&p, a);
	b = pipe_get(&p);
	assert_ptr_equal(a, b);
	pipe_put(&p, b);
	pipe_pool_close(&p);
}

/* Bytes left in a pipe belong to a flow that has ended: the next one must not get them. */
static void a_pipe_with_bytes_is_not_used_again(void **state)
{
	struct pipe *a;
	struct pipe_pool p;
	int fd;
	char c;

	(void)state;
	pipe_pool_init(&p, 1);
	a = pipe_get(&p);
	assert_int_equal(write(a->write_fd, "x", 1), 1);
	a->len = 1;
	fd = a->read_fd;
	pipe_put(&p, a);
	assert_int_equal(p.n_idle, 0);
	assert_int_equal(read(fd, &c, 1), -1);
	a = pipe_get(&p);
	assert_int_equal(a->len, 0);
	assert_int_equal(read(a->read_fd, &c, 1), -1);
	pipe_put(&p, a);
	pipe_pool_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_are_bounded_and_come_back_warm),
		cmocka_unit_test(only_some_idle_buffers_are_kept),
		cmocka_unit_test(pipes_are_bounded_and_come_back_warm),
		cmocka_unit_test(a_pipe_with_bytes_is_not_used_again),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
