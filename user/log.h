/* SPDX-License-Identifier: MIT */
/*
 * The log: lines on stderr, to a file, to syslog or to the journal, as text or JSON. A line is
 * formatted by the caller's thread, put into bounded memory and written by a thread of the log's
 * own, so that a reader who stalls (a full pipe, a slow disk) never stalls a connection. What finds
 * no room is dropped and counted; the count is logged as soon as there is room again. Before
 * log_start() and after log_stop() lines are written directly. A message that is the same as one a
 * moment ago is counted, not written (log_repeat.h); records are always written.
 *
 * Where stderr is the journal's (JOURNAL_STREAM), text goes to it by its own protocol, with a
 * record's fields as fields; if it can't be reached so, with the <N> priority prefix of
 * sd-daemon(3). It and syslog get lines without the time.
 */
#ifndef SHUNT_LOG_H
#define SHUNT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log_output.h"
#include "log_text.h"
#include "util.h"

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	N_LOG_LEVELS
};

struct log_conf {
	enum log_level level; /* what is less important is not written */
	enum log_format format;
	enum log_output output;
	char *file;          /* of LOG_OUTPUT_FILE; log_configure() copies it */
	const char *journal; /* where the journal listens; NULL: LOG_JOURNAL_SOCKET */
};

/*
 * May be called at any time, by one thread at a time. The default: info, text, stderr. 0, or -errno
 * when the file can't be opened: then lines go where they went.
 */
int log_configure(const struct log_conf *conf);
void log_set_level(enum log_level level);
enum log_level log_level_now(void);
/* Opens the file anew, which somebody may have moved away. 0 (also when there is none) or -errno. */
int log_reopen(void);
/* 0 or -errno: the writer could not be started. */
int log_start(void) must_check;
/* Waits until all lines are written, but not for ever: a reader that has stalled is given 2 s. */
void log_stop(void);

/* Lines that were dropped since the start, for want of room. */
uint64_t log_lost(void);
/* Is a line of this level written? Asked where making it is expensive. */
bool log_enabled(enum log_level level);
enum log_format log_format_now(void);

void log_line(enum log_level level, const char *fmt, ...) printf_like(2, 3);
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A record: one line of named fields, written as `event key=value key="two words"` or as one JSON
 * object with "time", "level" and "event" first. Built on the caller's stack; a record that grows
 * over its buffer loses its last fields, never its form. Strings are escaped for either format;
 * keys and events are plain identifiers.
 */
struct log_record {
	enum log_level level;
	enum log_output output;
	struct log_text line;
	struct log_text fields; /* of LOG_OUTPUT_JOURNAL only: the same for the journal */
};

void log_record_begin(struct log_record *r, enum log_level level, const char *event);
void log_record_str(struct log_record *r, const char *key, const char *value);
void log_record_u64(struct log_record *r, const char *key, uint64_t value);
/* A duration in milliseconds with three decimals, from nanoseconds. */
void log_record_ms(struct log_record *r, const char *key, uint64_t ns);
void log_record_end(struct log_record *r);

const char *log_level_name(enum log_level level);

#endif
