/* SPDX-License-Identifier: MIT */
#include "config_effect.h"

#include <string.h>

/*
 * What keeps a key of the app from having an effect; NULL: nothing does, or its value is the
 * default, which is as well not given (and which `shunt config` gives).
 */
typedef const char *why_idle(const struct config *c, const struct app_conf *app);

static const char *idle_queue(const struct config *c, const struct app_conf *app)
{
	(void)c;
	if (!app->max_queue || app->max_connections)
		return NULL;
	for (size_t i = 0; i < app->n_targets; i++)
		if (app->targets[i].max_connections)
			return NULL;
	return "neither the app nor a target has MaxConnections that could be waited for";
}

static const char *idle_queue_timeout(const struct config *c, const struct app_conf *app)
{
	(void)c;
	return app->queue_timeout_ms != QUEUE_TIMEOUT_DEFAULT_MS && !app->max_queue
		       ? "nobody waits, since MaxQueue is 0"
		       : NULL;
}

static const char *idle_burst(const struct config *c, const struct app_conf *app)
{
	(void)c;
	return app->burst_per_source && !app->rate_per_source.n
		       ? "ConnectionRatePerSource sets no rate"
		       : NULL;
}

static const char *idle_mode(const struct config *c, const struct app_conf *app)
{
	(void)c;
	for (size_t i = 0; i < app->n_sockets; i++)
		if (*app->sockets[i] == '/')
			return NULL;
	return app->listen_mode != LISTEN_MODE_DEFAULT ? "Listen has no unix socket with a path"
						       : NULL;
}

static const char *idle_wire(const struct config *c, const struct app_conf *app)
{
	const char *engine = app->engine ? app->engine : c->engine;

	return !app->wire && !strcmp(engine, "wire")
		       ? "it is for Engine \"auto\", and Engine is \"wire\""
		       : NULL;
}

static const char *idle_bypass(const struct config *c, const struct app_conf *app)
{
	(void)c;
	return app->local_bypass && app_conf_has_header(app)
		       ? "no connection with a PROXY header is bypassed"
		       : NULL;
}

static const char *idle_slow_start(const struct config *c, const struct app_conf *app)
{
	(void)c;
	return app->slow_start_ms && !strcmp(app->balance, "source_hash")
		       ? "Balance \"source_hash\" goes by the whole weight at all times"
		       : NULL;
}

static const char *idle_acceptance(const struct config *c, const struct app_conf *app)
{
	const struct proxy_protocol_conf *conf = &app->proxy_protocol;

	(void)c;
	return (conf->trusted.n || conf->timeout_ms != PROXY_TIMEOUT_DEFAULT_MS) &&
			       conf->accept == PROXY_ACCEPT_OFF
		       ? "no header is read, since Accept is \"off\""
		       : NULL;
}

static const struct {
	const char *section; /* NULL: the app itself */
	const char *key;
	why_idle *why;
} dependent[] = {
	{ NULL, "MaxQueue", idle_queue },
	{ NULL, "QueueTimeout", idle_queue_timeout },
	{ NULL, "ConnectionBurstPerSource", idle_burst },
	{ NULL, "ListenMode", idle_mode },
	{ NULL, "Wire", idle_wire },
	{ NULL, "LocalBypass", idle_bypass },
	{ NULL, "SlowStart", idle_slow_start },
	{ "ProxyProtocol", "TrustedFrom", idle_acceptance },
	{ "ProxyProtocol", "Timeout", idle_acceptance },
};

/* Of a target that is a name it is not known yet; a unix socket has no source. */
static bool has_source_for(const struct app_conf *app, const struct target_conf *t)
{
	if (!app->sources.n || !t->is_literal || !addr_is_ip(&t->addr))
		return true;
	for (size_t i = 0; i < app->sources.n; i++)
		if (app->sources.at[i].host.sa.sa_family == t->addr.sa.sa_family)
			return true;
	return false;
}

static void check_sources_of_targets(struct reader *r, struct config *c, const struct app_conf *app,
				     const struct json *v)
{
	const struct json *targets = json_member(v, "Targets");
	const struct target_conf *t = app->targets;
	char shown[QUOTED_MAX];

	if (!app->n_targets)
		return;
	json_for_each(element, targets) {
		if (!has_source_for(app, t))
			reader_note(r, &c->notes, element->at,
				    "target %s is never reached: SourceAddresses has no address of "
				    "its family, %s",
				    quoted(shown, t->text),
				    t->addr.sa.sa_family == AF_INET ? "IPv4" : "IPv6");
		t++;
	}
}

void check_effects(struct reader *r, struct config *c, const struct app_conf *app,
		   const struct json *v)
{
	for (size_t i = 0; i < ARRAY_SIZE(dependent); i++) {
		const char *section = dependent[i].section;
		const struct json *in = section ? json_member(v, section) : v;
		const struct json *given = in ? json_member(in, dependent[i].key) : NULL;
		const char *why = given ? dependent[i].why(c, app) : NULL;

		if (why)
			reader_note(r, &c->notes, given->key_at, "%s%s%s has no effect: %s",
				    section ? section : "", section ? "." : "", dependent[i].key,
				    why);
	}
	check_sources_of_targets(r, c, app, v);
}

static bool has_bypass(const struct config *c)
{
	for (size_t i = 0; i < c->n_apps; i++)
		if (c->apps[i].local_bypass)
			return true;
	return false;
}

static bool is_default_bypass(const struct bypass_conf_keys *b)
{
	return !*b->cgroup && b->flows == BYPASS_FLOWS_DEFAULT &&
	       b->unread_kib == BYPASS_UNREAD_DEFAULT_KIB;
}

void check_daemon_effects(struct reader *r, struct config *c, const struct json *root)
{
	const struct json *wire = json_member(root, "Wire"), *bypass = json_member(root, "Bypass");
	const struct json *at_stop = wire ? json_member(wire, "AtStop") : NULL;

	if (at_stop && c->wire.at_stop == WIRE_AT_STOP_LEAVE && !*c->wire.pins) {
		reader_scope(r, "Wire");
		reader_note(r, &c->notes, at_stop->key_at,
			    "AtStop has no effect: flows can be left only with Pins, and Pins is "
			    "\"\"");
	}
	if (bypass && !is_default_bypass(&c->bypass) && !has_bypass(c)) {
		reader_scope(r, NULL);
		reader_note(r, &c->notes, bypass->key_at,
			    "Bypass has no effect: no app has LocalBypass");
	}
}
