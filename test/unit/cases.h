/* SPDX-License-Identifier: MIT */
/* What the tests that need something of the kernel share: skipping with a reason, and variants. */
#ifndef SHUNT_TEST_CASES_H
#define SHUNT_TEST_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those four first. */
#include <cmocka.h>

#include "util.h"

/* Why this program's tests can't be done here; "": they can. */
static char skip_reason[256] __attribute__((unused));

#define SKIP_IF_REASON()                                                                           \
	do {                                                                                       \
		if (skip_reason[0]) {                                                              \
			print_message("skipped: %s\n", skip_reason);                               \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

#define STEP_MAX_NS (20 * NSEC_PER_SEC) /* whatever is waited for */

/*
 * A loop's head: until it has come, or has taken too long. Not so many turns of a loop: a turn may
 * not wait at all, and the kernel's own threads, which do the work, get their share of a busy
 * host's time when they do.
 */
#define UNTIL(condition)                                                                           \
	for (const uint64_t until_ns = clock_ns() + STEP_MAX_NS;                                   \
	     !(condition) && clock_ns() < until_ns;)

/* A test with a state of its own, of the file's struct variant. */
#define VARIANT(test, id, ...)                                                                     \
	{                                                                                          \
		.name = #test ": " id, .test_func = test, .initial_state = &(struct variant)       \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

#define BOTH_FAMILIES(test)                                                                        \
	VARIANT(test, "IPv4", .family = AF_INET), VARIANT(test, "IPv6", .family = AF_INET6)

#endif
