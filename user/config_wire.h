/* SPDX-License-Identifier: MIT */
/* The readers of Wire's keys that are no plain values. A part of config.c, which has the table. */
#ifndef SHUNT_CONFIG_WIRE_H
#define SHUNT_CONFIG_WIRE_H

#include "config_read.h"

/* Both fields are the struct config itself. */
key_reader read_wire_devices, read_wire_pins;

#endif
