/* SPDX-License-Identifier: MIT */
/*
 * The rows of the commands that do something: see struct admin_command. What they do is done when
 * the row is there; the daemon goes on to answer until it has ended.
 */
#ifndef SHUNT_ADMIN_COMMAND_ACT_H
#define SHUNT_ADMIN_COMMAND_ACT_H

#include "admin_command.h"

bool admin_row_drain(struct admin_request *r, cJSON *row);
bool admin_row_stop(struct admin_request *r, cJSON *row);
bool admin_row_log_level(struct admin_request *r, cJSON *row);
/* For struct admin_command.check: it is one of an app that may be bypassed. */
int admin_check_bypass(struct admin_request *r, char error[ADMIN_ERROR_MAX]) must_check;
bool admin_row_bypass(struct admin_request *r, cJSON *row);

#endif
