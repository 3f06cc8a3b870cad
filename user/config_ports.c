/* SPDX-License-Identifier: MIT */
/*
 * A range is what one element of "Ports" gives; a claim is one port of it on one address. Claims
 * are compared by sorting them: those of one family and port are then neighbours, the wildcard
 * address (all zeros) before the others, and equal addresses in the order of the text. So each
 * claim needs to be held against two others only, the first of its address and the first wildcard.
 */
#include "config_ports.h"

#include <ctype.h>
#include <string.h>

#define PORT_MAX 65535

struct range {
	struct json_pos at;
	uint32_t app;
	uint16_t first, last;
	bool refused; /* for a clash: one complaint a range is enough */
};

struct claim {
	const struct addr *addr;
	uint32_t range; /* its index: the order of the text */
	uint16_t port;
};

/* A unix socket that an app listens on. */
struct socket_claim {
	const char *path;
	struct json_pos at; /* of the app */
	uint32_t app;
};

struct port_book {
	struct range *ranges;
	size_t n_ranges, ranges_cap;
	struct claim *claims;
	size_t n_claims, claims_cap;
	struct socket_claim *sockets;
	size_t n_sockets, sockets_cap;
	size_t n_listeners; /* ports read, then also what their further addresses add */
	bool full;          /* and complained of */
	struct {
		struct json_pos at;
		uint32_t app; /* who named the port last, plus 1 */
	} named[PORT_MAX + 1];
};

struct port_book *port_book_new(void)
{
	return xcalloc(1, sizeof(struct port_book));
}

void port_book_free(struct port_book *b)
{
	if (!b)
		return;
	free(b->ranges);
	free(b->claims);
	free(b->sockets);
	free(b);
}

/* Makes room for `more` elements after the n that there are. */
static void *grow(void *list, size_t n, size_t more, size_t *cap, size_t size)
{
	if (n + more <= *cap)
		return list;
	*cap = MAX(n + more, 2 * *cap);
	return xreallocarray(list, *cap, size);
}

/* Counts them; false, after one complaint, when they are too many. */
static bool room_for(struct port_book *b, struct reader *r, size_t listeners, struct json_pos at)
{
	b->n_listeners += listeners;
	if (b->n_listeners <= CONFIG_LISTENERS_MAX)
		return true;
	if (!b->full)
		reader_fail(r, at,
			    "more than %u listeners (ports times addresses, in all apps), "
			    "must be fewer",
			    CONFIG_LISTENERS_MAX);
	b->full = true;
	return false;
}

static bool parse_port(const char **s, uint16_t *port)
{
	uint32_t n = 0;
	size_t digits = 0;

	for (; isdigit((unsigned char)**s) && digits < 5; (*s)++, digits++)
		n = n * 10 + (uint32_t)(**s - '0');
	*port = (uint16_t)n;
	return digits && n >= 1 && n <= PORT_MAX;
}

/* "6200-6210" */
static bool parse_range(const char *s, struct range *out)
{
	return parse_port(&s, &out->first) && *s++ == '-' && parse_port(&s, &out->last) && !*s &&
	       out->first <= out->last;
}

static bool read_range(struct reader *r, const struct json *v, struct range *out)
{
	double port = v->item->valuedouble;

	if (cJSON_IsString(v->item)) {
		if (parse_range(v->item->valuestring, out))
			return true;
		reader_reject(
			r, v, "a range of ports", cJSON_String,
			"two ports from 1 to 65535, the lower one first, such as \"6200-6210\"; "
			"a single port is a number without quotes");
		return false;
	}
	if (cJSON_IsNumber(v->item) && port >= 1 && port <= PORT_MAX &&
	    port == (double)(uint16_t)port) {
		out->first = out->last = (uint16_t)port;
		return true;
	}
	reader_reject(r, v, "a port", cJSON_Number,
		      "a whole number from 1 to 65535, or a range such as \"6200-6210\"");
	return false;
}

static size_t range_size(const struct range *range)
{
	return (size_t)range->last - range->first + 1;
}

/* How many it named: it stops, after a complaint, at the first that the app has already. */
static size_t name_ports(struct port_book *b, struct reader *r, const struct range *range)
{
	uint32_t port = range->first;

	for (; port <= range->last && b->named[port].app != range->app + 1; port++) {
		b->named[port].app = range->app + 1;
		b->named[port].at = range->at;
	}
	if (port <= range->last)
		reader_fail(r, range->at,
			    "port %u is given twice (first in line %u), must be given once", port,
			    b->named[port].at.line);
	return port - range->first;
}

