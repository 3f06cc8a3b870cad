/* SPDX-License-Identifier: MIT */
/*
 * What the configuration consists of: the tables of keys, the readers of what is no plain value,
 * and what must hold across keys and apps. Defaults are read before any app, wherever they stand,
 * and each app starts as a copy of them. The text comes here through config_json (grammar and
 * positions) and config_read (values); config_ports knows who listens where.
 */
#include "config.h"

#include <string.h>

#include "config_admin.h"
#include "config_effect.h"
#include "config_health.h"
#include "config_json.h"
#include "config_listen.h"
#include "config_loops.h"
#include "config_ports.h"
#include "config_proxy_protocol.h"
#include "config_ranges.h"
#include "config_rate.h"
#include "config_read.h"
#include "config_target.h"
#include "config_wire.h"

#define APP_NAME_MAX_CHARS 64
#define KEEPALIVE_MAX_MS (9u * 3600 * 1000) /* TCP_KEEPIDLE takes 32767 s */

struct parser {
	struct reader reader; /* key readers get this one, and find the parser around it */
	struct config *config;
	struct app_conf defaults; /* apps borrow its lists until all is read */
	struct addr wildcards[2]; /* which it is when Defaults has no Listen */
	const struct json *apps;  /* the value of Apps, read when all else is */
	struct port_book *ports;
	uint32_t app;          /* the number of the app that is being read */
	struct mention *names; /* of the apps so far */
	size_t n_names;
};

static struct parser *parser_of(struct reader *r)
{
	return container_of(r, struct parser, reader);
}

static key_reader read_log, read_sockmap, read_wire, read_bypass, read_admin, read_defaults,
	note_apps, read_name, read_ports;

