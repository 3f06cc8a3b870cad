/* SPDX-License-Identifier: MIT */
/*
 * The header of the PROXY protocol, versions 1 and 2 (proxy-protocol.txt of HAProxy's
 * documentation, sections 2.1 and 2.2): what a proxy puts before the first byte of a connection to
 * say whose it is. From bytes to addresses and back; it knows no sockets.
 *
 * Nothing is guessed: what does not begin as one of the two versions do has no header. TLVs are
 * passed over, a checksum among them is not verified.
 */
#ifndef SHUNT_PROXY_HEADER_H
#define SHUNT_PROXY_HEADER_H

#include <stddef.h>

#include "addr.h"

/* All of a version 1, and of a version 2 all that is looked at, fits into so much. */
#define PROXY_HEADER_MAX_BYTES 107

enum proxy_header_version {
	PROXY_HEADER_NONE,
	PROXY_HEADER_V1,
	PROXY_HEADER_V2,
};

enum proxy_header_result {
	PROXY_HEADER_WHOLE,
	PROXY_HEADER_PARTIAL, /* right so far */
	PROXY_HEADER_MISSING, /* it begins as something else */
	PROXY_HEADER_MALFORMED,
};

struct proxy_header {
	size_t len;           /* with its TLVs, of which some may still be to come */
	struct addr from, to; /* AF_UNSPEC: it names none, the connection's own are right */
};

/*
 * The header that `data`, the first bytes of a connection, begins with. PROXY_HEADER_MAX_BYTES of
 * them are enough for an answer other than PROXY_HEADER_PARTIAL. *out is set if it is WHOLE.
 */
enum proxy_header_result proxy_header_parse(const uint8_t *data, size_t len,
					    struct proxy_header *out) must_check;

/*
 * Writes the header for a connection from one address to another, and returns its length. Of two
 * families the IPv4 address is written as an IPv4-mapped IPv6 one; with an address of neither the
 * header says that the client is not known.
 */
size_t proxy_header_write(uint8_t out[PROXY_HEADER_MAX_BYTES], enum proxy_header_version version,
			  const struct addr *from, const struct addr *to) must_check;

/*
 * The same for a connection that the sender makes for itself, as a health check does, between these
 * addresses: LOCAL in version 2; version 1 has no word for it, and is to name them.
 */
size_t proxy_header_write_own(uint8_t out[PROXY_HEADER_MAX_BYTES],
			      enum proxy_header_version version, const struct addr *from,
			      const struct addr *to) must_check;

#endif
