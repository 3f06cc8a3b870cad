/* SPDX-License-Identifier: MIT */
/*
 * The list of kernels known to be wrong: whose version counts, and where the ranges begin and end.
 * The probe of the wire: what it finds here, and that it leaves nothing behind, also when it fails.
 */
#include <dirent.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"
#include "net.h"
#include "probe.h"
#include "probe_check.h"

#define NOBODY 65534

static void assert_bad(const char *release, const char *version, const char *signature)
{
	assert_non_null(probe_known_bad(release, version, signature));
}

static void assert_good(const char *release, const char *version, const char *signature)
{
	assert_null(probe_known_bad(release, version, signature));
}

static void ranges_end_with_the_fix(void **state)
{
	(void)state;
	assert_bad("5.12.19", "#1 SMP", "");
	assert_good("5.14.0", "#1 SMP", "");
	assert_bad("5.15.185", "#1 SMP", "");
	assert_good("5.15.186", "#1 SMP", "");
	assert_bad("6.1.141", "#1 SMP", "");
	assert_good("6.1.142", "#1 SMP", "");
	assert_bad("6.5.13", "#1 SMP", "");
	assert_bad("6.6.93", "#1 SMP", "");
	assert_good("6.6.94", "#1 SMP", "");
	assert_bad("6.12.33", "#1 SMP", "");
	assert_good("6.12.34", "#1 SMP", "");
	assert_bad("6.15.2", "#1 SMP", "");
	assert_good("6.15.3", "#1 SMP", "");
	assert_good("6.16", "#1 SMP", "");
}

static void distributions_say_elsewhere_what_they_have(void **state)
{
	(void)state;
	assert_good("6.1.0-38-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.147-1 (2025-08-02)", "");
	assert_bad("6.1.0-37-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.140-1 (2025-05-22)", "");
	assert_bad("5.15.0-25-generic", "#25-Ubuntu SMP", "Ubuntu 5.15.0-25.25-generic 5.15.30\n");
	assert_good("5.15.0-151-generic", "#161-Ubuntu SMP",
		    "Ubuntu 5.15.0-151.161-generic 5.15.186\n");
}

static void what_is_no_version_is_not_on_the_list(void **state)
{
	(void)state;
	assert_good("", "", "");
	assert_good("next", "#1 SMP", "garbage");
}

/* What a process has, and a probe must not change. */
struct possessions {
	char netns[64];
	size_t fds;
	char devices[512];
};

static void look(struct possessions *p)
{
	DIR *dir = opendir("/proc/self/fd");
	struct if_nameindex *devices = if_nameindex();

	memset(p, 0, sizeof(*p));
	assert_non_null(dir);
	while (readdir(dir))
		p->fds++;
	closedir(dir);
	assert_true(readlink("/proc/self/ns/net", p->netns, sizeof(p->netns) - 1) > 0);
	assert_non_null(devices);
	for (struct if_nameindex *d = devices; d->if_index; d++)
		strncat(p->devices, d->if_name, sizeof(p->devices) - strlen(p->devices) - 1);
	if_freenameindex(devices);
}

static void assert_same(const struct possessions *before)
{
	struct possessions now;

	look(&now);
	assert_string_equal(now.netns, before->netns);
	assert_string_equal(now.devices, before->devices);
	assert_int_equal(now.fds, before->fds);
}

/* A host may lack what it takes; what is there and does wrong is no reason to skip. */
static bool may_fail(const struct probe_result *r)
{
	return !strcmp(r->name, "wire_net") || !strcmp(r->name, "wire_load");
}

static void the_wire_is_tried_and_nothing_is_left(void **state)
{
	struct probe_report report = { 0 };
	struct possessions before;
	char why[256] = "";

	(void)state;
	look(&before);
	if (probe_wire(&report, why, sizeof(why))) {
		assert_string_not_equal(why, "");
		assert_same(&before);
		for (size_t i = 0; i < report.n; i++)
			if (report.list[i].status == PROBE_FAILS && !may_fail(&report.list[i]))
				fail_msg("%s", why);
		print_message("skipped: %s\n", why);
		skip();
	}
	assert_true(report.n > 0);
	for (size_t i = 0; i < report.n; i++)
		assert_string_not_equal(report.list[i].outcome, "");
	assert_same(&before);
}

