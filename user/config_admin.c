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

/* Of the default, too: who made it first would have it, and the other one would tell of a daemon
 * that answers there. */
static void check_admin_socket(struct reader *r, const struct config *c, const struct json *given,
			       const struct port_book *ports)
{
	const struct addr at = addr_of_unix(c->admin_socket);
	struct port_holder holder;
	char path[QUOTED_MAX], name[QUOTED_MAX];

	if (!*c->admin_socket || !port_book_taken(ports, &at, &holder))
		return;
	if (given) {
		reader_scope(r, "Admin");
		reader_fail(r, given->at,
			    "Socket %s is where app %s listens (line %u), must be another path",
			    quoted(path, c->admin_socket),
			    quoted_name(name, c->apps[holder.app].name), holder.at.line);
		return;
	}
	reader_scope_app(r, c->apps[holder.app].name, holder.app);
	reader_fail(r, holder.at,
		    "unix:%s is the default of Admin.Socket, must be another, or Admin.Socket must",
		    c->admin_socket);
}

static void check_admin_http(struct reader *r, const struct config *c, const struct json *given,
			     const struct port_book *ports)
{
	char at[ADDR_TEXT_MAX], name[QUOTED_MAX];
	struct port_holder holder;

	if (!given || !addr_is_ip(&c->admin_http) ||
	    !port_book_taken(ports, &c->admin_http, &holder))
		return;
	reader_scope(r, "Admin");
	reader_fail(r, given->at,
		    "Http %s is where app %s listens (line %u), must be another port or another "
		    "address",
		    addr_format(&c->admin_http, at), quoted_name(name, c->apps[holder.app].name),
		    holder.at.line);
}

void check_admin(struct reader *r, const struct config *c, const struct json *root,
		 const struct port_book *ports)
{
	const struct json *admin = json_member(root, "Admin");

	check_admin_socket(r, c, admin ? json_member(admin, "Socket") : NULL, ports);
	check_admin_http(r, c, admin ? json_member(admin, "Http") : NULL, ports);
}
