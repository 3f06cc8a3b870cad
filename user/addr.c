/* SPDX-License-Identifier: MIT */
/*
 * Socket addresses. Parsing is stricter than getaddrinfo(3): no blanks, no octal, no "127.1", so
 * that what a config file says has one meaning. Every refusal is a phrase for the operator who
 * wrote it.
 */
#include "addr.h"

#include <arpa/inet.h>
#include <endian.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define HOST_LABEL_MAX_CHARS 63 /* RFC 1035, 2.3.4 */
#define PORT_DIGITS_MAX 5

socklen_t addr_len(const struct addr *a)
{
	switch (a->sa.sa_family) {
	case AF_INET:
		return sizeof(a->in);
	case AF_INET6:
		return sizeof(a->in6);
	default:
		return 0;
	}
}

const void *addr_host(const struct addr *a)
{
	return a->sa.sa_family == AF_INET ? (const void *)&a->in.sin_addr
					  : (const void *)&a->in6.sin6_addr;
}

uint16_t addr_port(const struct addr *a)
{
	switch (a->sa.sa_family) {
	case AF_INET:
		return ntohs(a->in.sin_port);
	case AF_INET6:
		return ntohs(a->in6.sin6_port);
	default:
		return 0;
	}
}

void addr_set_port(struct addr *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons(port);
	else if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_port = htons(port);
}

int addr_compare_host(const struct addr *a, const struct addr *b)
{
	int order;

	if (a->sa.sa_family != b->sa.sa_family)
		return a->sa.sa_family < b->sa.sa_family ? -1 : 1;
	if (a->sa.sa_family == AF_UNIX)
		return strcmp(a->un.path, b->un.path);
	if (a->sa.sa_family == AF_INET)
		return memcmp(&a->in.sin_addr, &b->in.sin_addr, sizeof(a->in.sin_addr));
	order = memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr));
	if (order)
		return order;
	return (a->in6.sin6_scope_id > b->in6.sin6_scope_id) -
	       (a->in6.sin6_scope_id < b->in6.sin6_scope_id);
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	int order = addr_compare_host(a, b);

	return order ? order : (int)addr_port(a) - (int)addr_port(b);
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	if (a->sa.sa_family != b->sa.sa_family || addr_port(a) != addr_port(b))
		return false;
	switch (a->sa.sa_family) {
	case AF_UNIX:
		return !strcmp(a->un.path, b->un.path);
	case AF_INET:
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	case AF_INET6:
		return IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr) &&
		       a->in6.sin6_scope_id == b->in6.sin6_scope_id;
	default:
		return true;
	}
}

/*
 * Plain IPv4 is hashed as its v4-mapped form, so a client has one hash whichever family its
 * listener has; and in host byte order, so that every machine of a cluster gets the same.
 */
uint64_t addr_hash_host(const struct addr *a)
{
	uint64_t high = 0, low = 0, scope = 0;

	if (a->sa.sa_family == AF_INET) {
		low = 0xffffull << 32 | ntohl(a->in.sin_addr.s_addr);
	} else if (a->sa.sa_family == AF_INET6) {
		memcpy(&high, &a->in6.sin6_addr.s6_addr[0], sizeof(high));
		memcpy(&low, &a->in6.sin6_addr.s6_addr[8], sizeof(low));
		high = be64toh(high);
		low = be64toh(low);
		scope = a->in6.sin6_scope_id;
	}
	/*
	 * The mixer maps 0 to 0; the golden ratio keeps an all-zero half from being a fixed point.
	 */
	return mix64(mix64(high + 0x9e3779b97f4a7c15ull) + mix64(scope) + low);
}

/* A decimal number without sign, blanks or leading zeros, in [1, max]. */
static int number_parse(const char *text, size_t digits_max, uint64_t max, uint32_t *out)
{
	uint64_t n = 0;
	size_t digits = 0;

	for (; text[digits]; digits++) {
		if (text[digits] < '0' || text[digits] > '9' || digits == digits_max)
			return -EINVAL;
		n = n * 10 + (uint64_t)(text[digits] - '0');
	}
	if (digits == 0 || text[0] == '0' || n > max)
		return -EINVAL;
	*out = (uint32_t)n;
	return 0;
}

