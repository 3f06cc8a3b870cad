/* SPDX-License-Identifier: MIT */
#include "proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define V1_MARK "PROXY"
#define V1_UNKNOWN "PROXY UNKNOWN"
static const uint8_t v2_mark[12] = "\r\n\r\n\0\r\nQUIT\n";

/* The byte after the mark: version 2 and a command. */
enum { V2_LOCAL = 0x20, V2_PROXY = 0x21 };
/* And the next: an address family and a protocol. */
enum { V2_UNSPEC = 0x00, V2_TCP4 = 0x11, V2_TCP6 = 0x21 };
enum { V2_FAMILY_UNSPEC, V2_FAMILY_INET, V2_FAMILY_INET6, V2_FAMILY_UNIX, V2_FAMILIES };
#define V2_PROTOCOLS 3 /* none, streams, datagrams */
#define V2_FIXED_BYTES 16

/* What a family's pair of addresses takes, in network byte order. */
struct v2_inet {
	struct in_addr from, to;
	in_port_t from_port, to_port;
};
struct v2_inet6 {
	struct in6_addr from, to;
	in_port_t from_port, to_port;
};
#define V2_UNIX_BYTES 216 /* two of sun_path */
_Static_assert(sizeof(struct v2_inet) == 12 && sizeof(struct v2_inet6) == 36, "as on the wire");
_Static_assert(V2_FIXED_BYTES + sizeof(struct v2_inet6) <= PROXY_HEADER_MAX_BYTES,
	       "all that is read");

static struct addr inet_addr_of(struct in_addr host, in_port_t port)
{
	struct addr a = { 0 };

	a.in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port, .sin_addr = host };
	return a;
}

static struct addr inet6_addr_of(const struct in6_addr *host, in_port_t port)
{
	struct addr a = { 0 };

	a.in6 = (struct sockaddr_in6){
		.sin6_family = AF_INET6,
		.sin6_port = port,
		.sin6_addr = *host,
	};
	return a;
}

/* --- version 1 ------------------------------------------------------------------------------- */

/* The word before the next blank, which becomes its end; *rest is what follows. NULL: no blank. */
static char *take_word(char **rest)
{
	char *word = *rest, *blank = strchr(word, ' ');

	if (!blank)
		return NULL;
	*blank = '\0';
	*rest = blank + 1;
	return word;
}

/* 0 to 65535, without sign or leading zeros; in network byte order. */
static bool parse_port(const char *text, in_port_t *port)
{
	size_t digits = strspn(text, "0123456789");
	unsigned long n;

	if (!digits || digits > 5 || text[digits] || (text[0] == '0' && digits > 1))
		return false;
	n = strtoul(text, NULL, 10);
	*port = htons((uint16_t)n);
	return n <= UINT16_MAX;
}

/* "192.0.2.1 192.0.2.2 1024 80" */
static bool parse_v1_addresses(char *text, bool is_ipv6, struct proxy_header *out)
{
	char *from = take_word(&text), *to = take_word(&text), *from_port = take_word(&text);
	struct v2_inet6 six;
	struct v2_inet four;

	if (!from || !to || !from_port || !parse_port(from_port, &six.from_port) ||
	    !parse_port(text, &six.to_port))
		return false;
	if (is_ipv6) {
		if (inet_pton(AF_INET6, from, &six.from) != 1 ||
		    inet_pton(AF_INET6, to, &six.to) != 1)
			return false;
		out->from = inet6_addr_of(&six.from, six.from_port);
		out->to = inet6_addr_of(&six.to, six.to_port);
		return true;
	}
	if (inet_pton(AF_INET, from, &four.from) != 1 || inet_pton(AF_INET, to, &four.to) != 1)
		return false;
	out->from = inet_addr_of(four.from, six.from_port);
	out->to = inet_addr_of(four.to, six.to_port);
	return true;
}

/* A line without its end. */
static bool parse_v1_line(char *line, size_t len, struct proxy_header *out)
{
	static const char tcp4[] = V1_MARK " TCP4 ", tcp6[] = V1_MARK " TCP6 ";
	const size_t unknown = strlen(V1_UNKNOWN), tcp = strlen(tcp4);

	/* What follows, if anything does, is to be ignored. */
	if ((len == unknown && !strcmp(line, V1_UNKNOWN)) ||
	    !strncmp(line, V1_UNKNOWN " ", unknown + 1))
		return true;
	if (strlen(line) != len)
		return false;
	if (!strncmp(line, tcp4, tcp))
		return parse_v1_addresses(line + tcp, false, out);
	if (!strncmp(line, tcp6, tcp))
		return parse_v1_addresses(line + tcp, true, out);
	return false;
}

