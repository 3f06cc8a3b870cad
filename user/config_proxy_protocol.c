/* SPDX-License-Identifier: MIT */
#include "config_proxy_protocol.h"

#include "config_ranges.h"

static const char *const accept_names[] = {
	[PROXY_ACCEPT_OFF] = "off",
	[PROXY_ACCEPT_ON] = "on",
};
static const char *const version_names[] = {
	[PROXY_HEADER_NONE] = "off",
	[PROXY_HEADER_V1] = "v1",
	[PROXY_HEADER_V2] = "v2",
};

#define FIELD(name) .offset = offsetof(struct app_conf, proxy_protocol.name)

static const struct key keys[] = {
	{ "Accept", read_enum, FIELD(accept), .names = accept_names,
	  .n_names = ARRAY_SIZE(accept_names) },
	{ "Send", read_enum, FIELD(send), .names = version_names,
	  .n_names = ARRAY_SIZE(version_names) },
	{ "TrustedFrom", read_ranges, FIELD(trusted), .must = RANGES_MUST },
	{ "Timeout", read_duration, FIELD(timeout_ms), .min = 1, .max = DURATION_MAX_MS },
};

const struct object_kind config_proxy_protocol_kind = {
	"Apps[].ProxyProtocol",
	keys,
	ARRAY_SIZE(keys),
};

void read_proxy_protocol(struct reader *r, const struct key *key, const struct json *v, void *app)
{
	if (reader_type(r, v, key->name, cJSON_Object, key->must))
		read_object(r, v, &config_proxy_protocol_kind, app);
}

void check_proxy_protocol(struct reader *r, const struct app_conf *app, const struct json *v)
{
	const struct proxy_protocol_conf *conf = &app->proxy_protocol;

	/* A list of which nothing was right has been complained of. */
	if (conf->accept == PROXY_ACCEPT_OFF || conf->trusted.at)
		return;
	reader_fail(
		r, v->at,
		"ProxyProtocol.TrustedFrom is missing, with Accept \"on\" it must be " RANGES_MUST
		"; [\"0.0.0.0/0\", \"::/0\"] is everybody");
}

bool app_conf_has_header(const struct app_conf *app)
{
	return app->proxy_protocol.accept != PROXY_ACCEPT_OFF ||
	       app->proxy_protocol.send != PROXY_HEADER_NONE;
}
