/* SPDX-License-Identifier: MIT */
/* An app's ProxyProtocol: the keys of the object, and what must hold across them. A part of
 * config.c. */
#ifndef SHUNT_CONFIG_PROXY_PROTOCOL_H
#define SHUNT_CONFIG_PROXY_PROTOCOL_H

#include "config_read.h"

/* The field is the struct app_conf itself; what is not given stays as it is. */
key_reader read_proxy_protocol;

/* Once the app is read: headers are taken from those alone who are named. */
void check_proxy_protocol(struct reader *r, const struct app_conf *app, const struct json *v);

extern const struct object_kind config_proxy_protocol_kind;

#endif