/* The zone of RFC 4007, 11: an interface's number or its name here. */
static int scope_parse(const char *text, uint32_t *out)
{
	if (number_parse(text, 10, UINT32_MAX, out) == 0)
		return 0;
	*out = if_nametoindex(text);
	return *out ? 0 : -EINVAL;
}

/*
 * "2001:db8::1", "fe80::1%eth0". A scope is for link-local addresses, which mean nothing without
 * it.
 */
static int ipv6_parse(const char *text, struct sockaddr_in6 *out)
{
	char host[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "%");

	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';

	*out = (struct sockaddr_in6){ .sin6_family = AF_INET6 };
	if (inet_pton(AF_INET6, host, &out->sin6_addr) != 1)
		return -EINVAL;
	if (!text[len])
		return 0;
	if (!IN6_IS_ADDR_LINKLOCAL(&out->sin6_addr))
		return -EINVAL;
	return scope_parse(text + len + 1, &out->sin6_scope_id);
}

int addr_parse_host(const char *text, struct addr *out)
{
	char inside[ADDR_TEXT_MAX];
	size_t len = strlen(text);

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, &out->in.sin_addr) == 1) {
		out->in.sin_family = AF_INET;
		return 0;
	}
	if (text[0] == '[') {
		if (text[len - 1] != ']' || len - 2 >= sizeof(inside))
			return -EINVAL;
		memcpy(inside, text + 1, len - 2);
		inside[len - 2] = '\0';
		text = inside;
	}
	return ipv6_parse(text, &out->in6);
}

bool addr_lacks_scope(const struct addr *a)
{
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr) &&
	       !a->in6.sin6_scope_id;
}

const char *addr_unix_path(const char *text)
{
	const size_t len = strlen(ADDR_UNIX_PREFIX);

	/* "unix:80" is a port of a host. */
	if (strncmp(text, ADDR_UNIX_PREFIX, len) || (text[len] != '/' && text[len] != '@'))
		return NULL;
	return text + len;
}

const char *addr_unix_path_fault(const char *path)
{
	if (!path[1])
		return "no path after \"unix:\": write \"unix:/run/app.sock\"";
	if (strlen(path) > ADDR_UNIX_PATH_MAX)
		return "the path is longer than the 107 bytes that a unix socket's may have";
	return NULL;
}

struct addr addr_of_unix(const char *path)
{
	return (struct addr){ .un = { .family = AF_UNIX, .path = path } };
}

/*
 * The scope is printed as a number: its name would cost a system call in every line of the access
 * log.
 */
const char *addr_format(const struct addr *a, char buf[ADDR_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN];

	switch (a->sa.sa_family) {
	case AF_UNIX:
		snprintf(buf, ADDR_TEXT_MAX, ADDR_UNIX_PREFIX "%s", a->un.path);
		break;
	case AF_INET:
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
		snprintf(buf, ADDR_TEXT_MAX, "%s:%u", host, addr_port(a));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
		if (a->in6.sin6_scope_id)
			snprintf(buf, ADDR_TEXT_MAX, "[%s%%%u]:%u", host, a->in6.sin6_scope_id,
				 addr_port(a));
		else
			snprintf(buf, ADDR_TEXT_MAX, "[%s]:%u", host, addr_port(a));
		break;
	default:
		snprintf(buf, ADDR_TEXT_MAX, "-");
	}
	return buf;
}

const char *addr_format_host(const struct addr *a, char buf[ADDR_TEXT_MAX])
{
	addr_format(a, buf);
	*strrchr(buf, ':') = '\0';
	return buf;
}

/* By hand: isalnum(3) asks the locale, DNS does not. */
static bool label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

bool host_name_valid(const char *name)
{
	size_t len = strlen(name), label = 0;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len > HOST_NAME_MAX_CHARS)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (name[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!label_char(name[i]) || ++label > HOST_LABEL_MAX_CHARS) {
			return false;
		}
	}
	return label > 0;
}

/*
 * Does the last label consist of digits? No top-level domain does, so it was meant as an IPv4
 * address (the rule of the WHATWG's URL standard): "10.0.0.256" and "127.1" are slips, not names to
 * look up.
 */
