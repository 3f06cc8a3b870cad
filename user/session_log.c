/* SPDX-License-Identifier: MIT */
#include "session_log.h"

#include <string.h>

#include "log.h"

/* The two HAProxy-like letters: who ended it, and in which phase: Request (the header), Queue,
 * Connecting, Data, Last data (half-closed). */
static void termination_letters(const struct session *s, enum close_reason reason, char letters[3])
{
	static const char phase[N_SESSION_STATES] = {
		[SESSION_ACCEPTED] = 'C',   [SESSION_HEADER] = 'R',   [SESSION_QUEUED] = 'Q',
		[SESSION_CONNECTING] = 'C', [SESSION_RELAYING] = 'D', [SESSION_HALF_CLOSED] = 'L',
	};

	letters[0] = close_reasons[reason].letter;
	if (letters[0] == 'T')
		letters[0] = s->relay.dir[CLIENT].ended ? 's' : 'c';
	letters[1] = reason == CLOSE_DONE ? '-' : phase[s->state];
	letters[2] = '\0';
}

void session_log_close(const struct session *s, enum close_reason reason)
{
	uint64_t now = s->ctx->loop->now_ns;
	char text[ADDR_TEXT_MAX], letters[3];
	struct log_record r;

	if (close_reasons[reason].is_flood && !log_enabled(LOG_LEVEL_DEBUG)) {
		log_warning("app \"%s\" refuses connections: %s", s->app->conf->name,
			    close_reasons[reason].name);
		return;
	}
	if (!s->ctx->access_log || !log_enabled(LOG_LEVEL_INFO))
		return;
	termination_letters(s, reason, letters);
	log_record_begin(&r, LOG_LEVEL_INFO, "connection");
	log_record_str(&r, "app", s->app->conf->name);
	log_record_str(&r, "client", addr_format(&s->client, text));
	log_record_str(&r, "listener", addr_format(&s->listener, text));
	log_record_str(&r, "target", s->backend ? s->backend->text : "-");
	log_record_str(&r, "address", s->backend ? addr_format(&s->endpoint.addr, text) : "-");
	log_record_u64(&r, "attempts", s->attempts);
	if (s->queued_ns)
		log_record_ms(&r, "queue_ms", s->waiter.queue ? now - s->queued_ns : s->waited_ns);
	log_record_ms(&r, "connect_ms", s->connected_ns ? s->connected_ns - s->opened_ns : 0);
	log_record_ms(&r, "duration_ms", now - s->opened_ns);
	log_record_u64(&r, "bytes_to_backend", s->relay.dir[CLIENT].bytes);
	log_record_u64(&r, "bytes_to_client", s->relay.dir[BACKEND].bytes);
	log_record_str(&r, "engine", relay_engine_names(&s->relay, text, sizeof(text)));
	if (log_enabled(LOG_LEVEL_DEBUG)) {
		log_record_str(&r, "why_to_backend",
			       engine_reason_text(relay_way(&s->relay, CLIENT).reason));
		log_record_str(&r, "why_to_client",
			       engine_reason_text(relay_way(&s->relay, BACKEND).reason));
	}
	log_record_str(&r, "reason", close_reasons[reason].name);
	log_record_str(&r, "termination", letters);
	if (s->connect_error)
		log_record_str(&r, "connect_error", strerror(s->connect_error));
	log_record_end(&r);
}
