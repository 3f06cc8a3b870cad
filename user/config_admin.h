/* SPDX-License-Identifier: MIT */
/*
 * Where the running daemon is asked: the readers of Admin's keys. A part of config.c, which has the
 * table.
 */
#ifndef SHUNT_CONFIG_ADMIN_H
#define SHUNT_CONFIG_ADMIN_H

#include "config_read.h"

/* Both fields are the struct config itself. */
key_reader read_admin_socket, read_admin_http;

#endif
