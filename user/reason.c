/* SPDX-License-Identifier: MIT */
#include "reason.h"

const struct close_reason_info close_reasons[N_CLOSE_REASONS] = {
	[CLOSE_DONE] = { "done", '-', false, false },
	[CLOSE_CLIENT_RESET] = { "client_reset", 'C', true, false },
	[CLOSE_CLIENT_LOST] = { "client_lost", 'C', true, false },
	[CLOSE_BACKEND_RESET] = { "backend_reset", 'S', true, false },
	[CLOSE_BACKEND_LOST] = { "backend_lost", 'S', true, false },
	[CLOSE_NO_BACKEND] = { "no_backend", 'S', true, false },
	/* An operator has taken all of them out: not even one that is down is tried. */
	[CLOSE_NO_ENABLED_BACKEND] = { "no_enabled_backend", 'S', true, false },
	/* As OnDown says. */
	[CLOSE_BACKEND_DOWN] = { "backend_down", 'S', true, false },
	[CLOSE_BACKEND_DISABLED] = { "backend_disabled", 'K', true, false },
	[CLOSE_CONNECT_TIMEOUT] = { "connect_timeout", 's', true, false },
	/* Both directions are dry: nothing is cut off, and a FIN is what pools of idle connections
	   expect. */
	[CLOSE_IDLE_TIMEOUT] = { "idle_timeout", 'T', false, false },
	[CLOSE_HALF_CLOSE_TIMEOUT] = { "half_close_timeout", 'T', true, false },
	[CLOSE_MAX_CONNECTIONS] = { "max_connections", 'P', true, false },
	[CLOSE_QUEUE_FULL] = { "queue_full", 'P', true, false },
	[CLOSE_QUEUE_TIMEOUT] = { "queue_timeout", 's', true, false },
	[CLOSE_SOURCE_CONNECTIONS] = { "max_connections_per_source", 'P', true, true },
	[CLOSE_SOURCE_RATE] = { "connection_rate_per_source", 'P', true, true },
	/* Of a PROXY header. */
	[CLOSE_HEADER_UNTRUSTED] = { "header_untrusted", 'P', true, false },
	[CLOSE_HEADER_MISSING] = { "header_missing", 'P', true, false },
	[CLOSE_HEADER_MALFORMED] = { "header_malformed", 'P', true, false },
	[CLOSE_HEADER_TIMEOUT] = { "header_timeout", 'T', true, false },
	[CLOSE_NO_RESOURCES] = { "no_resources", 'R', true, false },
	[CLOSE_STOPPED] = { "stopped", 'K', true, false },
	[CLOSE_DRAIN_TIMEOUT] = { "drain_timeout", 'K', true, false },
	/* It goes on, on the wire: only this daemon's part in it has ended. */
	[CLOSE_LEFT] = { "left", 'K', false, false },
	[CLOSE_INTERNAL] = { "internal", 'I', true, false },
};
