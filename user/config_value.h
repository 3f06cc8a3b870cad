/* SPDX-License-Identifier: MIT */
/*
 * The values of single keys as text: the counterpart of config_read, by the same tables. What reads
 * a key says what its field is, and so how it is written.
 */
#ifndef SHUNT_CONFIG_VALUE_H
#define SHUNT_CONFIG_VALUE_H

#include "config_read.h"

#define CONFIG_VALUE_MAX 1024 /* the longest are the bytes of a health check, escaped */

/*
 * The value of a key in `object`, which is `c` or a part of it, as a file would have it but without
 * quotes; of an app without an Engine of its own, the config's. False: the key's value is an object
 * or a list.
 */
bool config_value_text(const struct key *key, const void *object, const struct config *c,
		       char text[CONFIG_VALUE_MAX]);

/* Copies the value of a key that is live. */
void config_value_copy(const struct key *key, void *to, const void *from);

#endif
