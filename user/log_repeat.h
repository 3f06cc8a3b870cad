/* SPDX-License-Identifier: MIT */
/*
 * Messages that repeat themselves: the first one is written; the same ones that come within
 * LOG_REPEAT_WINDOW_MS are counted, and told of together when that time is over. A table of a few:
 * when it is full of others, what comes is written. The caller has the lock.
 */
#ifndef SHUNT_LOG_REPEAT_H
#define SHUNT_LOG_REPEAT_H

#include <stdbool.h>
#include <stdint.h>

#define LOG_REPEAT_WINDOW_MS 10000
#define LOG_REPEAT_ENTRIES 16
#define LOG_REPEAT_TEXT_MAX 256 /* longer messages are not looked for */

struct log_repeats {
	struct log_repeat {
		uint64_t until_ns; /* 0: free */
		uint32_t left_out;
		int level;
		char text[LOG_REPEAT_TEXT_MAX];
	} entry[LOG_REPEAT_ENTRIES];
};

/* Is the message to be left out? Otherwise it is remembered from now on. */
bool log_repeats_leave_out(struct log_repeats *r, int level, const char *text, uint64_t now_ns);
/* When the first of those that were left out is to be told of; UINT64_MAX: there are none. */
uint64_t log_repeats_due_ns(const struct log_repeats *r);
/* Takes one whose time is over and that was left out: *out is a copy. False: there is none. */
bool log_repeats_take(struct log_repeats *r, uint64_t now_ns, struct log_repeat *out);

#endif
