/* SPDX-License-Identifier: MIT */
/*
 * Any bytes: an answer that more of them do not change, which PROXY_HEADER_MAX_BYTES are enough
 * for; and a header that names both ends says the same when it is written anew.
 */
#include <string.h>

#include "proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise)
{
	if (!promise)
		abort();
}

static void check_rewritten(const struct proxy_header *h, enum proxy_header_version version)
{
	uint8_t data[PROXY_HEADER_MAX_BYTES];
	size_t len = proxy_header_write(data, version, &h->from, &h->to);
	struct proxy_header again;

	require(proxy_header_parse(data, len, &again) == PROXY_HEADER_WHOLE && again.len == len);
	require(addr_equal(&again.from, &h->from) && addr_equal(&again.to, &h->to));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum proxy_header_result last = PROXY_HEADER_PARTIAL;
	struct proxy_header h;

	for (size_t n = 0; n <= MIN(size, 2UL * PROXY_HEADER_MAX_BYTES); n++) {
		enum proxy_header_result now = proxy_header_parse(data, n, &h);

		require(last == PROXY_HEADER_PARTIAL || now == last);
		require(now != PROXY_HEADER_PARTIAL || n < PROXY_HEADER_MAX_BYTES);
		last = now;
	}
	if (last != PROXY_HEADER_WHOLE)
		return 0;
	require(h.len <= 16 + UINT16_MAX);
	require(addr_is_ip(&h.from) == addr_is_ip(&h.to));
	if (addr_is_ip(&h.from)) {
		check_rewritten(&h, PROXY_HEADER_V1);
		check_rewritten(&h, PROXY_HEADER_V2);
	}
	return 0;
}
