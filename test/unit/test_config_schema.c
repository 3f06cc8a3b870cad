/* SPDX-License-Identifier: MIT */
/*
 * docs/config.schema.json against the parser: the same keys in the same objects, and every word of
 * the schema that can be tried is tried, by putting values into a document and having it parsed.
 * And shunt-config(5) against the schema. Run from the root of the repository.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "balancer.h"
#include "config.h"
#include "engine.h"

#define SCHEMA "docs/config.schema.json"
#define MANUAL "docs/shunt-config.5.scd"
#define FILE_MAX_BYTES 65536
#define DUMP_MAX_BYTES 4096

/* Each object that the schema describes, in the smallest document that has it. */
static const char smallest[] =
	"{\"Log\":{},\"Sockmap\":{},\"Wire\":{},\"Bypass\":{},\"Admin\":{},\"Defaults\":{},"
	"\"Apps\":[{\"Name\":\"a\",\"Ports\":[1],\"Targets\":[{\"Address\":\"h:1\"}],"
	"\"Listen\":[\"::1\"],\"HealthCheck\":{},\"ProxyProtocol\":{\"TrustedFrom\":[\"::1\"]}},"
	"{\"Name\":\"b\",\"Ports\":[2],\"Targets\":[\"h:1\"]}]}"; /* has what Defaults say */

struct object {
	const char *name;           /* as config_each_key() gives it */
	const char *schema_path[8]; /* to its schema, and */
	const char *path[4]; /* to the object itself in the smallest document; NULL ends both */
};

static const struct object objects[] = {
	{ "", { NULL }, { NULL } },
	{ "Log", { "properties", "Log" }, { "Log" } },
	{ "Sockmap", { "properties", "Sockmap" }, { "Sockmap" } },
	{ "Wire", { "properties", "Wire" }, { "Wire" } },
	{ "Bypass", { "properties", "Bypass" }, { "Bypass" } },
	{ "Admin", { "properties", "Admin" }, { "Admin" } },
	{ "Defaults", { "properties", "Defaults" }, { "Defaults" } },
	{ "Apps[]", { "properties", "Apps", "items" }, { "Apps", "0" } },
	{ "Apps[].Targets[]",
	  { "properties", "Apps", "items", "properties", "Targets", "items", "oneOf", "1" },
	  { "Apps", "0", "Targets", "0" } },
	{ "Apps[].HealthCheck",
	  { "$defs", "HealthCheck", "oneOf", "0" },
	  { "Apps", "0", "HealthCheck" } },
	{ "Apps[].ProxyProtocol", { "$defs", "ProxyProtocol" }, { "Apps", "0", "ProxyProtocol" } },
};

static cJSON *schema;
static char *manual;

/* One step down, by name or, in an array, by number. */
static cJSON *step(const cJSON *from, const char *name)
{
	cJSON *to = cJSON_IsArray(from) ? cJSON_GetArrayItem(from, atoi(name))
					: cJSON_GetObjectItemCaseSensitive(from, name);

	if (!to)
		fail_msg("there is no \"%s\"", name);
	return to;
}

static cJSON *walk(cJSON *from, const char *const *path, size_t steps)
{
	for (size_t i = 0; i < steps && path[i]; i++)
		from = step(from, path[i]);
	return from;
}

static cJSON *schema_of(const struct object *o)
{
	return walk(schema, o->schema_path, ARRAY_SIZE(o->schema_path));
}

/* A keyword of a property, its own or that of what it refers to. */
static const cJSON *keyword(const cJSON *property, const char *name)
{
	static const char prefix[] = "#/$defs/";
	const cJSON *own = cJSON_GetObjectItemCaseSensitive(property, name);
	const char *ref = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(property, "$ref"));

	if (own || !ref)
		return own;
	assert_memory_equal(ref, prefix, strlen(prefix));
	return keyword(step(step(schema, "$defs"), ref + strlen(prefix)), name);
}