/* Naming costs a step a port: room is asked for before, and given back for what was not named. */
static bool take_range(struct port_book *b, struct reader *r, const struct range *range)
{
	size_t size = range_size(range), named;

	if (!room_for(b, r, size, range->at))
		return false;
	named = name_ports(b, r, range);
	b->n_listeners -= size - named;
	return named == size;
}

void port_book_read(struct port_book *b, struct reader *r, uint32_t app, const struct json *v,
		    const struct key *key)
{
	if (!reader_filled_array(r, key, v))
		return;
	json_for_each(element, v) {
		struct range range = { .at = element->at, .app = app };

		if (!read_range(r, element, &range) || !take_range(b, r, &range))
			continue;
		b->ranges = grow(b->ranges, b->n_ranges, 1, &b->ranges_cap, sizeof(*b->ranges));
		b->ranges[b->n_ranges++] = range;
	}
}

static void claim_sockets(struct port_book *b, struct reader *r, uint32_t app,
			  const struct app_conf *conf, struct json_pos at)
{
	if (!conf->n_sockets || !room_for(b, r, conf->n_sockets, at))
		return;
	b->sockets = grow(b->sockets, b->n_sockets, conf->n_sockets, &b->sockets_cap,
			  sizeof(*b->sockets));
	for (size_t i = 0; i < conf->n_sockets; i++)
		b->sockets[b->n_sockets++] = (struct socket_claim){ conf->sockets[i], at, app };
}

void port_book_claim(struct port_book *b, struct reader *r, uint32_t app, struct app_conf *conf,
		     struct json_pos at)
{
	size_t first = b->n_ranges, n_ports = 0;

	claim_sockets(b, r, app, conf, at);
	for (; first > 0 && b->ranges[first - 1].app == app; first--)
		n_ports += range_size(&b->ranges[first - 1]);
	if (!n_ports || !conf->n_listen || !room_for(b, r, n_ports * (conf->n_listen - 1), at))
		return;
	conf->ports = xcalloc(n_ports, sizeof(*conf->ports));
	b->claims = grow(b->claims, b->n_claims, n_ports * conf->n_listen, &b->claims_cap,
			 sizeof(*b->claims));
	for (size_t i = first; i < b->n_ranges; i++) {
		for (uint32_t port = b->ranges[i].first; port <= b->ranges[i].last; port++) {
			conf->ports[conf->n_ports++] = (uint16_t)port;
			for (size_t l = 0; l < conf->n_listen; l++)
				b->claims[b->n_claims++] = (struct claim){
					.addr = &conf->listen[l],
					.range = (uint32_t)i,
					.port = (uint16_t)port,
				};
		}
	}
}

static int claim_order(const void *va, const void *vb)
{
	const struct claim *a = va, *b = vb;
	int order;

	if (a->addr->sa.sa_family != b->addr->sa.sa_family)
		return a->addr->sa.sa_family < b->addr->sa.sa_family ? -1 : 1;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	order = addr_compare_host(a->addr, b->addr);
	if (order)
		return order;
	return (a->range > b->range) - (a->range < b->range);
}

static int socket_order(const void *va, const void *vb)
{
	const struct socket_claim *a = va, *b = vb;
	int order = strcmp(a->path, b->path);

	return order ? order : (a->app > b->app) - (a->app < b->app);
}

static void compare_sockets(struct port_book *b, struct reader *r, const struct app_conf *apps)
{
	const struct socket_claim *first = b->sockets;
	char name[QUOTED_MAX];

	if (b->n_sockets)
		qsort(b->sockets, b->n_sockets, sizeof(*b->sockets), socket_order);
	for (size_t i = 1; i < b->n_sockets; i++) {
		const struct socket_claim *c = &b->sockets[i];
		const char *owner = apps[first->app].name;

		if (strcmp(c->path, first->path)) {
			first = c;
		} else if (c->app != first->app) {
			reader_scope_app(r, apps[c->app].name, c->app);
			reader_fail(r, c->at,
				    "unix:%s is taken by app %s (line %u), must be another",
				    c->path, quoted_name(name, owner), first->at.line);
		}
	}
}

