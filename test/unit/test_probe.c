/* SPDX-License-Identifier: MIT */
/* The list of kernels known to be wrong: whose version counts, and where the ranges begin and end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "probe.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_end_with_the_fix),
		cmocka_unit_test(distributions_say_elsewhere_what_they_have),
		cmocka_unit_test(what_is_no_version_is_not_on_the_list),
	};

	return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
