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

/* Why this program's tests can't be done here; "": they can. */
static char skip_reason[256];

#define SKIP_IF_REASON()                                                                           \
	do {                                                                                       \
		if (skip_reason[0]) {                                                              \
			print_message("skipped: %s\n", skip_reason);                               \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

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