static struct config *parse(const char *text, struct config_errors *errors)
{
	struct config_vocabulary v = { balancer_names, n_balancers, engine_names, n_engines };

	return config_parse(text, strlen(text), &v, errors);
}

/* The smallest document with o[key] = value (which it takes), or without the key when value is
 * NULL. */
static char *document(const struct object *o, const char *key, cJSON *value)
{
	cJSON *doc = cJSON_Parse(smallest), *object = walk(doc, o->path, ARRAY_SIZE(o->path));
	char *text;

	cJSON_DeleteItemFromObjectCaseSensitive(object, key);
	if (value)
		cJSON_AddItemToObject(object, key, value);
	text = cJSON_PrintUnformatted(doc);
	cJSON_Delete(doc);
	return text;
}

/* Everything that a config says, as text to compare. */
static void dump(const struct config *c, char buf[DUMP_MAX_BYTES])
{
	char http[ADDR_TEXT_MAX];
	int n = snprintf(buf, DUMP_MAX_BYTES, "%s %u %u %u %d %d %d %s %d \"%s\" %s", c->engine,
			 c->workers, c->drain_timeout_ms, c->max_connections, c->log.level,
			 c->log.format, c->log.output, c->log.file, c->access_log, c->admin_socket,
			 addr_format(&c->admin_http, http));

	n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %u %u \"%s\" %u %u %s %u %u",
		      c->sockmap_flows, c->sockmap_backlog_kib, c->wire.pins, c->wire.flows,
		      c->wire.at_stop, c->bypass.cgroup, c->bypass.flows, c->bypass.unread_kib);
	for (size_t i = 0; i < c->wire.n_devices; i++)
		n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %s", c->wire.devices[i]);
	for (size_t i = 0; i < c->n_apps; i++) {
		const struct app_conf *a = &c->apps[i];

		/* Not listen_is_default (nor admin_socket_is_default): the default itself, when
		 * given, is no longer one. */
		n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n,
			      "\n%s %s %s %d %d %u %u %u %u %u %u %u %u %u %u %u/%u %u", a->name,
			      a->balance, a->engine ? a->engine : c->engine, a->wire,
			      a->local_bypass, a->connect_timeout_ms, a->connect_retries,
			      a->idle_timeout_ms, a->half_close_timeout_ms, a->keepalive_ms,
			      a->max_connections, a->max_queue, a->queue_timeout_ms, a->backlog,
			      a->max_per_source, a->rate_per_source.n, a->rate_per_source.per_ms,
			      a->burst_per_source);
		n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n,
			      " %d %u %u %u %u %u %zu%.*s %zu%.*s %u %d", a->health.on,
			      a->health.interval_ms, a->health.timeout_ms, a->health.rise,
			      a->health.fall, a->health.port, a->health.send.n,
			      (int)a->health.send.n, (const char *)a->health.send.data,
			      a->health.expect.n, (int)a->health.expect.n,
			      (const char *)a->health.expect.data, a->slow_start_ms, a->on_down);
		for (size_t p = 0; p < a->n_ports; p++)
			n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %u", a->ports[p]);
		for (size_t l = 0; l < a->n_listen; l++) {
			char addr[ADDR_TEXT_MAX];

			n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %s",
				      addr_format(&a->listen[l], addr));
		}
		for (size_t k = 0; k < a->n_sockets; k++)
			n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %s", a->sockets[k]);
		n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %o", a->listen_mode);
		for (size_t t = 0; t < a->n_targets; t++)
			n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %s*%u<%u",
				      a->targets[t].text, a->targets[t].weight,
				      a->targets[t].max_connections);
		n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %d %d %u %d %zu",
			      a->proxy_protocol.accept, a->proxy_protocol.send,
			      a->proxy_protocol.timeout_ms, a->transparent, a->sources.n);
		for (size_t t = 0; t < a->proxy_protocol.trusted.n; t++) {
			char range[ADDR_RANGE_TEXT_MAX];

			n += snprintf(buf + n, DUMP_MAX_BYTES - (size_t)n, " %s",
				      addr_range_format(&a->proxy_protocol.trusted.at[t], range));
		}
	}
	assert_true(n < DUMP_MAX_BYTES);
}