static enum proxy_header_result parse_v1(const uint8_t *data, size_t len, struct proxy_header *out)
{
	char line[PROXY_HEADER_MAX_BYTES + 1];
	size_t end = 0, most = MIN(len, PROXY_HEADER_MAX_BYTES);

	while (end < most && data[end] != '\r' && data[end] != '\n')
		end++;
	if (end == most || (end + 1 == most && data[end] == '\r'))
		return len < PROXY_HEADER_MAX_BYTES ? PROXY_HEADER_PARTIAL : PROXY_HEADER_MALFORMED;
	if (data[end] != '\r' || data[end + 1] != '\n')
		return PROXY_HEADER_MALFORMED;
	memcpy(line, data, end);
	line[end] = '\0';
	out->len = end + 2;
	return parse_v1_line(line, end, out) ? PROXY_HEADER_WHOLE : PROXY_HEADER_MALFORMED;
}

/* --- version 2 ------------------------------------------------------------------------------- */

static void take_v2_inet(const uint8_t *data, struct proxy_header *out)
{
	struct v2_inet pair;

	memcpy(&pair, data, sizeof(pair));
	out->from = inet_addr_of(pair.from, pair.from_port);
	out->to = inet_addr_of(pair.to, pair.to_port);
}

static void take_v2_inet6(const uint8_t *data, struct proxy_header *out)
{
	struct v2_inet6 pair;

	memcpy(&pair, data, sizeof(pair));
	out->from = inet6_addr_of(&pair.from, pair.from_port);
	out->to = inet6_addr_of(&pair.to, pair.to_port);
}

/* Streams over IP are what is served here; for all else its sender's own addresses are used. */
static enum proxy_header_result parse_v2_addresses(const uint8_t *data, size_t len,
						   struct proxy_header *out)
{
	static const size_t least[V2_FAMILIES] = {
		[V2_FAMILY_INET] = sizeof(struct v2_inet),
		[V2_FAMILY_INET6] = sizeof(struct v2_inet6),
		[V2_FAMILY_UNIX] = V2_UNIX_BYTES,
	};
	uint8_t kind = data[13], family = kind >> 4;

	if (family >= V2_FAMILIES || (kind & 0xf) >= V2_PROTOCOLS)
		return PROXY_HEADER_MALFORMED;
	if (out->len < V2_FIXED_BYTES + least[family])
		return PROXY_HEADER_MALFORMED;
	if (kind != V2_TCP4 && kind != V2_TCP6)
		return PROXY_HEADER_WHOLE;
	if (len < V2_FIXED_BYTES + least[family])
		return PROXY_HEADER_PARTIAL;
	if (kind == V2_TCP4)
		take_v2_inet(data + V2_FIXED_BYTES, out);
	else
		take_v2_inet6(data + V2_FIXED_BYTES, out);
	return PROXY_HEADER_WHOLE;
}

static enum proxy_header_result parse_v2(const uint8_t *data, size_t len, struct proxy_header *out)
{
	uint8_t command = len > sizeof(v2_mark) ? data[sizeof(v2_mark)] : V2_LOCAL;

	if (command != V2_LOCAL && command != V2_PROXY)
		return PROXY_HEADER_MALFORMED;
	if (len < V2_FIXED_BYTES)
		return PROXY_HEADER_PARTIAL;
	out->len = V2_FIXED_BYTES + ((size_t)data[14] << 8 | data[15]);
	/* The sender's own connection, a health check for example: the family is to be ignored. */
	if (command == V2_LOCAL)
		return PROXY_HEADER_WHOLE;
	return parse_v2_addresses(data, len, out);
}

static bool begins_as(const uint8_t *data, size_t len, const void *mark, size_t mark_len)
{
	return !memcmp(data, mark, MIN(len, mark_len));
}

