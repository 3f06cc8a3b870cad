/* SPDX-License-Identifier: MIT */
/* Numbers in the rows of admin commands. */
#ifndef SHUNT_ADMIN_PUT_H
#define SHUNT_ADMIN_PUT_H

#include <cjson/cJSON.h>
#include <stdint.h>

/* Exact to the last bit, which a double is not. */
void admin_put_u64(cJSON *row, const char *key, uint64_t value);
/* A time, in milliseconds. */
void admin_put_ms(cJSON *row, const char *key, uint64_t ns);

#endif
