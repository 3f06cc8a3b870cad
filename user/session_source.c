/* SPDX-License-Identifier: MIT */
#include "session_source.h"

#include "sources.h"

static struct source_limits limits_of(const struct app_conf *conf)
{
	const struct rate *rate = &conf->rate_per_source;
	uint32_t burst = conf->burst_per_source;

	return (struct source_limits){
		.connections = conf->max_per_source,
		.interval_ns = rate->n ? rate->per_ms * NSEC_PER_MSEC / rate->n : 0,
		.burst = burst ? burst : rate->n,
	};
}

bool session_source_admit(struct session *s, enum close_reason *refused)
{
	const struct source_limits limits = limits_of(s->app->conf);
	struct sources *table = s->ctx->admission->sources;

	if (!limits.connections && !limits.interval_ns)
		return true;
	/* A client on a unix socket comes from nowhere, unless a PROXY header has said more. */
	if (!addr_is_ip(&s->client))
		return true;
	switch (sources_admit(table, s->app->shared, &s->client, &limits, s->ctx->loop->now_ns,
			      &s->source)) {
	case SOURCE_TOO_MANY:
		*refused = CLOSE_SOURCE_CONNECTIONS;
		return false;
	case SOURCE_TOO_FAST:
		*refused = CLOSE_SOURCE_RATE;
		return false;
	case SOURCE_ADMITTED:
		break;
	}
	return true;
}

void session_source_leave(struct session *s)
{
	if (s->source)
		sources_leave(s->ctx->admission->sources, s->source);
	s->source = NULL;
}
