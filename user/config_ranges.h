/* SPDX-License-Identifier: MIT */
/* Lists of hosts, and of ranges of them, in the configuration. A part of config.c. */
#ifndef SHUNT_CONFIG_RANGES_H
#define SHUNT_CONFIG_RANGES_H

#include "config_read.h"

#define RANGES_MUST "an array of addresses and networks such as \"10.0.0.0/8\" and \"::1\", 1 to 64"

#define SOURCES_MUST "an array of addresses of this host such as \"192.0.2.1\" and \"::1\", 1 to 64"

/* struct addr_range_list. What it held belongs to somebody else: the Defaults. */
key_reader read_ranges;
key_reader read_sources; /* the same, of single addresses */

/* Once the app is read: where its connections come from is said once. */
void check_sources(struct reader *r, const struct app_conf *app, const struct json *v);

/* Gives a list that is the Defaults' a copy of its own, or nothing when the config is refused. */
void ranges_end_borrowing(struct addr_range_list *list, const struct addr_range_list *defaults,
			  bool accepted);

#endif
