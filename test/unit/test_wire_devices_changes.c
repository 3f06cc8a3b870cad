/* SPDX-License-Identifier: MIT */
/* The wire's devices when links, addresses and routes change, and when one daemon follows another. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "wire_devices_bench.h"

#define QUIET_MS 500

/* --- changes --------------------------------------------------------------------------------- */

static void changes_are_followed_and_come_as_one(void **state)
{
	const bool *no_tcx = *state;
	struct wire_devices *d;

	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){
		.loop = &loop, .no_tcx = *no_tcx, .pin_folder = folder });
	add_listen(d, "0.0.0.0");
	add_target(d, "10.5.0.1");
	wire_devices_update(d);
	assert_at(d, *no_tcx, "eth0 eth1");

	ip("address add 10.0.2.1/24 dev eth2"); /* some ten events, with those of its routes */
	ip("link add eth3 type veth peer name far3");
	ip("link set eth3 up");
	follow();
	assert_at(d, *no_tcx, "eth0 eth1 eth2");
	ip("route add 10.5.0.0/16 dev eth3");
	follow();
	assert_at(d, *no_tcx, "eth0 eth1 eth2 eth3");

	/* What has it keeps it: packets of joined flows may still come in there. */
	ip("address delete 10.0.2.1/24 dev eth2");
	follow();
	assert_at(d, *no_tcx, "eth0 eth1 eth2 eth3");
	ip("link delete eth3");
	follow();
	assert_at(d, *no_tcx, "eth0 eth1 eth2");
	assert_int_equal(count_pins(), *no_tcx ? 0 : 3);
	ip("link add eth3 type veth peer name far3");
	ip("link set eth3 up");
	ip("route add 10.5.0.0/16 dev eth3");
	follow();
	assert_at(d, *no_tcx, "eth0 eth1 eth2 eth3");
	wire_devices_close(d, false);
	assert_nothing_left();
}

/* NOLINTNEXTLINE(cert-env33-c) */
static bool all_are_up(void)
{
	return !system("test $(ip -o link show | grep -c 'state UP') = 6");
}

/* The kernel tells of links that have come up with a delay: waits until that is over. A timer that
 * is armed is a change that waits for its look. */
static void wait_until_quiet(void)
{
	bool are_up = false;

	UNTIL(are_up)
		are_up = all_are_up();
	assert_true(are_up);
	for (int before = -1;
	     before != n_changed || timer_wheel_next_ns(&loop.timers) != UINT64_MAX;) {
		before = n_changed;
		for (int i = 0; i < QUIET_MS / 10; i++)
			assert_int_equal(loop_turn(&loop, 10), 0);
	}
}

/* A change may move a client's flow, wherever it is; but it is no reason to look at all targets. */
static void a_route_to_no_target_is_told_and_not_looked_at(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){ .loop = &loop });
	add_target(d, "10.5.0.1");
	wire_devices_update(d);
	wait_until_quiet();
	add_target(d, "10.0.0.9"); /* would be seen by a look */
	ip("route add 10.6.0.0/16 via 10.0.1.2");
	follow();
	assert_at(d, false, "");
	ip("route add 10.5.0.0/24 via 10.0.1.2");
	follow();
	assert_at(d, false, "eth0 eth1");
	wire_devices_close(d, false);
}

static void a_change_that_was_lost_is_found(void **state)
{
	struct wire_devices *d;
	FILE *batch;

	(void)state;
	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){ .loop = &loop });
	add_target(d, "10.5.0.1");
	wire_devices_update(d);
	/* More than the socket holds, and what matters comes last. */
	batch = popen("ip -batch -", "w");
	assert_non_null(batch);
	for (int i = 0; i < 20000; i++)
		fprintf(batch, "route add 10.200.%d.%d/32 dev eth0\n", i / 250, i % 250);
	fprintf(batch, "route add 10.5.0.0/16 dev eth2\n");
	assert_int_equal(pclose(batch), 0);
	follow();
	assert_at(d, false, "eth2");
	wire_devices_close(d, false);
}

