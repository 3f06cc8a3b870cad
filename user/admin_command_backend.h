/* SPDX-License-Identifier: MIT */
/*
 * The command that has a backend drained, disabled or enabled again.
 */
#ifndef SHUNT_ADMIN_COMMAND_BACKEND_H
#define SHUNT_ADMIN_COMMAND_BACKEND_H

#include "admin_command.h"

/* Finds r->backend: see struct admin_command. */
int admin_check_backend(struct admin_request *r, char error[ADMIN_ERROR_MAX]) must_check;
bool admin_row_backend_order(struct admin_request *r, cJSON *row);

#endif
