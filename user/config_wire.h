/* SPDX-License-Identifier: MIT */
/* The reader of Wire's key that is no plain value. A part of config.c, which has the table. */
#ifndef SHUNT_CONFIG_WIRE_H
#define SHUNT_CONFIG_WIRE_H

#include "config_read.h"

/* The field is the struct config itself. */
key_reader read_wire_devices;

#endif
