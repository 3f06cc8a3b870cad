/* SPDX-License-Identifier: MIT */
/*
 * How an app's targets are checked: the HealthCheck key. An object of its own, taken as a whole:
 * what an app's does not say is the built-in default, not that of Defaults.
 */
#ifndef SHUNT_CONFIG_HEALTH_H
#define SHUNT_CONFIG_HEALTH_H

#include "config_read.h"

key_reader read_health_check; /* struct app_conf: its health */
key_reader read_health_bytes; /* struct health_bytes */

extern const struct object_kind config_health_kind;

/* As a file has them: printable ASCII as it is, "\\" for a backslash, and else "\xHH". */
void config_health_bytes_text(const struct health_bytes *b, char *text, size_t size);

#endif
