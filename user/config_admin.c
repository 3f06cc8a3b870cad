/* SPDX-License-Identifier: MIT */
#include "config_admin.h"

#include <string.h>

#define PORT_MAX 65535

void read_admin_socket(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	struct config *c = config;
	const char *path;

	if (!reader_type(r, v, key->name, cJSON_String, key->must))
		return;
	path = v->item->valuestring;
	if ((*path && *path != '/') || strlen(path) > ADMIN_SOCKET_MAX_BYTES) {
		reader_reject(r, v, key->name, cJSON_String, key->must);
		return;
	}
	if (!reader_plain(r, v, key->name))
		return;
	free(c->admin_socket);
	c->admin_socket = xstrdup(path);
	c->admin_socket_is_default = false;
}

/* "" switches it off. False: it is no address with a port. */
static bool parse_http(const char *text, struct addr *at)
{
	struct host_port parts;
	const char *why;

	*at = (struct addr){ 0 };
	if (!*text)
		return true;
	if (host_port_parse(text, &parts, &why) || addr_parse_host(parts.host, at))
		return false;
	addr_set_port(at, parts.port);
	return true;
}

/* A port alone is one of the loopback: whoever wants others to read it has to say so. */
void read_admin_http(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	struct config *c = config;
	double port = v->item->valuedouble;
	struct addr at;

	if (cJSON_IsString(v->item) && parse_http(v->item->valuestring, &at)) {
		c->admin_http = at;
	} else if (cJSON_IsNumber(v->item) && port >= 1 && port <= PORT_MAX &&
		   port == (double)(uint16_t)port) {
		c->admin_http = (struct addr){ .in = { .sin_family = AF_INET } };
		c->admin_http.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		addr_set_port(&c->admin_http, (uint16_t)port);
	} else {
		reader_reject(r, v, key->name,
			      cJSON_IsNumber(v->item) ? cJSON_Number : cJSON_String, key->must);
	}
}
