/* SPDX-License-Identifier: MIT */
#include "config_rate.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	uint32_t ms;
} units[] = { { "/s", 1000 }, { "/m", 60 * 1000 }, { "/h", 3600 * 1000 } };

static bool rate_parse(const char *s, uint32_t max, struct rate *out)
{
	uint32_t n = 0;

	*out = (struct rate){ 0 };
	if (!strcmp(s, "0"))
		return true;
	for (; isdigit((unsigned char)*s) && n <= max; s++)
		n = n * 10 + (uint32_t)(*s - '0');
	if (!n || n > max)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(s, units[i].name))
			*out = (struct rate){ n, units[i].ms };
	return out->n;
}

void read_rate(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	char must[160];
	struct rate rate;

	if (cJSON_IsString(v->item) && rate_parse(v->item->valuestring, key->max, &rate)) {
		*(struct rate *)field = rate;
		return;
	}
	snprintf(must, sizeof(must),
		 "a string such as \"100/s\", \"30/m\" or \"500/h\", of at most %u, or \"0\" for "
		 "none",
		 key->max);
	reader_reject(r, v, key->name, cJSON_String, must);
}

void rate_text(const struct rate *r, char *text, size_t size)
{
	const char *unit = "";

	for (size_t i = 0; r->n && i < ARRAY_SIZE(units); i++)
		if (units[i].ms == r->per_ms)
			unit = units[i].name;
	snprintf(text, size, "%u%s", r->n, unit);
}
