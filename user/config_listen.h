/* SPDX-License-Identifier: MIT */
/* Where an app listens: the readers of Listen and ListenMode, and what must hold between Listen and
 * Ports. A part of config.c. */
#ifndef SHUNT_CONFIG_LISTEN_H
#define SHUNT_CONFIG_LISTEN_H

#include "config_read.h"

#define PORTS_MUST "an array of ports (1 to 65535) and ranges (\"6200-6210\"), at least one"
#define LISTEN_MUST                                                                                \
	"an array of addresses such as \"0.0.0.0\" and \"::\", and of unix sockets such as "       \
	"\"unix:/run/app.sock\", at least one"

key_reader read_listen; /* the struct app_conf itself; what it held is the Defaults' */
key_reader read_mode;   /* uint32_t: the permissions of a file */

/* Once the app is read, as `v` has it: addresses need ports, and ports need an address. */
void check_listen(struct reader *r, const struct app_conf *app, const struct json *v);

/* Gives an app whose lists are the Defaults' copies of its own, or nothing when the config is
 * refused. */
void listen_end_borrowing(struct app_conf *app, const struct app_conf *defaults, bool accepted);
void listen_free(struct app_conf *app); /* the lists */

#endif