/* o[key] = value is taken; what it came to is in `dumped`, unless that is NULL. */
static void taken(const struct object *o, const char *key, cJSON *value, char *dumped)
{
	char *text = document(o, key, value);
	struct config_errors errors;
	struct config *c = parse(text, &errors);

	if (!c)
		fail_msg("%s\nwas refused: %s", text, errors.list[0].text);
	else if (dumped)
		dump(c, dumped);
	config_free(c);
	config_errors_free(&errors);
	free(text);
}

/* o[key] = value is refused for this one reason, whose text contains `why`. */
static void refused(const struct object *o, const char *key, cJSON *value, const char *why)
{
	char *text = document(o, key, value);
	struct config_errors errors;

	if (parse(text, &errors))
		fail_msg("%s\nwas taken, wanted: %s", text, why);
	if (errors.total != 1 || !strstr(errors.list[0].text, why))
		fail_msg("%s\nhas %zu errors, the first: %s\nwanted: %s", text, errors.total,
			 errors.list[0].text, why);
	config_errors_free(&errors);
	free(text);
}

static void each_property(void (*try)(const struct object *o, const cJSON *property))
{
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		const cJSON *property;

		cJSON_ArrayForEach(property, step(schema_of(&objects[i]), "properties"))
			try(&objects[i], property);
	}
}

/* Counts in the number at arg, and looks for the key in the schema. */
static void look_up(const char *object, const char *key, void *arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		if (strcmp(objects[i].name, object))
			continue;
		step(step(schema_of(&objects[i]), "properties"), key);
		(*(int *)arg)++;
		return;
	}
	fail_msg("the schema test knows no object \"%s\"", object);
}

static void both_have_the_same_keys(void **state)
{
	int keys = 0, properties = 0;

	(void)state;
	config_each_key(look_up, &keys);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		properties += cJSON_GetArraySize(step(schema_of(&objects[i]), "properties"));
		assert_true(cJSON_IsFalse(step(schema_of(&objects[i]), "additionalProperties")));
	}
	assert_int_equal(keys, properties);
}

static bool contains(const cJSON *list, const char *text)
{
	const cJSON *element;

	cJSON_ArrayForEach(element, list)
	{
		if (!strcmp(element->valuestring, text))
			return true;
	}
	return false;
}

/* Ports is, as long as Listen has an address: the first of two ways. */
static bool is_required(const struct object *o, const char *key)
{
	const cJSON *ways = cJSON_GetObjectItemCaseSensitive(schema_of(o), "anyOf");
	const cJSON *first = cJSON_GetArrayItem(ways, 0);

	return contains(cJSON_GetObjectItemCaseSensitive(schema_of(o), "required"), key) ||
	       contains(cJSON_GetObjectItemCaseSensitive(first, "required"), key);
}

static void try_without(const struct object *o, const cJSON *property)
{
	char why[128];

	snprintf(why, sizeof(why), "%s is missing, must be", property->string);
	if (is_required(o, property->string))
		refused(o, property->string, NULL, why);
	else
		taken(o, property->string, NULL, NULL);
}

static void both_require_the_same(void **state)
{
	(void)state;
	each_property(try_without);
}

static void try_names(const struct object *o, const cJSON *property)
{
	const cJSON *names = keyword(property, "enum"), *name;
	char why[256];
	int n;

	if (!names)
		return;
	n = snprintf(why, sizeof(why), "%s is \"?\", must be one of: ", property->string);
	cJSON_ArrayForEach(name, names)
	{
		taken(o, property->string, cJSON_Duplicate(name, true), NULL);
		n += snprintf(why + n, sizeof(why) - (size_t)n, "%s%s",
			      name == names->child ? "" : ", ", name->valuestring);
	}
	refused(o, property->string, cJSON_CreateString("?"), why);
}

