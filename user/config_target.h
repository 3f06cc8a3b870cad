/* SPDX-License-Identifier: MIT */
/* An app's targets: the reader of Targets, and the keys of one. A part of config.c. */
#ifndef SHUNT_CONFIG_TARGET_H
#define SHUNT_CONFIG_TARGET_H

#include "config_read.h"

/* The field is the struct app_conf itself. */
key_reader read_targets;

extern const struct object_kind config_target_kind;

#endif
