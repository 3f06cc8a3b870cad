/* SPDX-License-Identifier: MIT */
#include "config_health.h"

#include <stdio.h>
#include <string.h>

#define BYTES_MUST                                                                                     \
	"a string of at most 255 bytes, in which \"\\\\\" stands for a backslash and \"\\xHH\" for a " \
	"byte"
_Static_assert(HEALTH_BYTES_MAX == 255, "as the message says");

static const struct key health_keys[] = {
	{ "Interval", read_duration, .offset = offsetof(struct health_conf, interval_ms),
	  .min = HEALTH_INTERVAL_MIN_MS, .max = DURATION_MAX_MS },
	{ "Timeout", read_duration, .offset = offsetof(struct health_conf, timeout_ms), .min = 1,
	  .max = DURATION_MAX_MS },
	{ "Rise", read_uint, .offset = offsetof(struct health_conf, rise), .min = 1,
	  .max = HEALTH_STREAK_MAX },
	{ "Fall", read_uint, .offset = offsetof(struct health_conf, fall), .min = 1,
	  .max = HEALTH_STREAK_MAX },
	{ "Port", read_uint, .offset = offsetof(struct health_conf, port), .max = UINT16_MAX },
	{ "Send", read_health_bytes, .offset = offsetof(struct health_conf, send),
	  .must = BYTES_MUST },
	{ "Expect", read_health_bytes, .offset = offsetof(struct health_conf, expect),
	  .must = BYTES_MUST },
};

const struct object_kind config_health_kind = {
	"Apps[].HealthCheck",
	health_keys,
	ARRAY_SIZE(health_keys),
};

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *found = c ? strchr(digits, c | 0x20) : NULL;

	return found ? (int)(found - digits) : -1;
}

/* The byte that begins at *s, which goes on behind it; -1: a wrong escape. */
static int next_byte(const char **s)
{
	const char *at = *s;
	int high, low;

	if (at[0] != '\\' || at[1] == '\\') {
		*s += at[0] == '\\' ? 2 : 1;
		return (unsigned char)at[0];
	}
	if (at[1] != 'x')
		return -1;
	high = hex_digit(at[2]);
	low = high < 0 ? -1 : hex_digit(at[3]);
	*s += 4;
	return low < 0 ? -1 : high * 16 + low;
}

void read_health_bytes(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	struct health_bytes *out = field, bytes = { 0 };
	const char *s;

	if (!reader_type(r, v, key->name, cJSON_String, key->must))
		return;
	for (s = v->item->valuestring; *s; bytes.n++) {
		int byte = next_byte(&s);

		if (byte < 0 || bytes.n == HEALTH_BYTES_MAX) {
			reader_reject(r, v, key->name, cJSON_String, key->must);
			return;
		}
		bytes.data[bytes.n] = (uint8_t)byte;
	}
	*out = bytes;
}

void config_health_bytes_text(const struct health_bytes *b, char *text, size_t size)
{
	size_t len = 0;

	*text = '\0';
	for (size_t i = 0; i < b->n && len < size; i++) {
		uint8_t c = b->data[i];

		if (c >= ' ' && c < 0x7f)
			len += (size_t)snprintf(text + len, size - len, "%s%c",
						c == '\\' ? "\\" : "", c);
		else
			len += (size_t)snprintf(text + len, size - len, "\\x%02x", c);
	}
}

void read_health_check(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	struct app_conf *app = field;

	if (cJSON_IsString(v->item) && !strcmp(v->item->valuestring, "off")) {
		app->health.on = false;
		return;
	}
	if (cJSON_IsString(v->item)) {
		reader_reject(r, v, key->name, cJSON_String, key->must);
		return;
	}
	if (!reader_type(r, v, key->name, cJSON_Object, key->must))
		return;
	app->health = HEALTH_CONF_DEFAULT;
	app->health.on = true;
	read_object(r, v, &config_health_kind, &app->health);
}