/* The parser's own list is in its error, so it can have no other, nor another order. */
static void both_know_the_same_names(void **state)
{
	(void)state;
	each_property(try_names);
}

static void try_bounds(const struct object *o, const cJSON *property)
{
	const cJSON *min = keyword(property, "minimum"), *max = keyword(property, "maximum");
	const char *type = cJSON_GetStringValue(keyword(property, "type")), *key = property->string;
	char why[128];

	if (!type || strcmp(type, "integer"))
		return;
	assert_non_null(min);
	assert_non_null(max);
	snprintf(why, sizeof(why), "must be a whole number from %.0f to %.0f", min->valuedouble,
		 max->valuedouble);
	taken(o, key, cJSON_CreateNumber(min->valuedouble), NULL);
	taken(o, key, cJSON_CreateNumber(max->valuedouble), NULL);
	refused(o, key, cJSON_CreateNumber(min->valuedouble - 1), why);
	refused(o, key, cJSON_CreateNumber(max->valuedouble + 1), why);
	refused(o, key, cJSON_CreateNumber(min->valuedouble + 0.5), why);
}

static void both_have_the_same_bounds(void **state)
{
	(void)state;
	each_property(try_bounds);
}

static void try_default(const struct object *o, const cJSON *property)
{
	const cJSON *value = keyword(property, "default");
	char without[DUMP_MAX_BYTES], with[DUMP_MAX_BYTES];

	if (!value)
		return;
	taken(o, property->string, NULL, without);
	taken(o, property->string, cJSON_Duplicate(value, true), with);
	assert_string_equal(with, without);
}

static void both_have_the_same_defaults(void **state)
{
	(void)state;
	each_property(try_default);
}

static void try_examples(const struct object *o, const cJSON *property)
{
	const cJSON *examples = keyword(property, "examples"), *example;
	char without[DUMP_MAX_BYTES] = "", with[DUMP_MAX_BYTES];

	assert_true(strlen(cJSON_GetStringValue(keyword(property, "description"))) > 20);
	if (!is_required(o, property->string))
		taken(o, property->string, NULL, without);
	cJSON_ArrayForEach(example, examples)
	{
		taken(o, property->string, cJSON_Duplicate(example, true), with);
		assert_string_not_equal(with, without);
	}
}

/* And each changes something, so each is read. */
static void every_key_is_described_and_its_examples_are_taken(void **state)
{
	const cJSON *example;

	(void)state;
	each_property(try_examples);
	cJSON_ArrayForEach(example, step(schema, "examples"))
	{
		char *text = cJSON_PrintUnformatted(example);
		struct config_errors errors;
		struct config *c = parse(text, &errors);

		assert_non_null(c);
		config_free(c);
		config_errors_free(&errors);
		free(text);
	}
}

static void try_wrong_type(const struct object *o, const cJSON *property)
{
	refused(o, property->string, cJSON_CreateNull(), "is null, must be ");
}

static void no_key_takes_null(void **state)
{
	(void)state;
	each_property(try_wrong_type);
}

#define CONTROLS "\\u0000-\\u001f\\u007f-\\u009f" /* as a class of a pattern says them */

/* Its pattern has no control characters, and neither takes the parser any. */
static void try_controls(const struct object *o, const char *key, const char *pattern,
			 const char *start, bool in_array)
{
	static const char *const controls[] = { "\n", "\x01", "\x7f", "\xc2\x80", "\xc2\x9f" };

	if (!strstr(pattern, "[^" CONTROLS "]"))
		fail_msg("the pattern of %s takes control characters: %s", key, pattern);
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++) {
		char text[64];
		cJSON *value;

		snprintf(text, sizeof(text), "%sa%sb", start, controls[i]);
		value = cJSON_CreateString(text);
		if (in_array) {
			cJSON *array = cJSON_CreateArray();

			cJSON_AddItemToArray(array, value);
			value = array;
		}
		refused(o, key, value, "without control characters");
	}
}

