/* SPDX-License-Identifier: MIT */
/*
 * The rows of the commands that show something: see struct admin_command. Keys are those of the
 * log's records where the log has them; times are in milliseconds.
 */
#ifndef SHUNT_ADMIN_COMMAND_ROWS_H
#define SHUNT_ADMIN_COMMAND_ROWS_H

#include "admin_command.h"

bool admin_row_status(struct admin_request *r, cJSON *row);
bool admin_row_app(struct admin_request *r, cJSON *row);
bool admin_row_backend(struct admin_request *r, cJSON *row);
bool admin_row_top(struct admin_request *r, cJSON *row);
bool admin_row_config(struct admin_request *r, cJSON *row);
bool admin_row_flow(struct admin_request *r, cJSON *row);
bool admin_row_reload(struct admin_request *r, cJSON *row);

#endif