/* A limit for each of the steps: it ends in the midst of one of them. */
static void a_probe_that_fails_leaves_nothing_either(void **state)
{
	static const rlim_t more[] = { 0, 3, 6, 9, 15 };
	struct rlimit limit, tight;
	struct possessions before;

	(void)state;
	look(&before);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		struct probe_report report = { 0 };
		char why[256] = "";
		int rc;

		/* readdir() counts "." and "..", and the fd of the folder */
		tight = (struct rlimit){ before.fds - 3 + more[i], limit.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
		rc = probe_wire(&report, why, sizeof(why));
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		assert_true(rc < 0);
		assert_string_not_equal(why, "");
		assert_same(&before);
	}
}

/* In a process of its own: what it returns. */
static int in_child(int (*run)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int be_nobody(void)
{
	struct probe_report report = { 0 };
	char why[256] = "";

	if (!geteuid() && setresuid(NOBODY, NOBODY, NOBODY))
		return 1;
	return probe_wire(&report, why, sizeof(why)) == -EPERM && strstr(why, "CAP_") ? 0 : 1;
}

static void without_rights_there_is_a_reason(void **state)
{
	(void)state;
	assert_int_equal(in_child(be_nobody), 0);
}

/* On a busy host a trial may take long, but not without anything moving, and not for ever. */
static void a_trial_that_moves_has_time(void **state)
{
	struct probe_result first = { 0 }, second = { 0 };
	struct probe_patience p;
	uint64_t now, stuck = PROBE_STUCK_MS * NSEC_PER_MSEC;
	size_t moved = 0;

	(void)state;
	probe_patience_begin(&p);
	now = p.end_ns - PROBE_MAX_MS * NSEC_PER_MSEC;
	for (int k = 0; k < 5; k++, now += stuck)
		assert_int_equal(probe_patience_ends(&p, &first, now, moved++), 0);
	assert_int_equal(probe_patience_ends(&p, &first, now, moved), 0);
	assert_int_equal(probe_patience_ends(&p, &first, now + stuck, moved), 0);
	assert_int_equal(probe_patience_ends(&p, &second, now + stuck + 1, moved), 0);
	assert_int_equal(probe_patience_ends(&p, &second, now + 2 * stuck + 2, moved), -ETIMEDOUT);
	assert_string_equal(second.outcome, "nothing moved any more");
	assert_int_equal(probe_patience_ends(&p, &second, p.end_ns, moved + 1), 0);
	assert_int_equal(probe_patience_ends(&p, &second, p.end_ns + 1, moved + 2), -ETIMEDOUT);
}

/* Sockets in TIME_WAIT, by IPv4, in this process's network. */
static unsigned count_resting(void)
{
	FILE *f = fopen("/proc/self/net/tcp", "re");
	char line[256], state[3];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += sscanf(line, " %*u: %*s %*s %2s", state) == 1 && !strcmp(state, "06");
	fclose(f);
	return n;
}

static int try_by_loopback(void)
{
	struct probe_report report = { 0 };
	char why[256] = "";

	if (net_unshare() || probe_sockmap(&report, why, sizeof(why)) ||
	    probe_bypass(NULL, &report, why, sizeof(why)))
		return 2;
	return count_resting() ? 1 : 0;
}

/* Somebody may want to listen on them. */
static void trials_leave_no_port_behind(void **state)
{
	int left = in_child(try_by_loopback);

	(void)state;
	if (left == 2) {
		print_message("skipped: they can't be tried here\n");
		skip();
	}
	assert_int_equal(left, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_end_with_the_fix),
		cmocka_unit_test(distributions_say_elsewhere_what_they_have),
		cmocka_unit_test(what_is_no_version_is_not_on_the_list),
		cmocka_unit_test(the_wire_is_tried_and_nothing_is_left),
		cmocka_unit_test(a_probe_that_fails_leaves_nothing_either),
		cmocka_unit_test(without_rights_there_is_a_reason),
		cmocka_unit_test(a_trial_that_moves_has_time),
		cmocka_unit_test(trials_leave_no_port_behind),
	};
	const struct log_conf quiet = { .level = LOG_LEVEL_ERROR };

	log_configure(&quiet);
	(void)!net_unshare(); /* nobody else takes a port, or makes a device, there */
	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