static int n_paths;

static void try_path(const struct object *o, const cJSON *property)
{
	const char *key = property->string;
	const char *pattern = cJSON_GetStringValue(keyword(property, "pattern"));
	const cJSON *items = keyword(property, "items");

	if (pattern && (!strncmp(pattern, "^/", 2) || !strncmp(pattern, "^(/", 3))) {
		try_controls(o, key, pattern, "/", false);
		n_paths++;
	} else if (!strcmp(key, "Address")) {
		try_controls(o, key, pattern, "unix:/", false);
		try_controls(o, key, pattern, "unix:@", false);
	} else if (!strcmp(key, "Listen")) {
		pattern = cJSON_GetStringValue(keyword(items, "pattern"));
		try_controls(o, key, pattern, "unix:/", true);
	}
}

static void neither_takes_a_control_character_in_a_path(void **state)
{
	(void)state;
	n_paths = 0;
	each_property(try_path);
	assert_int_equal(n_paths, 4);
}

/* The character of a class, which may be written as \uXXXX; moves on behind it. */
static unsigned long class_char(const char **class)
{
	char digits[5] = "";

	if (strncmp(*class, "\\u", 2))
		return (unsigned char)*(*class)++;
	memcpy(digits, *class + 2, 4);
	*class += 6;
	return strtoul(digits, NULL, 16);
}

/* Is it in the class that this "[^...]" is the complement of? */
static bool excluded(const char *class, unsigned long c)
{
	for (class += 2; *class != ']';) {
		unsigned long first = class_char(&class), last = first;

		if (*class == '-') {
			class ++;
			last = class_char(&class);
		}
		if (first <= c && c <= last)
			return true;
	}
	return false;
}

/* The name of one character of the first plane between two texts is taken, or refused. */
static void try_name(unsigned long c, const char *before, const char *after, bool wrong)
{
	char json[64], why[] = "Name is ";
	cJSON *name;

	snprintf(json, sizeof(json), "\"%s\\u%04lx%s\"", before, c, after);
	name = cJSON_Parse(json);
	assert_non_null(name);
	if (wrong)
		refused(&objects[7], "Name", name, why);
	else
		taken(&objects[7], "Name", name, NULL);
}

/* Pattern: what a name begins with, what it goes on with, and what it ends in. */
static void both_take_the_same_characters_in_a_name(void **state)
{
	const cJSON *property = step(step(schema_of(&objects[7]), "properties"), "Name");
	const char *outer = keyword(property, "pattern")->valuestring + 1;
	const char *inner = strchr(outer + 1, '['), *last = strchr(inner + 1, '[');

	(void)state;
	assert_string_equal(objects[7].name, "Apps[]");
	assert_memory_equal(outer, last, (size_t)(strchr(outer, ']') - outer));
	for (unsigned long c = 1; c < 0xffff; c++) {
		if (c == 0x700)
			c = 0x1fff; /* nothing of note, nor in the next gap */
		else if (c == 0x20ff)
			c = 0xfefe;
		if (c == 'b') /* the other app's name */
			continue;
		try_name(c, "", "", excluded(outer, c));
		try_name(c, "a", "b", excluded(inner, c));
		try_name(c, "", "b", excluded(outer, c));
		try_name(c, "a", "", excluded(outer, c));
	}
}

/* The section of an object: "Apps[].Targets[]" is described in TARGETS, "Defaults" where apps are. */
static const char *section_of(const struct object *o, char heading[64])
{
	const char *dot = strrchr(o->name, '.'), *name = dot ? dot + 1 : o->name;
	size_t len = strcspn(name, "[");
	const char *found;
	char *end;

	if (!strcmp(name, "Defaults"))
		name = "Apps", len = 4;
	end = heading +
	      snprintf(heading, 64, "\n# %.*s\n", (int)(len ? len : 9), len ? name : "TOP LEVEL");
	for (char *c = heading; c < end; c++)
		*c = (char)toupper((unsigned char)*c);
	found = strstr(manual, heading);
	if (!found)
		fail_msg(MANUAL " has no section%s", heading);
	return found + strlen(heading);
}

