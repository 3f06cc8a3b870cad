/* SPDX-License-Identifier: MIT */
/*
 * What operators and checks say of backends, as parts of their rows; and the command that has a
 * backend drained, disabled or enabled again.
 */
#ifndef SHUNT_ADMIN_COMMAND_BACKEND_H
#define SHUNT_ADMIN_COMMAND_BACKEND_H

#include "admin_command.h"

/* The last check of an address, if there was one. */
void admin_put_check(cJSON *address, const struct endpoint *e, uint64_t now_ns);

/* Finds r->backend: see struct admin_command. */
int admin_check_backend(struct admin_request *r, char error[ADMIN_ERROR_MAX]) must_check;
bool admin_row_backend_order(struct admin_request *r, cJSON *row);

#endif
