/* SPDX-License-Identifier: MIT */
#include "reason.h"

const struct close_reason_info close_reasons[N_CLOSE_REASONS] = {
	[CLOSE_DONE] = { "done", '-', false },
	[CLOSE_CLIENT_RESET] = { "client_reset", 'C', true },
	[CLOSE_CLIENT_LOST] = { "client_lost", 'C', true },
	[CLOSE_BACKEND_RESET] = { "backend_reset", 'S', true },
	[CLOSE_BACKEND_LOST] = { "backend_lost", 'S', true },
	[CLOSE_NO_BACKEND] = { "no_backend", 'S', true },
	/* An operator has taken all of them out: not even one that is down is tried. */
	[CLOSE_NO_ENABLED_BACKEND] = { "no_enabled_backend", 'S', true },
	/* As OnDown says. */
	[CLOSE_BACKEND_DOWN] = { "backend_down", 'S', true },
	[CLOSE_BACKEND_DISABLED] = { "backend_disabled", 'K', true },
	[CLOSE_CONNECT_TIMEOUT] = { "connect_timeout", 's', true },
	/* Both directions are dry: nothing is cut off, and a FIN is what pools of idle connections
	   expect. */
	[CLOSE_IDLE_TIMEOUT] = { "idle_timeout", 'T', false },
	[CLOSE_HALF_CLOSE_TIMEOUT] = { "half_close_timeout", 'T', true },
	[CLOSE_MAX_CONNECTIONS] = { "max_connections", 'P', true },
	[CLOSE_QUEUE_FULL] = { "queue_full", 'P', true },
	[CLOSE_QUEUE_TIMEOUT] = { "queue_timeout", 's', true },
	[CLOSE_SOURCE_CONNECTIONS] = { "max_connections_per_source", 'P', true, .is_flood = true },
	[CLOSE_SOURCE_RATE] = { "connection_rate_per_source", 'P', true, .is_flood = true },
	/* Of a PROXY header. */
	[CLOSE_HEADER_UNTRUSTED] = { "header_untrusted", 'P', true },
	[CLOSE_HEADER_MISSING] = { "header_missing", 'P', true },
	[CLOSE_HEADER_MALFORMED] = { "header_malformed", 'P', true },
	[CLOSE_HEADER_TIMEOUT] = { "header_timeout", 'T', true },
	[CLOSE_NO_RESOURCES] = { "no_resources", 'R', true },
	[CLOSE_STOPPED] = { "stopped", 'K', true },
	[CLOSE_DRAIN_TIMEOUT] = { "drain_timeout", 'K', true },
	/* It goes on, on the wire: only this daemon's part in it has ended. */
	[CLOSE_LEFT] = { "left", 'K', false },
	[CLOSE_INTERNAL] = { "internal", 'I', true },
};