static bool is_wildcard(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

/* Two claims that cannot both be had, unless they are one app's: the later one is in the wrong. */
static void refuse(struct port_book *b, struct reader *r, const struct app_conf *apps,
		   const struct claim *one, const struct claim *other)
{
	const struct claim *earlier = one->range < other->range ? one : other;
	const struct claim *later = earlier == one ? other : one;
	const struct range *owner = &b->ranges[earlier->range];
	struct range *range = &b->ranges[later->range];
	char addr[ADDR_TEXT_MAX], name[QUOTED_MAX];
	struct addr at = *later->addr;

	if (owner->app == range->app || range->refused)
		return;
	range->refused = true;
	addr_set_port(&at, later->port);
	reader_scope_app(r, apps[range->app].name, range->app);
	reader_fail(
		r, range->at,
		"%s is taken by app %s (line %u), must be another port or another Listen address",
		addr_format(&at, addr), quoted_name(name, apps[owner->app].name), owner->at.line);
}

void port_book_compare(struct port_book *b, struct reader *r, const struct app_conf *apps)
{
	const struct claim *wildcard = NULL, *same = NULL;

	compare_sockets(b, r, apps);
	if (b->n_claims)
		qsort(b->claims, b->n_claims, sizeof(*b->claims), claim_order);
	for (size_t i = 0; i < b->n_claims; i++) {
		const struct claim *c = &b->claims[i];

		if (!same || same->port != c->port ||
		    same->addr->sa.sa_family != c->addr->sa.sa_family) {
			wildcard = is_wildcard(c->addr) ? c : NULL;
			same = c;
		} else if (!addr_compare_host(same->addr, c->addr)) {
			refuse(b, r, apps, same, c);
		} else {
			same = c;
			if (wildcard)
				refuse(b, r, apps, wildcard, c);
		}
	}
}

/* The first claim that does not come before this port of this host. */
static const struct claim *claim_from(const struct port_book *b, const struct addr *host,
				      uint16_t port)
{
	const struct claim key = { .addr = host, .port = port };
	size_t from = 0, to = b->n_claims;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (claim_order(&b->claims[middle], &key) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from < b->n_claims ? &b->claims[from] : NULL;
}

static const struct claim *find_claim(const struct port_book *b, const struct addr *host,
				      uint16_t port)
{
	const struct claim *c = claim_from(b, host, port);

	return c && c->port == port && !addr_compare_host(c->addr, host) ? c : NULL;
}

static const struct claim *find_wildcard(const struct port_book *b, sa_family_t family,
					 uint16_t port)
{
	const struct addr wildcard = { .sa.sa_family = family };

	return find_claim(b, &wildcard, port);
}

static bool find_socket(const struct port_book *b, const char *path, struct port_holder *holder)
{
	const struct socket_claim key = { .path = path };
	size_t from = 0, to = b->n_sockets;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (socket_order(&b->sockets[middle], &key) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	if (from == b->n_sockets || strcmp(b->sockets[from].path, path))
		return false;
	*holder = (struct port_holder){ b->sockets[from].at, b->sockets[from].app };
	return true;
}

static bool held_by(const struct port_book *b, const struct claim *c, struct port_holder *holder)
{
	if (c)
		*holder = (struct port_holder){ b->ranges[c->range].at, b->ranges[c->range].app };
	return c != NULL;
}

/* Where the kernel connects to: of an IPv4-mapped address to the IPv4 one, of a wildcard to the
 * loopback. */
static struct addr destination(const struct addr *at)
{
	struct addr to = *at;

	if (at->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&at->in6.sin6_addr)) {
		to = (struct addr){ .in = { .sin_family = AF_INET,
					    .sin_port = at->in6.sin6_port } };
		memcpy(&to.in.sin_addr, &at->in6.sin6_addr.s6_addr[12], sizeof(to.in.sin_addr));
	}
	if (!is_wildcard(&to))
		return to;
	if (to.sa.sa_family == AF_INET)
		to.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		to.in6.sin6_addr = in6addr_loopback;
	return to;
}

static bool is_loopback(const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

bool port_book_reached(const struct port_book *b, const struct addr *at, struct port_holder *holder)
{
	const struct claim *c;
	struct addr to;

	if (!addr_is_ip(at))
		return find_socket(b, at->un.path, holder);
	to = destination(at);
	c = find_claim(b, &to, addr_port(&to));
	if (!c && is_loopback(&to))
		c = find_wildcard(b, to.sa.sa_family, addr_port(&to));
	return held_by(b, c, holder);
}

bool port_book_taken(const struct port_book *b, const struct addr *at, struct port_holder *holder)
{
	const uint16_t port = addr_port(at);
	const struct claim *c;

	if (!addr_is_ip(at))
		return find_socket(b, at->un.path, holder);
	if (is_wildcard(at)) { /* it comes before all others of its port */
		c = claim_from(b, at, port);
		if (c && (c->port != port || c->addr->sa.sa_family != at->sa.sa_family))
			c = NULL;
	} else {
		c = find_claim(b, at, port);
		if (!c)
			c = find_wildcard(b, at->sa.sa_family, port);
	}
	return held_by(b, c, holder);
}
