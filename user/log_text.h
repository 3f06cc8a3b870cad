/* SPDX-License-Identifier: MIT */
/*
 * The text of one log line, put together in either format. What comes from outside (a name, an
 * address, a message) cannot break the line that it stands in, nor make JSON of it that a parser
 * refuses: control characters and what is no UTF-8 are escaped. There is always room left for the
 * line's end. A leaf that log.c writes with; all others log through log.h.
 */
#ifndef SHUNT_LOG_TEXT_H
#define SHUNT_LOG_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#define LOG_TEXT_MAX 2048 /* of a line; at most PIPE_BUF, so that a pipe takes it in one piece */

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_text {
	size_t len;
	bool full; /* a field did not fit */
	enum log_format format;
	char bytes[LOG_TEXT_MAX];
};

/* As it is, all or nothing. False: it does not fit. */
bool log_text_put(struct log_text *t, const char *s);
/* The time now, RFC 3339 in UTC: logs of hosts in many time zones are read side by side. */
void log_text_time(struct log_text *t);
/* A field, all or nothing; once one did not fit no other is taken, for a gap would mislead. */
void log_text_field(struct log_text *t, const char *key, const char *value, bool is_number);
/* The same for the journal: "SHUNT_KEY=value" and a newline. */
void log_text_journal_field(struct log_text *t, const char *key, const char *value);
/* A message as the line's last part, cut where the line is full. */
void log_text_message(struct log_text *t, const char *message);
void log_text_end(struct log_text *t);

#endif
