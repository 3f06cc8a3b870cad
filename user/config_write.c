/* SPDX-License-Identifier: MIT */
#include "config_write.h"

#include <stdio.h>
#include <string.h>

#include "config_admin.h"
#include "config_health.h"
#include "config_read.h"
#include "config_value.h"
#include "config_wire.h"

static const struct object_kind *find_kind(const char *name)
{
	for (size_t i = 0; i < n_config_kinds; i++)
		if (!strcmp(config_kinds[i]->name, name))
			return config_kinds[i];
	return NULL;
}

/* --- what has readers of its own -------------------------------------------------------------- */

static void write_name(const struct app_conf *app, cJSON *out, const char *key)
{
	cJSON_AddStringToObject(out, key, app->name);
}

/* 6001, "6200-6210": three and more in a row are a range. */
static void write_ports(const struct app_conf *app, cJSON *out, const char *key)
{
	cJSON *list = app->n_ports ? cJSON_AddArrayToObject(out, key) : NULL;
	size_t last;

	for (size_t i = 0; i < app->n_ports; i = last + 1) {
		char range[16];

		last = app_conf_last_in_row(app, i);
		if (last < i + 2) {
			last = i;
			cJSON_AddItemToArray(list, cJSON_CreateNumber(app->ports[i]));
			continue;
		}
		snprintf(range, sizeof(range), "%u-%u", app->ports[i], app->ports[last]);
		cJSON_AddItemToArray(list, cJSON_CreateString(range));
	}
}

static void write_targets(const struct app_conf *app, cJSON *out, const char *key)
{
	cJSON *list = cJSON_AddArrayToObject(out, key);

	for (size_t i = 0; i < app->n_targets; i++) {
		cJSON *target = cJSON_CreateObject();

		cJSON_AddStringToObject(target, "Address", app->targets[i].text);
		cJSON_AddNumberToObject(target, "Weight", app->targets[i].weight);
		cJSON_AddNumberToObject(target, "MaxConnections", app->targets[i].max_connections);
		cJSON_AddItemToArray(list, target);
	}
}

static void write_listen(const struct app_conf *app, cJSON *out, const char *key)
{
	cJSON *list = cJSON_AddArrayToObject(out, key);

	for (size_t i = 0; i < app->n_listen; i++) {
		char text[ADDR_TEXT_MAX];

		cJSON_AddItemToArray(list,
				     cJSON_CreateString(addr_format_host(&app->listen[i], text)));
	}
	for (size_t i = 0; i < app->n_sockets; i++) {
		struct addr a = addr_of_unix(app->sockets[i]);
		char text[ADDR_TEXT_MAX];

		cJSON_AddItemToArray(list, cJSON_CreateString(addr_format(&a, text)));
	}
}

static void write_ranges(const struct addr_range_list *ranges, cJSON *out, const char *key)
{
	cJSON *list = ranges->n ? cJSON_AddArrayToObject(out, key) : NULL;
	char text[ADDR_RANGE_TEXT_MAX];

	for (size_t i = 0; i < ranges->n; i++)
		cJSON_AddItemToArray(list,
				     cJSON_CreateString(addr_range_format(&ranges->at[i], text)));
}

static void write_trusted(const struct app_conf *app, cJSON *out, const char *key)
{
	write_ranges(&app->proxy_protocol.trusted, out, key);
}

static void write_sources(const struct app_conf *app, cJSON *out, const char *key)
{
	write_ranges(&app->sources, out, key);
}

static const struct {
	const char *key;
	void (*write)(const struct app_conf *app, cJSON *out, const char *key);
} app_writers[] = {
	{ "Name", write_name },           { "Ports", write_ports },
	{ "Targets", write_targets },     { "Listen", write_listen },
	{ "TrustedFrom", write_trusted }, { "SourceAddresses", write_sources },
};

/* --- what is a plain value -------------------------------------------------------------------- */

/* None are found by the daemon, and a file says so by leaving them out. */
static bool write_wire_devices(const struct config *c, cJSON *out, const char *key)
{
	cJSON *list = c->wire.n_devices ? cJSON_AddArrayToObject(out, key) : NULL;

	for (size_t i = 0; i < c->wire.n_devices; i++)
		cJSON_AddItemToArray(list, cJSON_CreateString(c->wire.devices[i]));
	return list;
}

/* False: it is none, or one that says no more than its absence. */
static bool write_value(const struct key *key, const void *object, const struct config *c,
			cJSON *out)
{
	char text[CONFIG_VALUE_MAX];

	if (key->read == read_wire_devices)
		return write_wire_devices(c, out, key->name);
	if (!config_value_text(key, object, c, text))
		return false;
	if (key->read == read_admin_http && c->admin_http.sa.sa_family == AF_UNSPEC)
		*text = '\0';
	if (key->read == read_uint && (*text < '0' || *text > '9'))
		return false; /* "all", which a file can't say */
	if (key->read == read_uint || key->read == read_bool)
		cJSON_AddRawToObject(out, key->name, text);
	else
		cJSON_AddStringToObject(out, key->name, text);
	return true;
}

static void write_health(const struct app_conf *app, const struct config *c, cJSON *out,
			 const char *key)
{
	cJSON *object;

	if (!app->health.on) {
		cJSON_AddStringToObject(out, key, "off");
		return;
	}
	object = cJSON_AddObjectToObject(out, key);
	for (size_t i = 0; i < config_health_kind.n_keys; i++)
		write_value(&config_health_kind.keys[i], &app->health, c, object);
}

static void write_app_key(const struct key *key, const struct app_conf *app, const struct config *c,
			  cJSON *out)
{
	if (write_value(key, app, c, out))
		return;
	for (size_t w = 0; w < ARRAY_SIZE(app_writers); w++)
		if (!strcmp(app_writers[w].key, key->name))
			app_writers[w].write(app, out, key->name);
}

/* Its own keys, and those of the objects in it. */
static void write_app(const struct app_conf *app, const struct config *c, cJSON *out)
{
	const struct object_kind *kind = find_kind("Apps[]");

	for (size_t i = 0; i < kind->n_keys; i++) {
		const struct key *key = &kind->keys[i];
		const struct object_kind *section = config_app_section(key->name);
		cJSON *object = section ? cJSON_AddObjectToObject(out, key->name) : NULL;

		for (size_t k = 0; section && k < section->n_keys; k++)
			write_app_key(&section->keys[k], app, c, object);
		if (key->read == read_health_check)
			write_health(app, c, out, key->name);
		else if (!section)
			write_app_key(key, app, c, out);
	}
}

/* The keys of the document, or of a section of it, whose fields are the config's. */
static void write_section(const struct object_kind *kind, const struct config *c, cJSON *out)
{
	for (size_t i = 0; i < kind->n_keys; i++) {
		const struct object_kind *section = find_kind(kind->keys[i].name);

		/* Each app has the Defaults. */
		if (section && strcmp(section->name, "Defaults"))
			write_section(section, c, cJSON_AddObjectToObject(out, section->name));
		else if (!section)
			write_value(&kind->keys[i], c, c, out);
	}
}

void config_write(const struct config *c, const struct config_apps *apps, cJSON *out)
{
	cJSON *list;

	write_section(find_kind(""), c, out);
	list = cJSON_AddArrayToObject(out, "Apps");
	for (size_t i = 0; i < apps->n; i++) {
		cJSON *app = cJSON_CreateObject();

		write_app(apps->app(apps->arg, i), c, app);
		cJSON_AddItemToArray(list, app);
	}
}
