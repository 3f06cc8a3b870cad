/* SPDX-License-Identifier: MIT */
/*
 * Keys that are right and do nothing, since another one would have to be set for them to. Nothing
 * is refused for it; who wrote them is told. A part of config.c.
 */
#ifndef SHUNT_CONFIG_EFFECT_H
#define SHUNT_CONFIG_EFFECT_H

#include "config_read.h"

/*
 * Once the app is read, and of the config all but its apps: of the keys that are given in the app
 * itself, those without effect go to c->idle_keys. What an app has from Defaults is for others, too.
 */
void check_effects(struct reader *r, struct config *c, const struct app_conf *app,
		   const struct json *v);

#endif
