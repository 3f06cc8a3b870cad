/* SPDX-License-Identifier: MIT */
/*
 * A log line's text. What comes from outside (a name, an address, a reason) cannot break the line
 * that it stands in, nor make JSON of it that a parser refuses: control characters and what is no
 * UTF-8 are escaped.
 */
#include "log_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util.h"

#define LINE_END "\"}\n" /* the longest that log_text_end() puts */
#define LINE_ROOM (LOG_TEXT_MAX - sizeof(LINE_END) + 1)

static bool put_bytes(struct log_text *t, const char *s, size_t n)
{
	if (n > LINE_ROOM - t->len)
		return false;
	memcpy(t->bytes + t->len, s, n);
	t->len += n;
	return true;
}

bool log_text_put(struct log_text *t, const char *s)
{
	return put_bytes(t, s, strlen(s));
}

/* The length of the UTF-8 sequence that s starts with (RFC 3629, 4), or 0 when it is none. */
static size_t utf8_len(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	unsigned char low = 0x80, high = 0xbf; /* what the second byte may be */
	size_t n;

	if (u[0] < 0x80)
		return 1;
	if (u[0] >= 0xc2 && u[0] <= 0xdf)
		n = 2;
	else if ((u[0] & 0xf0) == 0xe0)
		n = 3;
	else if (u[0] >= 0xf0 && u[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (u[0] == 0xe0)
		low = 0xa0; /* shorter forms exist */
	else if (u[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (u[0] == 0xf0)
		low = 0x90;
	else if (u[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	if (u[1] < low || u[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* One character that may not stand as it is: JSON's escapes (RFC 8259, 7), in text C's. */
static bool put_escape(struct log_text *t, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char named[] = "\"\"\\\\\nn\rr\tt";
	char plain[] = { '\\', 'x', hex[c >> 4], hex[c & 15], '\0' };
	char json[] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], '\0' };

	for (size_t i = 0; i < sizeof(named) - 1; i += 2)
		if ((char)c == named[i])
			return put_bytes(t, (char[]){ '\\', named[i + 1] }, 2);
	if (t->format == LOG_FORMAT_TEXT)
		return log_text_put(t, plain);
	return log_text_put(t, c < 0x80 ? json : "\\ufffd"); /* U+FFFD for what is no UTF-8 */
}

static bool put_escaped(struct log_text *t, const char *s, bool quoted)
{
	while (*s) {
		size_t n = utf8_len(s);
		bool plain = n > 1 || (n == 1 && *s >= ' ' && *s != 0x7f &&
				       !(quoted && (*s == '"' || *s == '\\')));

		if (!(plain ? put_bytes(t, s, n) : put_escape(t, (unsigned char)*s)))
			return false;
		s += n ? n : 1;
	}
	return true;
}

/* May a value of a text record stand without quotation marks? */
static bool is_bare(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s >= 0x7f || *s == '"' || *s == '\\' || *s == '=')
			return false;
	return true;
}

void log_text_time(struct log_text *t)
{
	struct timespec now;
	struct tm tm;
	char text[64];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", tm.tm_year + 1900,
		 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
		 now.tv_nsec / (long)NSEC_PER_MSEC);
	log_text_put(t, text);
}

/* A number as it is; a string escaped and, where it must be, in quotation marks. */
static bool put_value(struct log_text *t, const char *value, bool is_number)
{
	if (is_number || (t->format == LOG_FORMAT_TEXT && is_bare(value)))
		return log_text_put(t, value);
	return log_text_put(t, "\"") && put_escaped(t, value, true) && log_text_put(t, "\"");
}

void log_text_field(struct log_text *t, const char *key, const char *value, bool is_number)
{
	size_t before = t->len;
	bool fits;

	if (t->full)
		return;
	if (t->format == LOG_FORMAT_JSON)
		fits = log_text_put(t, ",\"") && log_text_put(t, key) && log_text_put(t, "\":");
	else
		fits = log_text_put(t, " ") && log_text_put(t, key) && log_text_put(t, "=");
	if (!fits || !put_value(t, value, is_number)) {
		t->len = before;
		t->full = true;
	}
}

/* systemd.journal-fields(7): upper case, not beginning with an underscore. */
void log_text_journal_field(struct log_text *t, const char *key, const char *value)
{
	size_t before = t->len;
	char name[64];
	int n = snprintf(name, sizeof(name), "SHUNT_%s=", key);

	if (t->full)
		return;
	for (char *c = name; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	if (n < (int)sizeof(name) && log_text_put(t, name) && put_escaped(t, value, false) &&
	    log_text_put(t, "\n"))
		return;
	t->len = before;
	t->full = true;
}

void log_text_message(struct log_text *t, const char *message)
{
	if (t->format == LOG_FORMAT_JSON) {
		log_text_put(t, ",\"event\":\"log\",\"message\":\"");
		put_escaped(t, message, true);
		t->bytes[t->len++] = '"'; /* LINE_END has room for it */
	} else {
		put_escaped(t, message, false);
	}
}

void log_text_end(struct log_text *t)
{
	if (t->format == LOG_FORMAT_JSON)
		t->bytes[t->len++] = '}';
	t->bytes[t->len++] = '\n';
}
