/* SPDX-License-Identifier: MIT */
#include "config_listen.h"

#include <string.h>

#define MODE_DIGITS 3

/* One of Listen, in the one form that those that are the same have. False: it is wrong, and is left
 * out, so that no clash is reported for it. */
static bool read_place(struct reader *r, const struct json *v, struct app_conf *app,
		       struct mention *seen)
{
	static const char must[] =
		"an address such as \"192.0.2.1\", \"0.0.0.0\" or \"::\", or a unix "
		"socket such as \"unix:/run/app.sock\"";
	struct addr *addr = &app->listen[app->n_listen];
	char text[ADDR_TEXT_MAX], shown[QUOTED_MAX];
	const char *path;

	if (!reader_type(r, v, "a Listen address", cJSON_String, must))
		return false;
	path = addr_unix_path(v->item->valuestring);
	if (path && !reader_plain(r, v, "a Listen address"))
		return false;
	if (path && !addr_unix_path_fault(path)) {
		app->sockets[app->n_sockets++] = xstrdup(path);
		*seen = (struct mention){ xstrdup(v->item->valuestring), v->at };
		return true;
	}
	if (path) {
		reader_fail(r, v->at, "a Listen address %s: %s",
			    quoted(shown, v->item->valuestring), addr_unix_path_fault(path));
		return false;
	}
	if (addr_parse_host(v->item->valuestring, addr)) {
		reader_reject(r, v, "a Listen address", cJSON_String, must);
		return false;
	}
	if (addr_lacks_scope(addr)) {
		reader_reject(r, v, "a Listen address", cJSON_String,
			      "with its interface, since it is link-local: such as "
			      "\"fe80::1%eth0\"");
		return false;
	}
	app->n_listen++;
	*seen = (struct mention){ xstrdup(addr_format_host(addr, text)), v->at };
	return true;
}

void read_listen(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	struct app_conf *app = field;
	struct mention *seen;
	size_t n, n_seen = 0;

	app->listen = NULL;
	app->sockets = NULL;
	app->n_listen = app->n_sockets = 0;
	app->listen_is_default = false;
	if (!reader_filled_array(r, key, v))
		return;
	n = (size_t)cJSON_GetArraySize(v->item);
	app->listen = xcalloc(n, sizeof(*app->listen));
	app->sockets = xcalloc(n, sizeof(*app->sockets));
	seen = xcalloc(n, sizeof(*seen));
	json_for_each(element, v) {
		if (read_place(r, element, app, &seen[n_seen]))
			n_seen++;
	}
	reader_refuse_repeats(r, seen, n_seen, "Listen address");
}

void read_mode(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	static const char must[] = "a mode in octal such as \"0660\" or \"0600\"";
	const char *text = v->item->valuestring;

	if (!reader_type(r, v, key->name, cJSON_String, must))
		return;
	if (strlen(text) != MODE_DIGITS + 1 || text[0] != '0' ||
	    strspn(text, "01234567") != MODE_DIGITS + 1) {
		reader_reject(r, v, key->name, cJSON_String, must);
		return;
	}
	*(uint32_t *)field = (uint32_t)strtoul(text, NULL, 8);
}

void check_listen(struct reader *r, const struct app_conf *app, const struct json *v)
{
	bool only_sockets = app->n_sockets && !app->n_listen;
	bool has_ports = cJSON_GetObjectItemCaseSensitive(v->item, "Ports") != NULL;

	if (!only_sockets && !has_ports)
		reader_fail(r, v->at, "Ports is missing, must be " PORTS_MUST);
	if (only_sockets && has_ports)
		reader_fail(r, v->at,
			    "Ports is given, but Listen has no address that they are on: only unix "
			    "sockets, which have none");
}

void listen_end_borrowing(struct app_conf *app, const struct app_conf *defaults, bool accepted)
{
	size_t n = defaults->n_listen, n_sockets = defaults->n_sockets;

	if (app->listen != defaults->listen)
		return;
	app->listen = NULL;
	app->sockets = NULL;
	app->n_sockets = 0;
	if (!accepted)
		return;
	app->listen = xcalloc(n, sizeof(*app->listen));
	memcpy(app->listen, defaults->listen, n * sizeof(*app->listen));
	app->sockets = xcalloc(n_sockets, sizeof(*app->sockets));
	for (; app->n_sockets < n_sockets; app->n_sockets++)
		app->sockets[app->n_sockets] = xstrdup(defaults->sockets[app->n_sockets]);
}

void listen_free(struct app_conf *app)
{
	for (size_t i = 0; i < app->n_sockets; i++)
		free(app->sockets[i]);
	free(app->sockets);
	free(app->listen);
}

size_t app_conf_listeners(const struct app_conf *app)
{
	return app->n_ports * app->n_listen + app->n_sockets;
}

size_t app_conf_last_in_row(const struct app_conf *app, size_t i)
{
	while (i + 1 < app->n_ports && app->ports[i + 1] == app->ports[i] + 1)
		i++;
	return i;
}

struct addr app_conf_listener(const struct app_conf *app, size_t k)
{
	struct addr at;

	if (k < app->n_sockets)
		return addr_of_unix(app->sockets[k]);
	k -= app->n_sockets;
	at = app->listen[k / app->n_ports];
	addr_set_port(&at, app->ports[k % app->n_ports]);
	return at;
}
