/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets from one config to the next. The workers are never started: what they would
 * do is done on the test's thread, and connections stay in the kernel's queues.
 */
#include "config_text.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps.h"
#include "net.h"
#include "ports.h"

#define WORKERS 2
#define FDS 1000

static struct workers workers;
static struct fd_budget fds;
static struct admission admission;
static struct ports ports;
static struct app_list apps;
static char complaints[1024];
static size_t committed;

static void complain(void *arg, const char *text)
{
	(void)arg;
	strncat(complaints, text, sizeof(complaints) - strlen(complaints) - 1);
}

static void on_committed(void *arg)
{
	(void)arg;
	committed++;
}

static int setup(void **state)
{
	struct worker_conf conf = { .max_buffers = 1, .fds = &fds, .admission = &admission };

	(void)state;
	atomic_store(&fds.left, FDS);
	admission_init(&admission, 0);
	assert_int_equal(workers_init(&workers, WORKERS, &conf), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	workers_close(&workers);
	admission_destroy(&admission);
	assert_int_equal(atomic_load(&fds.left), FDS); /* each socket is closed, and once */
	ports_free(&ports);
	app_list_free(&apps);
	return 0;
}

/* A port of 127.0.0.1 that nobody has; with *fd, the test has it. */
static unsigned int some_port(int *fd)
{
	struct addr a;
	socklen_t len = sizeof(a);
	int s;

	assert_int_equal(addr_parse_host("127.0.0.1", &a), 0);
	s = net_bind(&a, 0, false);
	assert_true(s >= 0);
	assert_int_equal(net_listen(s, NET_BACKLOG), 0);
	assert_return_code(getsockname(s, &a.sa, &len), errno);
	if (fd)
		*fd = s;
	else
		close(s);
	return addr_port(&a);
}

/* To the ports of this config. 0 or -errno. */
static int go_to(const char *text)
{
	const struct ports_context context = { &workers, &fds, complain, NULL };
	struct config *c = parsed(text);
	struct app_list next = apps_make(c, NULL, NULL);
	struct ports_plan *plan;
	int rc = ports_plan(&ports, &next, &context, &plan);

	config_free(c);
	if (rc) {
		app_list_free(&next);
		return rc;
	}
	ports_commit(&ports, plan, on_committed, NULL);
	app_list_free(&apps);
	apps = next;
	return 0;
}

static char *one_app(const char *name, const char *listen, unsigned int port)
{
	static char text[256];

	snprintf(text, sizeof(text),
		 "{'Apps':[{'Name':'%s','Listen':['%s'],'Ports':[%u],'Targets':['h:1']}]}", name,
		 listen, port);
	return text;
}

static ino_t socket_of(size_t port, size_t worker)
{
	struct stat st;

	assert_return_code(fstat(ports.list[port].listeners[worker]->fd, &st), errno);
	return st.st_ino;
}

static void a_port_that_changes_its_app_keeps_its_sockets_and_their_queues(void **state)
{
	unsigned int port = some_port(NULL);
	struct listener *l;
	struct addr peer;
	ino_t inode[WORKERS];
	size_t queued = 0;
	int client;

	(void)state;
	assert_int_equal(go_to(one_app("a", "127.0.0.1", port)), 0);
	for (size_t i = 0; i < WORKERS; i++)
		inode[i] = socket_of(0, i);
	client = net_connect(&ports.list[0].at);
	assert_true(client >= 0);
	assert_int_equal(poll(&(struct pollfd){ client, POLLOUT, 0 }, 1, 10000), 1);
	committed = 0;
	assert_int_equal(go_to(one_app("b", "127.0.0.1", port)), 0);
	assert_int_equal(committed, 1);
	assert_int_equal(ports.n, 1);
	for (size_t i = 0; i < WORKERS; i++) {
		l = ports.list[0].listeners[i];
		assert_int_equal(socket_of(0, i), inode[i]);
		assert_ptr_equal(l->app, apps.list[0]);
		assert_string_equal(l->app->conf->name, "b");
		for (int fd; (fd = net_accept(l->fd, &peer)) >= 0; queued++)
			close(fd);
	}
	assert_int_equal(queued, 1);
	close(client);
}

static void what_can_not_be_opened_is_told_and_nothing_changes(void **state)
{
	unsigned int port = some_port(NULL), free_port, taken[2];
	int others[2], kept;
	char text[512], want[64];
	int64_t left;

	(void)state;
	assert_int_equal(go_to(one_app("a", "127.0.0.1", port)), 0);
	left = atomic_load(&fds.left);
	assert_int_equal(left, FDS - WORKERS);
	free_port = some_port(&kept); /* until the others are chosen */
	for (int i = 0; i < 2; i++)
		taken[i] = some_port(&others[i]);
	close(kept);
	*complaints = '\0';
	snprintf(
		text, sizeof(text),
		"{'Apps':[{'Name':'b','Listen':['127.0.0.1'],'Ports':[%u,%u,%u],'Targets':['h:1']}]}",
		free_port, taken[0], taken[1]);
	assert_int_equal(go_to(text), -EADDRINUSE);
	for (int i = 0; i < 2; i++) {
		snprintf(want, sizeof(want), "can't listen on 127.0.0.1:%u: Address already in use",
			 taken[i]);
		assert_non_null(strstr(complaints, want));
		close(others[i]);
	}
	assert_int_equal(atomic_load(&fds.left), left);
	assert_int_equal(ports.n, 1);
	assert_string_equal(ports.list[0].listeners[0]->app->conf->name, "a");
	assert_int_equal(go_to(text), 0); /* now that they are free */
	assert_int_equal(ports.n, 3);
}

static void too_few_open_files_for_more_ports_are_told(void **state)
{
	unsigned int port = some_port(NULL);

	(void)state;
	atomic_store(&fds.left, WORKERS - 1);
	*complaints = '\0';
	assert_int_equal(go_to(one_app("a", "127.0.0.1", port)), -EMFILE);
	assert_non_null(strstr(complaints, "raise the limit of open files"));
	assert_int_equal(atomic_load(&fds.left), WORKERS - 1);
	atomic_store(&fds.left, FDS);
}

/* Our own socket on the wildcard would be in the way of any other program's. */
static void an_address_and_the_wildcard_may_follow_each_other(void **state)
{
	unsigned int port = some_port(NULL);

	(void)state;
	assert_int_equal(go_to(one_app("a", "127.0.0.1", port)), 0);
	assert_int_equal(go_to(one_app("a", "0.0.0.0", port)), 0);
	assert_int_equal(go_to(one_app("a", "127.0.0.1", port)), 0);
	assert_int_equal(ports.n, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_port_that_changes_its_app_keeps_its_sockets_and_their_queues),
		TEST(what_can_not_be_opened_is_told_and_nothing_changes),
		TEST(too_few_open_files_for_more_ports_are_told),
		TEST(an_address_and_the_wildcard_may_follow_each_other),
	};

	(void)!net_unshare(); /* nobody else takes a port, or makes a device, there */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