static const char *const log_levels[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
	[LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};
static const char *const log_formats[] = {
	[LOG_FORMAT_TEXT] = "text",
	[LOG_FORMAT_JSON] = "json",
};
static const char *const log_outputs[] = {
	[LOG_OUTPUT_STDERR] = "stderr",
	[LOG_OUTPUT_SYSLOG] = "syslog",
	[LOG_OUTPUT_FILE] = "file",
};
static const char *const wire_at_stop[] = {
	[WIRE_AT_STOP_DRAIN] = "drain",
	[WIRE_AT_STOP_LEAVE] = "leave",
};

static const char *const on_down[] = {
	[ON_DOWN_KEEP] = "keep",
	[ON_DOWN_CLOSE] = "close",
};

#define NAMES(list) .names = (list), .n_names = ARRAY_SIZE(list)
#define DURATION(from, to) .read = read_duration, .min = (from), .max = (to)

/* The first ones have no default, so Defaults takes only what comes after them. */
static const struct key app_keys[] = {
	{ "Name", read_name, .offset = offsetof(struct app_conf, name), .required = true,
	  .must = "1 to 64 printable characters, none of them invisible, without blanks at the ends" },
	{ "Ports", read_ports, .must = PORTS_MUST },
	{ "Targets", read_targets, .required = true,
	  .must = "an array of targets (\"host:port\" or {\"Address\": ..., \"Weight\": ...}), "
		  "at least one" },
#define APP_KEYS_WITHOUT_DEFAULT 3
	{ "Listen", read_listen, .must = LISTEN_MUST },
	{ "ListenMode", read_mode, .offset = offsetof(struct app_conf, listen_mode) },
	{ "Balance", read_balancer, .offset = offsetof(struct app_conf, balance) },
	{ "Engine", read_engine, .offset = offsetof(struct app_conf, engine) },
	{ "Wire", read_bool, .offset = offsetof(struct app_conf, wire) },
	{ "LocalBypass", read_bool, .offset = offsetof(struct app_conf, local_bypass) },
	{ "ConnectTimeout", DURATION(1, DURATION_MAX_MS),
	  .offset = offsetof(struct app_conf, connect_timeout_ms) },
	{ "ConnectRetries", read_uint, .offset = offsetof(struct app_conf, connect_retries),
	  .max = CONNECT_RETRIES_ALL - 1 },
	{ "IdleTimeout", DURATION(0, DURATION_MAX_MS),
	  .offset = offsetof(struct app_conf, idle_timeout_ms) },
	{ "HalfCloseTimeout", DURATION(0, DURATION_MAX_MS),
	  .offset = offsetof(struct app_conf, half_close_timeout_ms) },
	{ "KeepAlive", DURATION(0, KEEPALIVE_MAX_MS),
	  .offset = offsetof(struct app_conf, keepalive_ms) },
	{ "MaxConnections", read_uint, .offset = offsetof(struct app_conf, max_connections),
	  .max = UINT32_MAX },
	{ "HealthCheck", read_health_check, .must = "an object, or \"off\"" },
	{ "SlowStart", DURATION(0, DURATION_MAX_MS),
	  .offset = offsetof(struct app_conf, slow_start_ms) },
	{ "OnDown", read_enum, .offset = offsetof(struct app_conf, on_down), NAMES(on_down) },
	{ "MaxQueue", read_uint, .offset = offsetof(struct app_conf, max_queue),
	  .max = UINT32_MAX },
	{ "QueueTimeout", DURATION(1, DURATION_MAX_MS),
	  .offset = offsetof(struct app_conf, queue_timeout_ms) },
	{ "MaxConnectionsPerSource", read_uint, .offset = offsetof(struct app_conf, max_per_source),
	  .max = UINT32_MAX },
	{ "ConnectionRatePerSource", read_rate,
	  .offset = offsetof(struct app_conf, rate_per_source), .max = RATE_MAX },
	{ "ConnectionBurstPerSource", read_uint,
	  .offset = offsetof(struct app_conf, burst_per_source), .max = RATE_MAX },
	{ "Backlog", read_uint, .offset = offsetof(struct app_conf, backlog), .min = 1,
	  .max = BACKLOG_MAX },
	{ "ProxyProtocol", read_proxy_protocol, .must = "an object" },
	{ "SourceAddresses", read_sources, .offset = offsetof(struct app_conf, sources),
	  .must = SOURCES_MUST },
	{ "Transparent", read_bool, .offset = offsetof(struct app_conf, transparent) },
};

static const struct key log_keys[] = {
	{ "Level", read_enum, .offset = offsetof(struct config, log.level), NAMES(log_levels),
	  .live = true },
	{ "Format", read_enum, .offset = offsetof(struct config, log.format), NAMES(log_formats),
	  .live = true },
	{ "Output", read_enum, .offset = offsetof(struct config, log.output), NAMES(log_outputs),
	  .live = true },
	{ "File", read_path, .offset = offsetof(struct config, log.file),
	  .max = LOG_FILE_MAX_BYTES },
	{ "Access", read_bool, .offset = offsetof(struct config, access_log), .live = true },
};

static const struct key sockmap_keys[] = {
	{ "Flows", read_uint, .offset = offsetof(struct config, sockmap_flows), .min = 1,
	  .max = CONFIG_SOCKMAP_FLOWS_MAX },
	{ "BacklogKiB", read_uint, .offset = offsetof(struct config, sockmap_backlog_kib), .min = 1,
	  .max = CONFIG_SOCKMAP_BACKLOG_MAX_KIB },
};

static const struct key wire_keys[] = {
	{ "Flows", read_uint, .offset = offsetof(struct config, wire.flows), .min = 1,
	  .max = CONFIG_WIRE_FLOWS_MAX },
	{ "Devices", read_wire_devices,
	  .must = "an array of network devices such as \"eth0\", at least one" },
	{ "AtStop", read_enum, .offset = offsetof(struct config, wire.at_stop),
	  NAMES(wire_at_stop) },
	{ "Pins", read_path_or_none, .offset = offsetof(struct config, wire.pins),
	  .max = WIRE_PINS_MAX_BYTES,
	  .must = "the absolute path of a folder, or \"\" for no pins" },
};

static const struct key bypass_keys[] = {
	{ "Cgroup", read_path_or_none, .offset = offsetof(struct config, bypass.cgroup),
	  .max = BYPASS_CGROUP_MAX_BYTES,
	  .must = "the absolute path of a cgroup of version 2, or \"\" for all of them" },
	{ "Flows", read_uint, .offset = offsetof(struct config, bypass.flows), .min = 1,
	  .max = CONFIG_BYPASS_FLOWS_MAX },
	{ "UnreadKiB", read_uint, .offset = offsetof(struct config, bypass.unread_kib), .min = 1,
	  .max = CONFIG_BYPASS_UNREAD_MAX_KIB },
};

static const struct key admin_keys[] = {
	{ "Socket", read_admin_socket,
	  .must = "an absolute path of at most 107 bytes, or \"\" for no socket" },
	{ "Http", read_admin_http,
	  .must = "a port of the loopback (1 to 65535), an address with a port such as "
		  "\"192.0.2.1:9640\" or \"[::1]:9640\", a link-local one with its interface, or "
		  "\"\" for none" },
};
_Static_assert(ADMIN_SOCKET_MAX_BYTES == 107, "as the message says");

static const struct key root_keys[] = {
	{ "Engine", read_engine, .offset = offsetof(struct config, engine), .live = true },
	{ "Workers", read_uint, .offset = offsetof(struct config, workers),
	  .max = CONFIG_WORKERS_MAX },
	{ "DrainTimeout", DURATION(0, DURATION_MAX_MS),
	  .offset = offsetof(struct config, drain_timeout_ms), .live = true },
	{ "MaxConnections", read_uint, .offset = offsetof(struct config, max_connections),
	  .max = UINT32_MAX, .live = true },
	{ "Log", read_log, .must = "an object" },
	{ "Sockmap", read_sockmap, .must = "an object" },
	{ "Wire", read_wire, .must = "an object" },
	{ "Bypass", read_bypass, .must = "an object" },
	{ "Admin", read_admin, .must = "an object" },
	{ "Defaults", read_defaults, .must = "an object with options of apps" },
	{ "Apps", note_apps, .required = true, .must = "an array of apps, at least one" },
};

static const struct object_kind root_kind = { "", root_keys, ARRAY_SIZE(root_keys) };
static const struct object_kind log_kind = { "Log", log_keys, ARRAY_SIZE(log_keys) };
static const struct object_kind sockmap_kind = { "Sockmap", sockmap_keys,
						 ARRAY_SIZE(sockmap_keys) };
static const struct object_kind wire_kind = { "Wire", wire_keys, ARRAY_SIZE(wire_keys) };
static const struct object_kind bypass_kind = { "Bypass", bypass_keys, ARRAY_SIZE(bypass_keys) };
static const struct object_kind admin_kind = { "Admin", admin_keys, ARRAY_SIZE(admin_keys) };
static const struct object_kind defaults_kind = {
	"Defaults",
	app_keys + APP_KEYS_WITHOUT_DEFAULT,
	ARRAY_SIZE(app_keys) - APP_KEYS_WITHOUT_DEFAULT,
};
static const struct object_kind app_kind = { "Apps[]", app_keys, ARRAY_SIZE(app_keys) };
_Static_assert(ARRAY_SIZE(app_keys) <= OBJECT_KEYS_MAX, "read_object() must keep track of each");

const struct object_kind *const config_kinds[] = {
	&root_kind,
	&log_kind,
	&sockmap_kind,
	&wire_kind,
	&bypass_kind,
	&admin_kind,
	&defaults_kind,
	&app_kind,
	&config_target_kind,
	&config_health_kind,
	&config_proxy_protocol_kind,
};
const size_t n_config_kinds = ARRAY_SIZE(config_kinds);

void config_each_key(void (*visit)(const char *object, const char *key, void *arg), void *arg)
{
	for (size_t i = 0; i < n_config_kinds; i++) {
		for (size_t k = 0; k < config_kinds[i]->n_keys; k++)
			visit(config_kinds[i]->name, config_kinds[i]->keys[k].name, arg);
	}
}

const struct object_kind *config_app_section(const char *key)
{
	static const char prefix[] = "Apps[].";
	const size_t len = strlen(prefix);

	for (size_t i = 0; i < n_config_kinds; i++)
		if (config_kinds[i] != &config_health_kind &&
		    !strncmp(config_kinds[i]->name, prefix, len) &&
		    !strcmp(config_kinds[i]->name + len, key))
			return config_kinds[i];
	return NULL;
}

/* A space, or the one that does not break lines, which looks the same. */
static size_t blank_len(const char *s)
{
	return *s == ' ' ? 1 : strncmp(s, "\u00a0", 2) ? 0 : 2;
}

static bool name_fits(const char *name)
{
	size_t left = strlen(name), chars = 0;

	if (!left || blank_len(name) || blank_len(name + left - 1) == 1 ||
	    (left > 1 && blank_len(name + left - 2) == 2))
		return false;
	for (size_t n; left; name += n, left -= n, chars++) {
		n = utf8_char_len(name, left);
		if (!n || control_char(name) || unseen_char(name))
			return false;
	}
	return chars <= APP_NAME_MAX_CHARS;
}

/* A name that is refused is kept all the same: errors are told by it. */
static void read_name(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	struct parser *p = parser_of(r);
	char **name = field;

	if (!reader_type(r, v, key->name, cJSON_String, key->must))
		return;
	*name = xstrdup(v->item->valuestring);
	if (!name_fits(*name))
		reader_reject(r, v, key->name, cJSON_String, key->must);
	p->names[p->n_names++] = (struct mention){ xstrdup(*name), v->at };
}

static void read_ports(struct reader *r, const struct key *key, const struct json *v, void *app)
{
	(void)app; /* gets them by port_book_claim() */
	port_book_read(parser_of(r)->ports, r, parser_of(r)->app, v, key);
}

static void read_section(struct reader *r, const struct key *key, const struct json *v,
			 const struct object_kind *kind, void *object)
{
	if (!reader_type(r, v, key->name, cJSON_Object, key->must))
		return;
	reader_scope(r, key->name);
	read_object(r, v, kind, object);
	reader_scope(r, NULL);
}

static void read_log(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	read_section(r, key, v, &log_kind, config);
}

static void read_sockmap(struct reader *r, const struct key *key, const struct json *v,
			 void *config)
{
	read_section(r, key, v, &sockmap_kind, config);
}

static void read_wire(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	read_section(r, key, v, &wire_kind, config);
}

static void read_bypass(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	read_section(r, key, v, &bypass_kind, config);
}

static void read_admin(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	read_section(r, key, v, &admin_kind, config);
}

static void read_defaults(struct reader *r, const struct key *key, const struct json *v,
			  void *config)
{
	(void)config; /* holds them only in its apps */
	read_section(r, key, v, &defaults_kind, &parser_of(r)->defaults);
}

static void note_apps(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	(void)config;
	if (reader_filled_array(r, key, v))
		parser_of(r)->apps = v;
}

/* Before the app is read, for its errors; its Name may stand behind them. */
static const char *name_of(const struct json *app)
{
	if (!cJSON_IsObject(app->item))
		return NULL;
	json_for_each(member, app) {
		if (!strcmp(member->item->string, "Name") && cJSON_IsString(member->item))
			return member->item->valuestring;
	}
	return NULL;
}

static void read_app(struct parser *p, const struct json *v, struct app_conf *app)
{
	struct reader *r = &p->reader;

	*app = p->defaults;
	reader_scope_app(r, name_of(v), p->app);
	if (!reader_type(r, v, "this", cJSON_Object, "an object with Name, Ports and Targets"))
		return;
	read_object(r, v, &app_kind, app);
	check_proxy_protocol(r, app, v);
	check_sources(r, app, v);
	check_listen(r, app, v);
	check_effects(r, p->config, app, v);
	port_book_claim(p->ports, r, p->app, app, v->at);
}

static void read_apps(struct parser *p)
{
	struct config *c = p->config;

	c->n_apps = (size_t)cJSON_GetArraySize(p->apps->item);
	c->apps = xcalloc(c->n_apps, sizeof(*c->apps));
	p->names = xcalloc(c->n_apps, sizeof(*p->names));
	json_for_each(app, p->apps) {
		read_app(p, app, &c->apps[p->app]);
		p->app++;
	}
	reader_scope(&p->reader, NULL);
	reader_refuse_repeats(&p->reader, p->names, p->n_names, "app name");
	port_book_compare(p->ports, &p->reader, c->apps);
	check_loops(&p->reader, c, p->apps, p->ports);
}

static void set_defaults(struct parser *p, const struct config_vocabulary *v)
{
	*p->config = (struct config){
		.engine = v->engines[0],
		.log = { LOG_LEVEL_INFO, LOG_FORMAT_TEXT, LOG_OUTPUT_STDERR,
			 .file = xstrdup(LOG_FILE_DEFAULT) },
		.access_log = true,
		.sockmap_flows = SOCKMAP_FLOWS_DEFAULT,
		.sockmap_backlog_kib = SOCKMAP_BACKLOG_DEFAULT_KIB,
		.wire = { .flows = WIRE_FLOWS_DEFAULT, .pins = xstrdup(WIRE_PINS_DEFAULT) },
		.bypass = { .cgroup = xstrdup(""),
			    .flows = BYPASS_FLOWS_DEFAULT,
			    .unread_kib = BYPASS_UNREAD_DEFAULT_KIB },
		.admin_socket = xstrdup(ADMIN_SOCKET_DEFAULT),
		.admin_socket_is_default = true,
	};
	p->wildcards[0].in.sin_family = AF_INET; /* all zeros is the wildcard of both */
	p->wildcards[1].in6.sin6_family = AF_INET6;
	p->defaults = (struct app_conf){
		.listen = p->wildcards,
		.n_listen = ARRAY_SIZE(p->wildcards),
		.listen_is_default = true,
		.listen_mode = LISTEN_MODE_DEFAULT,
		.balance = v->balancers[0],
		.wire = true,
		.connect_timeout_ms = CONNECT_TIMEOUT_DEFAULT_MS,
		.connect_retries = CONNECT_RETRIES_ALL,
		.idle_timeout_ms = IDLE_TIMEOUT_DEFAULT_MS,
		.half_close_timeout_ms = HALF_CLOSE_TIMEOUT_DEFAULT_MS,
		.keepalive_ms = KEEPALIVE_DEFAULT_MS,
		.health = HEALTH_CONF_DEFAULT,
		.queue_timeout_ms = QUEUE_TIMEOUT_DEFAULT_MS,
		.backlog = BACKLOG_DEFAULT,
		.proxy_protocol.timeout_ms = PROXY_TIMEOUT_DEFAULT_MS,
	};
}

/* Gives each borrower of a default list a copy of its own, or nothing when the config is refused:
 * only an accepted one bounds the copies, by its limit of listeners. */
static void end_borrowing(struct parser *p, bool accepted)
{
	struct app_conf *defaults = &p->defaults;

	for (size_t i = 0; i < p->config->n_apps; i++) {
		struct app_conf *app = &p->config->apps[i];

		listen_end_borrowing(app, defaults, accepted);
		ranges_end_borrowing(&app->proxy_protocol.trusted,
				     &defaults->proxy_protocol.trusted, accepted);
		ranges_end_borrowing(&app->sources, &defaults->sources, accepted);
	}
	free(defaults->proxy_protocol.trusted.at);
	free(defaults->sources.at);
	if (defaults->listen == p->wildcards)
		defaults->listen = NULL;
	listen_free(defaults);
}

struct config *config_parse(const char *text, size_t len, const struct config_vocabulary *v,
			    struct config_errors *errors)
{
	struct parser p = { .reader = { .words = v, .errors = errors } };
	struct json_doc doc = { 0 };
	struct json_error wrong;

	*errors = (struct config_errors){ 0 };
	if (json_parse(text, len, &doc, &wrong)) {
		reader_fail(&p.reader, wrong.at, "%s", wrong.text);
		return NULL;
	}
	p.config = xcalloc(1, sizeof(*p.config));
	p.ports = port_book_new();
	set_defaults(&p, v);
	if (reader_type(&p.reader, doc.values, "the document", cJSON_Object,
			"an object with Apps")) {
		read_object(&p.reader, doc.values, &root_kind, p.config);
		if (p.apps) {
			read_apps(&p);
			check_admin(&p.reader, p.config, doc.values, p.ports);
			check_daemon_effects(&p.reader, p.config, doc.values);
		}
	}
	end_borrowing(&p, !errors->total);
	port_book_free(p.ports);
	json_free(&doc);
	if (!errors->total)
		return p.config;
	config_free(p.config);
	return NULL;
}

void app_conf_free(struct app_conf *app)
{
	for (size_t i = 0; i < app->n_targets; i++)
		free(app->targets[i].text);
	free(app->targets);
	free(app->proxy_protocol.trusted.at);
	free(app->sources.at);
	listen_free(app);
	free(app->ports);
	free(app->name);
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_apps; i++)
		app_conf_free(&c->apps[i]);
	free(c->apps);
	for (size_t i = 0; i < c->wire.n_devices; i++)
		free(c->wire.devices[i]);
	free(c->wire.devices);
	free(c->wire.pins);
	free(c->bypass.cgroup);
	free(c->admin_socket);
	free(c->log.file);
	config_errors_free(&c->notes);
	free(c);
}

void config_errors_free(struct config_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		free(errors->list[i].text);
	*errors = (struct config_errors){ 0 };
}
