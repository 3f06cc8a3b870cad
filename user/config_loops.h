/* SPDX-License-Identifier: MIT */
/*
 * Targets that lead back to the app that has them: it listens there itself, or another app does
 * that has a target which leads here. A part of config.c.
 */
#ifndef SHUNT_CONFIG_LOOPS_H
#define SHUNT_CONFIG_LOOPS_H

#include "config_ports.h"
#include "config_read.h"

/*
 * After port_book_compare(): complains of targets, at least one of each circle, such that without
 * them there is none. `list` is the value of Apps. Sets the reader's scope.
 */
void check_loops(struct reader *r, const struct config *c, const struct json *list,
		 const struct port_book *ports);

#endif
