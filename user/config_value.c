/* SPDX-License-Identifier: MIT */
#include "config_value.h"

#include <stdio.h>
#include <string.h>

#include "config_admin.h"
#include "config_health.h"
#include "config_listen.h"
#include "config_rate.h"
#include "config_wire.h"

/* What a value is said by: a field, in an object of this config. */
struct value {
	const struct key *key;
	const void *field;
	const struct config *config;
};

static void bool_text(const struct value *v, char *text)
{
	snprintf(text, CONFIG_VALUE_MAX, "%s", *(const bool *)v->field ? "true" : "false");
}

static void uint_text(const struct value *v, char *text)
{
	uint32_t n = *(const uint32_t *)v->field;

	if (n == CONNECT_RETRIES_ALL && v->key->max < n)
		snprintf(text, CONFIG_VALUE_MAX, "all");
	else
		snprintf(text, CONFIG_VALUE_MAX, "%u", n);
}

/* In the largest unit that says it exactly. */
static void duration_text(const struct value *v, char *text)
{
	static const struct {
		const char *name;
		uint32_t ms;
	} unit[] = { { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 } };
	uint32_t ms = *(const uint32_t *)v->field;
	size_t i = 0;

	while (ms % unit[i].ms)
		i++;
	if (ms)
		snprintf(text, CONFIG_VALUE_MAX, "%u%s", ms / unit[i].ms, unit[i].name);
	else
		snprintf(text, CONFIG_VALUE_MAX, "0");
}

static void rate_value_text(const struct value *v, char *text)
{
	rate_text(v->field, text, CONFIG_VALUE_MAX);
}

static void mode_text(const struct value *v, char *text)
{
	snprintf(text, CONFIG_VALUE_MAX, "%04o", *(const uint32_t *)v->field);
}

static void enum_text(const struct value *v, char *text)
{
	snprintf(text, CONFIG_VALUE_MAX, "%s", v->key->names[*(const unsigned int *)v->field]);
}

/* An app without an engine of its own has the config's. */
static void name_text(const struct value *v, char *text)
{
	const char *name = *(const char *const *)v->field;

	snprintf(text, CONFIG_VALUE_MAX, "%s", name ? name : v->config->engine);
}

static void path_text(const struct value *v, char *text)
{
	snprintf(text, CONFIG_VALUE_MAX, "%s", *(const char *const *)v->field);
}

static void admin_socket_text(const struct value *v, char *text)
{
	snprintf(text, CONFIG_VALUE_MAX, "%s", v->config->admin_socket);
}

static void admin_http_text(const struct value *v, char *text)
{
	addr_format(&v->config->admin_http, text);
}

/* As many as there is room for. */
static void wire_devices_text(const struct value *v, char *text)
{
	const struct wire_conf_keys *wire = &v->config->wire;
	size_t len = 0;

	*text = '\0';
	for (size_t i = 0; i < wire->n_devices && len < CONFIG_VALUE_MAX; i++)
		len += (size_t)snprintf(text + len, CONFIG_VALUE_MAX - len, "%s%s", i ? ", " : "",
					wire->devices[i]);
}

/* What is in the object has a table of its own. */
static void health_text(const struct value *v, char *text)
{
	const struct app_conf *app = v->field;

	snprintf(text, CONFIG_VALUE_MAX, "%s", app->health.on ? "on" : "off");
}

static void health_bytes_text(const struct value *v, char *text)
{
	config_health_bytes_text(v->field, text, CONFIG_VALUE_MAX);
}

/* By what reads a value. size: of the field, if it can be copied as it is. */
static const struct value_type {
	key_reader *read;
	size_t size;
	void (*text)(const struct value *v, char *text);
} types[] = {
	{ read_bool, sizeof(bool), bool_text },
	{ read_uint, sizeof(uint32_t), uint_text },
	{ read_duration, sizeof(uint32_t), duration_text },
	{ read_rate, sizeof(struct rate), rate_value_text },
	{ read_mode, sizeof(uint32_t), mode_text },
	{ read_enum, sizeof(unsigned int), enum_text },
	{ read_balancer, sizeof(const char *), name_text },
	{ read_engine, sizeof(const char *), name_text },
	{ read_path, 0, path_text },
	{ read_path_or_none, 0, path_text },
	{ read_admin_socket, 0, admin_socket_text },
	{ read_admin_http, 0, admin_http_text },
	{ read_wire_devices, 0, wire_devices_text },
	{ read_health_check, 0, health_text },
	{ read_health_bytes, 0, health_bytes_text },
};

/* NULL: its value is an object or a list, which are compared by what they have. */
static const struct value_type *type_of(const struct key *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].read == key->read)
			return &types[i];
	return NULL;
}

static const void *field_of(const struct key *key, const void *object)
{
	return (const char *)object + key->offset;
}

bool config_value_text(const struct key *key, const void *object, const struct config *c,
		       char text[CONFIG_VALUE_MAX])
{
	const struct value_type *type = type_of(key);

	if (type)
		type->text(&(struct value){ key, field_of(key, object), c }, text);
	return type != NULL;
}

void config_value_copy(const struct key *key, void *to, const void *from)
{
	memcpy((char *)to + key->offset, field_of(key, from), type_of(key)->size);
}
