/* SPDX-License-Identifier: MIT */
/*
 * A configuration as JSON again, complete: every default is filled in, Defaults is applied to each
 * app, and what the command line said is in it. Read as a file it gives the same configuration
 * (only that addresses which nobody had asked for by name must then be there). It
 * goes by the tables of keys: a new key of a kind that is known needs nothing here.
 */
#ifndef SHUNT_CONFIG_WRITE_H
#define SHUNT_CONFIG_WRITE_H

#include <cjson/cJSON.h>

#include "config.h"

/* The apps stand apart from the config, as they do after a reload: app() gives each by its number. */
struct config_apps {
	size_t n;
	const struct app_conf *(*app)(const void *arg, size_t i);
	const void *arg;
};

/* Adds all keys to an empty object. */
void config_write(const struct config *c, const struct config_apps *apps, cJSON *out);

#endif
