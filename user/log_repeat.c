/* SPDX-License-Identifier: MIT */
#include "log_repeat.h"

#include <string.h>

#include "util.h"

/* An entry whose time is over, and that has nothing to be told of, can be had. */
static bool is_free(const struct log_repeat *e, uint64_t now_ns)
{
	return e->until_ns <= now_ns && !e->left_out;
}

bool log_repeats_leave_out(struct log_repeats *r, int level, const char *text, uint64_t now_ns)
{
	struct log_repeat *place = NULL;
	size_t len = strlen(text);

	if (len >= LOG_REPEAT_TEXT_MAX)
		return false;
	for (size_t i = 0; i < LOG_REPEAT_ENTRIES; i++) {
		struct log_repeat *e = &r->entry[i];

		if (is_free(e, now_ns)) {
			place = e;
		} else if (e->level == level && !strcmp(e->text, text)) {
			e->left_out++;
			return true;
		}
	}
	if (!place)
		return false;
	place->until_ns = now_ns + LOG_REPEAT_WINDOW_MS * NSEC_PER_MSEC;
	place->level = level;
	memcpy(place->text, text, len + 1);
	return false;
}

uint64_t log_repeats_due_ns(const struct log_repeats *r)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < LOG_REPEAT_ENTRIES; i++)
		if (r->entry[i].left_out)
			due = MIN(due, r->entry[i].until_ns);
	return due;
}

bool log_repeats_take(struct log_repeats *r, uint64_t now_ns, struct log_repeat *out)
{
	for (size_t i = 0; i < LOG_REPEAT_ENTRIES; i++) {
		struct log_repeat *e = &r->entry[i];

		if (!e->left_out || e->until_ns > now_ns)
			continue;
		*out = *e;
		/* What goes on is told of again and again, not written anew each time. */
		e->left_out = 0;
		e->until_ns = now_ns + LOG_REPEAT_WINDOW_MS * NSEC_PER_MSEC;
		return true;
	}
	return false;
}