static void a_renamed_device_is_pinned_under_its_name(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){ .loop = &loop, .pin_folder = folder });
	add_listen(d, "0.0.0.0");
	wire_devices_update(d);
	/* Swapped: each takes the name that the other had. */
	ip("link set eth0 down");
	ip("link set eth1 down");
	ip("link set eth0 name swap");
	ip("link set eth1 name eth0");
	ip("link set swap name eth1");
	follow();
	assert_at(d, false, "eth0 eth1");
	assert_int_equal(count_pins(), 2);
	assert_true(is_pinned("eth0", "link_eth0"));
	assert_true(is_pinned("eth1", "link_eth1"));
	wire_devices_close(d, false);
	assert_nothing_left();
}

static void a_filter_that_somebody_has_removed_comes_back(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){ .no_tcx = true });
	add_target(d, "10.0.0.9");
	wire_devices_update(d);
	assert_int_equal(system("tc qdisc delete dev eth0 clsact"), 0);
	assert_false(has_filter("eth0"));
	wire_devices_update(d);
	assert_at(d, true, "eth0");
	wire_devices_close(d, false);
	assert_nothing_left();
}

static void what_is_forgotten_is_not_looked_for(void **state)
{
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){ 0 });
	add_listen(d, "10.0.0.1");
	add_target(d, "10.0.0.9");
	wire_devices_forget(d);
	add_target(d, "10.0.1.9");
	wire_devices_update(d);
	assert_at(d, false, "eth1");
	wire_devices_close(d, false);
}

/* Workers ask while the main thread looks. */
struct asking {
	struct wire_devices *d;
	uint32_t ifindex;
	atomic_bool stop;
	unsigned long asked, denied;
};

static void *ask(void *arg)
{
	struct asking *a = arg;

	for (; !a->stop; a->asked++)
		a->denied += !wire_devices_has(a->d, a->ifindex);
	return NULL;
}

static void what_is_attached_may_be_asked_by_any_thread(void **state)
{
	struct asking a = { .ifindex = 0 };
	pthread_t thread;

	(void)state;
	SKIP_IF_REASON();
	a.ifindex = if_nametoindex("eth0");
	a.d = open_with((struct wire_devices_conf){ 0 });
	add_target(a.d, "10.0.0.9");
	wire_devices_update(a.d);
	assert_int_equal(pthread_create(&thread, NULL, ask, &a), 0);
	for (int i = 0; i < 2000; i++)
		wire_devices_update(a.d);
	a.stop = true;
	pthread_join(thread, NULL);
	assert_true(a.asked > 0);
	assert_int_equal(a.denied, 0);
	wire_devices_close(a.d, false);
}

/* --- from one process to the next ------------------------------------------------------------ */

