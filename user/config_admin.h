/* SPDX-License-Identifier: MIT */
/*
 * Where the running daemon is asked: the readers of Admin's keys, and that no app listens there. A
 * part of config.c, which has the table.
 */
#ifndef SHUNT_CONFIG_ADMIN_H
#define SHUNT_CONFIG_ADMIN_H

#include "config_ports.h"
#include "config_read.h"

/* Both fields are the struct config itself. */
key_reader read_admin_socket, read_admin_http;
/* After port_book_compare(); `root` is the whole of the configuration. Sets the reader's scope. */
void check_admin(struct reader *r, const struct config *c, const struct json *root,
		 const struct port_book *ports);

#endif
