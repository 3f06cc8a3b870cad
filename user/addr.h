/* SPDX-License-Identifier: MIT */
/*
 * Socket addresses: parsing, printing, comparing, hashing. An address is IPv4 or IPv6 with a port,
 * the path of a unix socket, or none (AF_UNSPEC); a v4-mapped IPv6 address stays what it was given
 * as. A host is what comes before the port of a target: an IPv4 literal, an IPv6 literal in
 * brackets, or a name to resolve.
 */
#ifndef SHUNT_ADDR_H
#define SHUNT_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "util.h"

#define HOST_NAME_MAX_CHARS 253 /* RFC 1035, 2.3.4, as text without the last dot */
#define ADDR_UNIX_PREFIX "unix:"
#define ADDR_UNIX_PATH_MAX 107 /* sun_path of unix(7), less its NUL */
#define ADDR_TEXT_MAX 113      /* the prefix, the longest path and the NUL */

/*
 * In place of struct sockaddr_un, which would be four times as large: an address is copied into
 * each session several times over. The path is somebody else's, who says how long it stays; "@name"
 * is one of the abstract namespace, "" a socket without a name.
 */
struct addr_unix {
	sa_family_t family;
	const char *path;
};

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct addr_unix un;
	};
};
_Static_assert(sizeof(struct addr) <= 32, "sessions have four of them");

socklen_t addr_len(const struct addr *a); /* of one that is IPv4 or IPv6 */
/* Is it one of IPv4 or IPv6? */
static inline bool addr_is_ip(const struct addr *a)
{
	return a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6;
}
/* The struct in_addr or in6_addr of one that is. */
const void *addr_host(const struct addr *a);
uint16_t addr_port(const struct addr *a);
void addr_set_port(struct addr *a, uint16_t port);
/* The order of hosts alone, without the port: unix sockets by their paths, IPv4 before IPv6, then
 * by the bytes, then the scope; so the wildcard comes first of its family. As strcmp(). */
int addr_compare_host(const struct addr *a, const struct addr *b);
/* And then by port. */
int addr_compare(const struct addr *a, const struct addr *b);
/* Same family, same host, same port (and scope), or the same path. */
bool addr_equal(const struct addr *a, const struct addr *b);
/*
 * A hash of the host alone, without the port: the same for a client's every connection, on every
 * machine, and for IPv4 the same as for its v4-mapped form. Unix sockets all have the same.
 */
uint64_t addr_hash_host(const struct addr *a);

/*
 * "192.0.2.1", "2001:db8::1", "fe80::1%eth0", the last two in brackets or not, without a port. 0,
 * or -EINVAL when it is no literal.
 */
int addr_parse_host(const char *text, struct addr *out) must_check;

/* Is it a link-local one without its interface? Nothing is bound or connected to it (EINVAL). */
bool addr_lacks_scope(const struct addr *a);

/* The path of "unix:/path" or "unix:@name", within the text; NULL: it is something else. */
const char *addr_unix_path(const char *text);
/* What is wrong with such a path, as a constant phrase, or NULL. */
const char *addr_unix_path_fault(const char *path);
/* Of that path, which must stay where it is. */
struct addr addr_of_unix(const char *path);

/* "10.0.0.1:80", "[::1]:80", "[fe80::1%2]:80", "unix:/path", "-" for no address. Ends in NUL;
 * returns buf. */
const char *addr_format(const struct addr *a, char buf[ADDR_TEXT_MAX]);
/* The same without the port: "192.0.2.1", "[::1]". Not of a unix socket. */
const char *addr_format_host(const struct addr *a, char buf[ADDR_TEXT_MAX]);

/*
 * Splits "host:port" or "[v6]:port" in two. 0, or -EINVAL with *why set to a constant phrase that
 * says what is wrong and what would be right.
 */
struct host_port {
	char host[HOST_NAME_MAX_CHARS + 2]; /* without brackets, with a last dot if it has one */
	uint16_t port;                      /* 1 to 65535 */
};
int host_port_parse(const char *text, struct host_port *out, const char **why) must_check;

/*
 * Could DNS know it? Labels of 1 to 63 letters, digits, '-' and '_', joined by dots; a last dot is
 * fine.
 */
bool host_name_valid(const char *name);

#endif
