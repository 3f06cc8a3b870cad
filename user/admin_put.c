/* SPDX-License-Identifier: MIT */
#include "admin_put.h"

#include <inttypes.h>
#include <stdio.h>

#include "util.h"

void admin_put_u64(cJSON *row, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	cJSON_AddRawToObject(row, key, text);
}

void admin_put_ms(cJSON *row, const char *key, uint64_t ns)
{
	admin_put_u64(row, key, ns / NSEC_PER_MSEC);
}
