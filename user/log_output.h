/* SPDX-License-Identifier: MIT */
/*
 * Where log lines go: standard error, a file, syslog(3), or the journal by its own protocol, in
 * which a record's fields are fields. A part of log.c, which decides what is written and when; all
 * others log through log.h.
 */
#ifndef SHUNT_LOG_OUTPUT_H
#define SHUNT_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util.h"

#define LOG_WAIT_TILL_GIVEN_UP (-1)
#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* The first ones are what a configuration may name. */
enum log_output { LOG_OUTPUT_STDERR, LOG_OUTPUT_SYSLOG, LOG_OUTPUT_FILE, LOG_OUTPUT_JOURNAL };

/* Is it a stream, of which several lines can be written at once? */
bool log_output_is_stream(enum log_output output);
/* Whole lines, each with its newline. wait_ms: see log_output_give_up(). */
void log_output_write(enum log_output output, const char *text, size_t len, int wait_ms);
/* One line, with its newline; `fields` as log_text_journal_field() has made them. */
void log_output_syslog(int priority, const char *text, size_t len);
void log_output_journal(int priority, const char *text, size_t len, const char *fields,
			size_t fields_len, int wait_ms);

/* From now on (true) who waits for room with LOG_WAIT_TILL_GIVEN_UP waits no longer. */
void log_output_give_up(bool given_up);

/* Opens the file, or opens it anew: whoever writes meanwhile writes to either. 0 or -errno. */
int log_output_open_file(const char *path) must_check;
/* Is standard error the journal's stream (JOURNAL_STREAM of systemd.exec(5))? */
bool log_output_stderr_is_journal(void);
/* 0, or -errno: there is nobody at the socket; NULL: LOG_JOURNAL_SOCKET. */
int log_output_open_journal(const char *socket_path) must_check;

#endif
