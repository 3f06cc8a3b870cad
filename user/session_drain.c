/* SPDX-License-Identifier: MIT */
#include "session_drain.h"

static bool is_over(const _Atomic uint64_t *leave_by_ns, uint64_t now_ns)
{
	uint64_t at = atomic_load_explicit(leave_by_ns, memory_order_relaxed);

	return at && at <= now_ns;
}

size_t session_cut(struct session_ctx *ctx)
{
	size_t n = 0;

	list_for_each_safe(e, &ctx->sessions) {
		struct session *s = list_entry(e, struct session, link);
		enum close_reason reason = N_CLOSE_REASONS;

		if (s->backend)
			reason = backend_why_cut(s->backend, s->connected_ns);
		if (reason == N_CLOSE_REASONS)
			continue;
		session_leave_backend(s, reason);
		n += s->state == SESSION_CLOSED; /* or it goes on to another one */
	}
	return n;
}

size_t session_drain(struct session_ctx *ctx, uint64_t now_ns)
{
	size_t n = 0;

	list_for_each_safe(e, &ctx->sessions) {
		struct session *s = list_entry(e, struct session, link);

		if (!is_over(&s->app->shared->leave_by_ns, now_ns) &&
		    !(s->backend && is_over(&s->backend->leave_by_ns, now_ns)))
			continue;
		session_close(s, CLOSE_DRAIN_TIMEOUT);
		n++;
	}
	return n;
}
