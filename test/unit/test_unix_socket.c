/* SPDX-License-Identifier: MIT */
/* A unix socket's place: whose it is, who may use it, and what is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unix_socket.h"

static char folder[64], path[96], why[256];
static struct unix_socket mine;

static int setup(void **state)
{
	(void)state;
	umask(0); /* the modes must not depend on it */
	strcpy(folder, "/tmp/shunt-test-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/run/admin.sock", folder);
	why[0] = '\0';
	mine = (struct unix_socket){ .fd = -1 };
	return 0;
}

static int teardown(void **state)
{
	char run[80];

	(void)state;
	unix_socket_close(&mine);
	unlink(path);
	snprintf(run, sizeof(run), "%s/run", folder);
	rmdir(run);
	return rmdir(folder);
}

static int open_socket(struct unix_socket *s)
{
	return unix_socket_open(s, path, 0600, 4, why, sizeof(why));
}

static struct stat stat_of(const char *name)
{
	struct stat st;

	assert_return_code(stat(name, &st), errno);
	return st;
}

static void it_is_its_owners_alone_in_a_folder_that_is_made(void **state)
{
	char run[80];

	(void)state;
	snprintf(run, sizeof(run), "%s/run", folder);
	assert_int_equal(open_socket(&mine), 0);
	assert_int_equal(stat_of(path).st_mode, S_IFSOCK | 0600);
	assert_int_equal(stat_of(run).st_mode, S_IFDIR | 0755);
	unix_socket_close(&mine);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(run, F_OK), 0);
}

static void one_that_somebody_answers_at_is_left_alone(void **state)
{
	struct unix_socket second;
	ino_t before;

	(void)state;
	assert_int_equal(open_socket(&mine), 0);
	before = stat_of(path).st_ino;
	assert_int_equal(open_socket(&second), -EADDRINUSE);
	assert_int_equal(second.fd, -1);
	assert_non_null(strstr(why, "another daemon answers there"));
	assert_int_equal(stat_of(path).st_ino, before);
}

/* Its queue is full, so connecting fails; it lives all the same. */
static void one_that_is_too_busy_to_answer_is_left_alone(void **state)
{
	struct unix_socket second;
	int fds[64];
	size_t n = 0;

	(void)state;
	assert_int_equal(open_socket(&mine), 0);
	for (; n < ARRAY_SIZE(fds); n++) {
		fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(fds[n], (struct sockaddr *)&mine.at, sizeof(mine.at)))
			break;
	}
	assert_true(n < ARRAY_SIZE(fds));
	assert_int_equal(open_socket(&second), -EADDRINUSE);
	for (size_t i = 0; i <= n; i++)
		close(fds[i]);
}

static void one_that_a_dead_daemon_left_is_replaced(void **state)
{
	(void)state;
	assert_int_equal(open_socket(&mine), 0);
	close(mine.fd);
	assert_int_equal(open_socket(&mine), 0);
	assert_int_equal(stat_of(path).st_mode, S_IFSOCK | 0600);
}

static void a_file_is_not_taken_for_a_socket(void **state)
{
	char run[80];
	FILE *file;

	(void)state;
	snprintf(run, sizeof(run), "%s/run", folder);
	assert_return_code(mkdir(run, 0755), errno);
	file = fopen(path, "we");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(open_socket(&mine), -EEXIST);
	assert_non_null(strstr(why, "no socket"));
	assert_true(S_ISREG(stat_of(path).st_mode));
}

/* Somebody else's socket is at the path by now: closing ours must not take it away. */
static void what_is_not_ours_is_not_removed(void **state)
{
	struct unix_socket other;

	(void)state;
	assert_int_equal(open_socket(&mine), 0);
	unlink(path);
	assert_int_equal(open_socket(&other), 0);
	unix_socket_close(&mine);
	assert_int_equal(access(path, F_OK), 0);
	unix_socket_close(&other);
	assert_int_equal(access(path, F_OK), -1);
}

static void what_can_not_be_is_told(void **state)
{
	char longest[200];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(unix_socket_open(&mine, longest, 0600, 4, why, sizeof(why)),
			 -ENAMETOOLONG);
	assert_string_equal(why, "its path has 199 bytes, must have at most 107");
	assert_int_equal(unix_socket_open(&mine, "/proc/none/s", 0600, 4, why, sizeof(why)),
			 -ENOENT);
	assert_string_equal(why, "its folder /proc/none can't be made: No such file or directory");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(it_is_its_owners_alone_in_a_folder_that_is_made),
		TEST(one_that_somebody_answers_at_is_left_alone),
		TEST(one_that_is_too_busy_to_answer_is_left_alone),
		TEST(one_that_a_dead_daemon_left_is_replaced),
		TEST(a_file_is_not_taken_for_a_socket),
		TEST(what_is_not_ours_is_not_removed),
		TEST(what_can_not_be_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
