/* SPDX-License-Identifier: MIT */
/*
 * The other end of the admin socket: asks a running daemon and hands out its answer line by line.
 * It prints nothing; what went wrong is told in words for whoever typed the command.
 */
#ifndef SHUNT_CLIENT_H
#define SHUNT_CLIENT_H

#include <cjson/cJSON.h>

#include "util.h"

#define CLIENT_TIMEOUT_DEFAULT_S 10
#define CLIENT_ERROR_MAX 1024

/*
 * timeout_s: without a byte from the daemon.
 *
 * line() gets every line of the answer without its newline, also the last one, and what it says,
 * which is then its own to give to cJSON_Delete(). 0, or -errno with the reason in `error`; -EPROTO
 * when it was the daemon that said no.
 */
int client_ask(const char *path, unsigned int timeout_s, const cJSON *request,
	       void (*line)(const char *text, cJSON *row, void *arg), void *arg,
	       char error[CLIENT_ERROR_MAX]) must_check;

/* What a row says at `key`; "" or 0 if that is not there. Numbers are rounded over 2^53, which
 * nobody reads to the last digit. */
const char *client_text(const cJSON *row, const char *key);
uint64_t client_number(const cJSON *row, const char *key);

#endif