/* The line that a key's entry begins with: "*Weight* (number, 1 to 256, default 1)". */
static void find_term(const struct object *o, const char *key, char line[256])
{
	char heading[64], term[64];
	const char *section = section_of(o, heading), *end = strstr(section, "\n# "), *found;

	snprintf(term, sizeof(term), "\n*%s* (", key);
	found = strstr(section, term);
	if (!found || (end && found > end))
		fail_msg(MANUAL " has no %s in section%s", key, heading);
	snprintf(line, 256, "%.*s", (int)strcspn(found + 1, "\n"), found + 1);
}

static void must_say(const char *line, const char *what)
{
	if (!strstr(line, what))
		fail_msg(MANUAL ": \"%s\" does not say \"%s\"", line, what);
}

static void look_up_in_manual(const struct object *o, const cJSON *property)
{
	const cJSON *max = keyword(property, "maximum"), *value = keyword(property, "default");
	const char *type = cJSON_GetStringValue(keyword(property, "type"));
	char line[256], want[128];

	find_term(o, property->string, line);
	if (contains(cJSON_GetObjectItemCaseSensitive(schema_of(o), "required"), property->string))
		must_say(line, "required)");
	if (type && !strcmp(type, "integer")) {
		snprintf(want, sizeof(want), ", %.0f to %.0f",
			 keyword(property, "minimum")->valuedouble, max->valuedouble);
		must_say(line, want);
	}
	if (value) {
		char *text = cJSON_PrintUnformatted(value);

		snprintf(want, sizeof(want), "default %s", text);
		must_say(line, want);
		free(text);
	}
}

static void the_manual_has_every_key_with_its_bounds_and_default(void **state)
{
	size_t entries = 0, properties = 0;

	(void)state;
	each_property(look_up_in_manual);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		if (strcmp(objects[i].name, "Defaults"))
			properties += (size_t)cJSON_GetArraySize(
				step(schema_of(&objects[i]), "properties"));
	for (const char *at = manual; (at = strstr(at, "\n*")); at++)
		entries += strncmp(strchr(at + 2, '*'), "* (", 3) == 0;
	assert_int_equal(entries, properties);
}

static char *read_file(const char *path)
{
	char *text = xcalloc(1, FILE_MAX_BYTES);
	FILE *file = fopen(path, "re");

	if (!file || fread(text, 1, FILE_MAX_BYTES - 1, file) == 0)
		fprintf(stderr, "%s: cannot be read\n", path);
	if (file)
		fclose(file);
	return text;
}

static int read_files(void **state)
{
	char *text = read_file(SCHEMA);

	(void)state;
	schema = cJSON_Parse(text);
	free(text);
	manual = read_file(MANUAL);
	return schema ? 0 : -1;
}

static int free_files(void **state)
{
	(void)state;
	cJSON_Delete(schema);
	free(manual);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_have_the_same_keys),
		cmocka_unit_test(both_require_the_same),
		cmocka_unit_test(both_know_the_same_names),
		cmocka_unit_test(both_have_the_same_bounds),
		cmocka_unit_test(both_have_the_same_defaults),
		cmocka_unit_test(every_key_is_described_and_its_examples_are_taken),
		cmocka_unit_test(no_key_takes_null),
		cmocka_unit_test(neither_takes_a_control_character_in_a_path),
		cmocka_unit_test(both_take_the_same_characters_in_a_name),
		cmocka_unit_test(the_manual_has_every_key_with_its_bounds_and_default),
	};

	return cmocka_run_group_tests(tests, read_files, free_files);
}
