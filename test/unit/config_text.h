/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the configuration share: texts are written with single quotes for double ones,
 * which need no escapes in C, and are parsed with the names that the daemon knows.
 */
#ifndef SHUNT_CONFIG_TEXT_H
#define SHUNT_CONFIG_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "balancer.h"
#include "config.h"
#include "engine.h"

/* An app that is right but for what is added to it. */
#define APP "'Name':'a','Ports':[1],'Targets':['h:1']"

static inline struct config_vocabulary vocabulary(void)
{
	return (struct config_vocabulary){ balancer_names, n_balancers, engine_names, n_engines };
}

/* A copy with double quotes for single ones. */
static inline char *requoted(const char *text)
{
	char *copy = xstrdup(text);

	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	return copy;
}

static inline struct config *parse(const char *text, struct config_errors *errors)
{
	struct config_vocabulary v = vocabulary();
	char *json = requoted(text);
	struct config *c = config_parse(json, strlen(json), &v, errors);

	free(json);
	return c;
}

/* One error, in single quotes, too, as "f:LINE:COL: ...". Returns buf. */
static inline const char *error_text(const struct config_error *e, char *buf, size_t size)
{
	config_error_format(e, "f", buf, size);
	for (char *c = buf; *c; c++)
		*c = *c == '"' ? '\'' : *c;
	return buf;
}

static inline struct config *parsed(const char *text)
{
	struct config_errors errors;
	struct config *c = parse(text, &errors);

	if (!c)
		fail_msg("%s\nwas refused: %s", text, errors.list[0].text);
	assert_int_equal(errors.n, 0);
	assert_int_equal(errors.total, 0);
	config_errors_free(&errors);
	return c;
}

/* Does the text begin with the pattern, in which "..." is anything? */
static inline bool matches(const char *text, const char *pattern)
{
	const char *gap = strstr(pattern, "...");
	size_t len = gap ? (size_t)(gap - pattern) : strlen(pattern);

	if (strncmp(text, pattern, len))
		return false;
	if (!gap)
		return true;
	for (text += len; *text; text++) {
		if (matches(text, gap + strlen("...")))
			return true;
	}
	return false;
}

/* Refused with this one error. */
static inline void refused(const char *text, const char *want)
{
	struct config_errors errors;
	struct config *c = parse(text, &errors);
	char got[2048];

	if (c)
		fail_msg("%s\nwas taken, wanted: %s", text, want);
	error_text(&errors.list[0], got, sizeof(got));
	if (errors.n != 1 || errors.total != 1)
		fail_msg("%s\nhas %zu errors, the first is: %s", text, errors.total, got);
	if (!matches(got, want))
		fail_msg("%s\ngave:   %s\nwanted: %s", text, got, want);
	config_errors_free(&errors);
}

#endif
