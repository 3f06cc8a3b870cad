/* SPDX-License-Identifier: MIT */
/*
 * What a session leaves in the kernel about itself when its connections are joined on the wire:
 * enough for a person with bpftool, and for the next daemon to go on with it.
 */
#include <stdio.h>

#include "session.h"
#include "wire_abi.h"

void session_describe(const struct relay *r, struct wire_flow *flow)
{
	const struct session *s = container_of(r, struct session, relay);
	const struct app_conf *conf = s->app->conf;

	snprintf(flow->app, sizeof(flow->app), "%s", conf->name);
	snprintf(flow->target, sizeof(flow->target), "%s", s->backend->text);
	flow->idle_timeout_ms = conf->idle_timeout_ms;
	flow->half_close_timeout_ms = conf->half_close_timeout_ms;
}
