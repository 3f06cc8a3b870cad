/* SPDX-License-Identifier: MIT */
#include "config_target.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static key_reader read_address;

static const struct key target_keys[] = {
	{ "Address", read_address, .required = true,
	  .must = "a string \"host:port\" or \"unix:/path\"" },
	{ "Weight", read_uint, .offset = offsetof(struct target_conf, weight), .min = 1,
	  .max = CONFIG_WEIGHT_MAX },
	{ "MaxConnections", read_uint, .offset = offsetof(struct target_conf, max_connections),
	  .max = UINT32_MAX },
};

const struct object_kind config_target_kind = {
	"Apps[].Targets[]",
	target_keys,
	ARRAY_SIZE(target_keys),
};

static void set_unix_target(struct reader *r, const char *what, const struct json *v,
			    struct target_conf *t)
{
	const char *why = addr_unix_path_fault(addr_unix_path(v->item->valuestring));
	char shown[QUOTED_MAX];

	if (why) {
		reader_fail(r, v->at, "%s %s: %s", what, quoted(shown, v->item->valuestring), why);
		return;
	}
	if (!reader_plain(r, v, what))
		return;
	t->text = xstrdup(v->item->valuestring);
	t->is_literal = true;
	t->addr = addr_of_unix(addr_unix_path(t->text));
}

static void set_target(struct reader *r, const char *what, const struct json *v,
		       struct target_conf *t)
{
	char shown[QUOTED_MAX];
	const char *why;

	if (!reader_type(r, v, what, cJSON_String, "\"host:port\" or \"unix:/path\""))
		return;
	if (addr_unix_path(v->item->valuestring)) {
		set_unix_target(r, what, v, t);
		return;
	}
	if (host_port_parse(v->item->valuestring, &t->at, &why)) {
		if (!strncmp(v->item->valuestring, ADDR_UNIX_PREFIX, strlen(ADDR_UNIX_PREFIX)))
			why = "write \"unix:/path\" or \"unix:@name\"";
		reader_fail(r, v->at, "%s %s: %s", what, quoted(shown, v->item->valuestring), why);
		return;
	}
	t->text = xstrdup(v->item->valuestring);
	t->is_literal = !addr_parse_host(t->at.host, &t->addr);
	if (t->is_literal)
		addr_set_port(&t->addr, t->at.port);
}

static void read_address(struct reader *r, const struct key *key, const struct json *v,
			 void *target)
{
	set_target(r, key->name, v, target);
}

/* The same for targets that mean the same: literals in one form, names in lower case. */
static char *target_identity(const struct target_conf *t)
{
	char text[MAX(ADDR_TEXT_MAX, HOST_NAME_MAX_CHARS + sizeof(".:65535"))];
	size_t len = strlen(t->at.host);

	if (t->is_literal)
		return xstrdup(addr_format(&t->addr, text));
	if (len && t->at.host[len - 1] == '.')
		len--;
	snprintf(text, sizeof(text), "%.*s:%u", (int)len, t->at.host, t->at.port);
	for (char *c = text; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return xstrdup(text);
}

void read_targets(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	struct app_conf *app = field;
	struct mention *seen;
	size_t n, n_seen = 0;

	if (!reader_filled_array(r, key, v))
		return;
	n = (size_t)cJSON_GetArraySize(v->item);
	app->targets = xcalloc(n, sizeof(*app->targets));
	seen = xcalloc(n, sizeof(*seen));
	json_for_each(element, v) {
		struct target_conf *t = &app->targets[app->n_targets++];

		t->weight = 1;
		if (cJSON_IsObject(element->item))
			read_object(r, element, &config_target_kind, t);
		else
			set_target(r, "target", element, t);
		if (t->text)
			seen[n_seen++] = (struct mention){ target_identity(t), element->at };
	}
	reader_refuse_repeats(r, seen, n_seen, "target");
}
