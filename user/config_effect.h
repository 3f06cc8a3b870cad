/* SPDX-License-Identifier: MIT */
/*
 * What is right and does nothing: keys for which another one would have to be set, targets that
 * the app's other keys keep it from. Nothing is refused for it; who wrote it is told. A part of
 * config.c.
 */
#ifndef SHUNT_CONFIG_EFFECT_H
#define SHUNT_CONFIG_EFFECT_H

#include "config_read.h"

/*
 * Once the app is read, and of the config all but its apps: of the keys that are given in the app
 * itself, those without effect go to c->notes, with targets that can't be reached. What an app has
 * from Defaults is for others, too.
 */
void check_effects(struct reader *r, struct config *c, const struct app_conf *app,
		   const struct json *v);
/* The same of the daemon's keys, once the apps are read; `root` is the whole. Sets the scope. */
void check_daemon_effects(struct reader *r, struct config *c, const struct json *root);

#endif
