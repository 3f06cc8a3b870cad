/* SPDX-License-Identifier: MIT */
/* Rates, "100/s": from a file's text to numbers and back. A part of config_read and config_value. */
#ifndef SHUNT_CONFIG_RATE_H
#define SHUNT_CONFIG_RATE_H

#include "config_read.h"

key_reader read_rate; /* struct rate */

/* As a file would have it. */
void rate_text(const struct rate *r, char *text, size_t size);

#endif