enum proxy_header_result proxy_header_parse(const uint8_t *data, size_t len,
					    struct proxy_header *out)
{
	*out = (struct proxy_header){ 0 };
	if (!len)
		return PROXY_HEADER_PARTIAL;
	if (begins_as(data, len, v2_mark, sizeof(v2_mark)))
		return parse_v2(data, len, out);
	if (begins_as(data, len, V1_MARK, strlen(V1_MARK)))
		return parse_v1(data, len, out);
	return PROXY_HEADER_MISSING;
}

/* --- writing --------------------------------------------------------------------------------- */

static void map_to_ipv6(struct addr *a)
{
	struct in6_addr host = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	if (a->sa.sa_family != AF_INET)
		return;
	memcpy(&host.s6_addr[12], &a->in.sin_addr, sizeof(a->in.sin_addr));
	*a = inet6_addr_of(&host, a->in.sin_port);
}

/* The family that both can be written in; AF_UNSPEC: none. */
static sa_family_t make_alike(struct addr *from, struct addr *to)
{
	if (!addr_is_ip(from) || !addr_is_ip(to))
		return AF_UNSPEC;
	if (from->sa.sa_family != to->sa.sa_family) {
		map_to_ipv6(from);
		map_to_ipv6(to);
	}
	return from->sa.sa_family;
}

static size_t write_v1(uint8_t out[PROXY_HEADER_MAX_BYTES], sa_family_t family,
		       const struct addr *from, const struct addr *to)
{
	char hosts[2][INET6_ADDRSTRLEN], line[PROXY_HEADER_MAX_BYTES + 1];
	int len;

	if (family == AF_UNSPEC) {
		len = snprintf(line, sizeof(line), V1_UNKNOWN "\r\n");
	} else {
		inet_ntop(family, addr_host(from), hosts[0], sizeof(hosts[0]));
		inet_ntop(family, addr_host(to), hosts[1], sizeof(hosts[1]));
		len = snprintf(line, sizeof(line), V1_MARK " TCP%c %s %s %u %u\r\n",
			       family == AF_INET ? '4' : '6', hosts[0], hosts[1], addr_port(from),
			       addr_port(to));
	}
	memcpy(out, line, (size_t)len);
	return (size_t)len;
}

static size_t write_v2(uint8_t out[PROXY_HEADER_MAX_BYTES], sa_family_t family,
		       const struct addr *from, const struct addr *to)
{
	uint8_t *addresses = out + V2_FIXED_BYTES;
	size_t len = 0;

	memcpy(out, v2_mark, sizeof(v2_mark));
	out[12] = V2_PROXY;
	out[13] = V2_UNSPEC;
	if (family == AF_INET) {
		struct v2_inet pair = { from->in.sin_addr, to->in.sin_addr, from->in.sin_port,
					to->in.sin_port };

		out[13] = V2_TCP4;
		len = sizeof(pair);
		memcpy(addresses, &pair, len);
	} else if (family == AF_INET6) {
		struct v2_inet6 pair = { from->in6.sin6_addr, to->in6.sin6_addr,
					 from->in6.sin6_port, to->in6.sin6_port };

		out[13] = V2_TCP6;
		len = sizeof(pair);
		memcpy(addresses, &pair, len);
	}
	out[14] = 0;
	out[15] = (uint8_t)len;
	return V2_FIXED_BYTES + len;
}

size_t proxy_header_write(uint8_t out[PROXY_HEADER_MAX_BYTES], enum proxy_header_version version,
			  const struct addr *from, const struct addr *to)
{
	struct addr pair[2] = { *from, *to };
	sa_family_t family = make_alike(&pair[0], &pair[1]);

	switch (version) {
	case PROXY_HEADER_V1:
		return write_v1(out, family, &pair[0], &pair[1]);
	case PROXY_HEADER_V2:
		return write_v2(out, family, &pair[0], &pair[1]);
	default:
		return 0;
	}
}

size_t proxy_header_write_own(uint8_t out[PROXY_HEADER_MAX_BYTES],
			      enum proxy_header_version version, const struct addr *from,
			      const struct addr *to)
{
	static const struct addr none;
	size_t len;

	if (version != PROXY_HEADER_V2)
		return proxy_header_write(out, version, from, to);
	len = write_v2(out, AF_UNSPEC, &none, &none);
	out[12] = V2_LOCAL;
	return len;
}