/* A child that attaches to the devices of these targets, and is killed. */
static void attach_and_be_killed(bool no_tcx, const char *const targets[], size_t n)
{
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_return_code(pipe(ready), errno);
	pid = fork();
	assert_return_code(pid, errno);
	if (!pid) {
		struct wire_devices *d;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		program_fd = load_program();
		d = open_with((struct wire_devices_conf){ .no_tcx = no_tcx, .pin_folder = folder });
		for (size_t i = 0; i < n; i++)
			add_target(d, targets[i]);
		wire_devices_update(d);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

/* The link stays the same one, so there is no moment without a program; also where no target is
 * now. */
static void the_next_takes_over_what_a_killed_one_had(void **state)
{
	static const char *const targets[] = { "10.0.0.9", "10.0.1.9" };
	const bool *no_tcx = *state;
	uint32_t ids[PROGRAMS_MAX], link_id = 0;
	struct wire_devices *d;

	SKIP_IF_REASON();
	attach_and_be_killed(*no_tcx, targets, ARRAY_SIZE(targets));
	if (*no_tcx) {
		assert_true(has_filter("eth0"));
		assert_true(has_filter("eth1"));
	} else {
		assert_int_equal(programs_at("eth0", ids), 1);
		assert_int_not_equal(ids[0], program_id(program_fd));
		link_id = pinned_link("link_eth0").id;
		assert_int_equal(count_pins(), 2);
	}
	d = open_with((struct wire_devices_conf){ .no_tcx = *no_tcx, .pin_folder = folder });
	add_target(d, "10.0.0.9");
	for (int i = 0; i < 2; i++) { /* before the update as after it */
		assert_at(d, *no_tcx, "eth0 eth1");
		if (!*no_tcx)
			assert_int_equal(pinned_link("link_eth0").id, link_id);
		wire_devices_update(d);
	}
	wire_devices_close(d, false);
	assert_nothing_left();
}

static void what_is_left_stays_and_is_cleared(void **state)
{
	const bool *no_tcx = *state;
	struct wire_devices *d;
	int still_open = -1;

	SKIP_IF_REASON();
	d = open_with((struct wire_devices_conf){ .no_tcx = *no_tcx, .pin_folder = folder });
	add_listen(d, "0.0.0.0");
	wire_devices_update(d);
	wire_devices_close(d, true);
	assert_at(NULL, *no_tcx, "eth0 eth1");
	/* Also what a process still has open that forgot to end. */
	if (!*no_tcx)
		still_open = open_pin("link_eth0");
	assert_int_equal(wire_hooks_clear(folder), 2);
	assert_nothing_left();
	assert_int_equal(wire_hooks_clear(folder), 0);
	close(still_open);
}

/* While nobody ran, one device went and another got its name, and a third was renamed. */
static void pins_that_do_not_fit_any_more_are_set_right(void **state)
{
	static const char *const targets[] = { "10.0.0.9", "10.0.1.9" };
	struct wire_devices *d;

	(void)state;
	SKIP_IF_REASON();
	attach_and_be_killed(false, targets, ARRAY_SIZE(targets));
	ip("link delete eth0");
	ip("link set eth2 down");
	ip("link set eth2 name eth0");
	ip("link set eth0 up");
	ip("address add 10.0.0.1/24 dev eth0");
	ip("link set eth1 down");
	ip("link set eth1 name wan");
	ip("link set wan up");
	d = open_with((struct wire_devices_conf){ .pin_folder = folder });
	assert_at(d, false, "wan");
	assert_true(is_pinned("wan", "link_wan"));
	add_target(d, "10.0.0.9");
	wire_devices_update(d);
	assert_at(d, false, "wan eth0");
	assert_int_equal(count_pins(), 2);
	assert_true(is_pinned("wan", "link_wan"));
	assert_true(is_pinned("eth0", "link_eth0"));
	wire_devices_close(d, false);
	assert_nothing_left();
}

/* Its device has a number that means another one here. */
static void a_link_of_another_namespace_is_left_alone(void **state)
{
	static const char *const targets[] = { "10.0.0.9" };
	uint32_t ids[PROGRAMS_MAX], theirs;
	struct wire_devices *d;
	int there;

	(void)state;
	SKIP_IF_REASON();
	attach_and_be_killed(false, targets, 1);
	assert_int_equal(programs_at("eth0", ids), 1);
	theirs = ids[0];
	there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_return_code(there, errno);

	loop_close(&loop);
	assert_int_equal(setup(NULL), 0); /* another one, with the same devices */
	d = open_with((struct wire_devices_conf){ .pin_folder = folder });
	add_target(d, "10.0.0.9");
	wire_devices_update(d);
	assert_at(d, false, "eth0");
	wire_devices_close(d, false);
	assert_int_equal(count_pins(), 1);

	assert_return_code(setns(there, CLONE_NEWNET), errno);
	close(there);
	assert_int_equal(programs_at("eth0", ids), 1);
	assert_int_equal(ids[0], theirs);
	assert_int_equal(wire_hooks_clear(folder), 1);
	assert_nothing_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_HOOK(changes_are_followed_and_come_as_one, with_tcx),
		WITH_HOOK(changes_are_followed_and_come_as_one, without_tcx),
		TEST(a_route_to_no_target_is_told_and_not_looked_at),
		TEST(a_change_that_was_lost_is_found),
		TEST(a_renamed_device_is_pinned_under_its_name),
		TEST(a_filter_that_somebody_has_removed_comes_back),
		TEST(what_is_forgotten_is_not_looked_for),
		TEST(what_is_attached_may_be_asked_by_any_thread),
		WITH_HOOK(the_next_takes_over_what_a_killed_one_had, with_tcx),
		WITH_HOOK(the_next_takes_over_what_a_killed_one_had, without_tcx),
		WITH_HOOK(what_is_left_stays_and_is_cleared, with_tcx),
		WITH_HOOK(what_is_left_stays_and_is_cleared, without_tcx),
		TEST(pins_that_do_not_fit_any_more_are_set_right),
		TEST(a_link_of_another_namespace_is_left_alone),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