static bool ends_in_number(const char *host)
{
	const char *dot = strrchr(host, '.');
	const char *label = dot ? dot + 1 : host;

	return *label && label[strspn(label, "0123456789")] == '\0';
}

/* What is wrong with a host without brackets, or NULL. */
static const char *plain_host_fault(const char *host)
{
	struct in_addr ignored;

	if (inet_pton(AF_INET, host, &ignored) == 1)
		return NULL;
	if (ends_in_number(host))
		return "not an IPv4 address: write four numbers of 0 to 255, no leading zeros";
	if (!host_name_valid(host))
		return "not a host name: letters, digits, \"-\" and \"_\", labels joined by dots";
	return NULL;
}

/* What is wrong with what stands between brackets, or NULL. */
static const char *bracketed_host_fault(const char *host)
{
	char literal[INET6_ADDRSTRLEN];
	struct sockaddr_in6 ignored;
	size_t len = strcspn(host, "%");
	struct addr a;

	if (ipv6_parse(host, &a.in6) == 0)
		return addr_lacks_scope(&a) ? "a link-local address needs its interface: write "
					      "\"[fe80::1%eth0]:80\""
					    : NULL;
	if (len < sizeof(literal) && host[len]) {
		memcpy(literal, host, len);
		literal[len] = '\0';
		if (ipv6_parse(literal, &ignored) == 0)
			return "only link-local addresses have a \"%\" and a local interface";
	}
	return "not an IPv6 address between the brackets: write \"[::1]:80\"";
}

/* What is wrong with a text with more than one colon. */
static const char *many_colons_fault(const char *text)
{
	struct sockaddr_in6 ignored;
	char head[INET6_ADDRSTRLEN];
	size_t len = (size_t)(strrchr(text, ':') - text);

	if (strstr(text, "://"))
		return "a URL: write host:port alone";
	if (ipv6_parse(text, &ignored) == 0)
		return "an IPv6 address needs brackets: \"[::1]:80\"";
	if (len < sizeof(head)) {
		memcpy(head, text, len);
		head[len] = '\0';
		if (ipv6_parse(head, &ignored) == 0)
			return "an IPv6 address needs brackets: \"[::1]:80\"";
	}
	return "more than one colon: write host:port";
}

/* Finds the host (its start and length) and the port's text. NULL, or what is wrong. */
static const char *host_port_split(const char *text, const char **host, size_t *len,
				   const char **port)
{
	const char *end;

	if (text[0] == '\0')
		return "empty: write host:port";
	if (text[0] == '[') {
		end = strchr(text, ']');
		if (!end)
			return "no closing bracket: write \"[::1]:80\"";
		if (end[1] == '\0')
			return "no port: write \"[::1]:80\"";
		if (end[1] != ':')
			return "no colon after the bracket: write \"[::1]:80\"";
		*host = text + 1;
		*port = end + 2;
	} else {
		end = strchr(text, ':');
		if (!end)
			return "no port: write host:port";
		if (strchr(end + 1, ':'))
			return many_colons_fault(text);
		if (end == text)
			return "no host: write host:port";
		*host = text;
		*port = end + 1;
	}
	*len = (size_t)(end - *host);
	return NULL;
}

int host_port_parse(const char *text, struct host_port *out, const char **why)
{
	const char *host, *port;
	uint32_t number;
	size_t len;

	*why = host_port_split(text, &host, &len, &port);
	if (*why)
		return -EINVAL;
	if (len >= sizeof(out->host)) {
		*why = "the host is longer than the 253 characters that DNS allows";
		return -EINVAL;
	}
	memcpy(out->host, host, len);
	out->host[len] = '\0';

	*why = text[0] == '[' ? bracketed_host_fault(out->host) : plain_host_fault(out->host);
	if (*why)
		return -EINVAL;
	if (number_parse(port, PORT_DIGITS_MAX, UINT16_MAX, &number) < 0) {
		*why = *port ? "the port is not a number from 1 to 65535"
			     : "no port after the colon: write host:port";
		return -EINVAL;
	}
	out->port = (uint16_t)number;
	return 0;
}
