/* SPDX-License-Identifier: MIT */
#include "session_drain.h"

static bool is_over(const _Atomic uint64_t *leave_by_ns, uint64_t now_ns)
{
	uint64_t at = atomic_load_explicit(leave_by_ns, memory_order_relaxed);

	return at && at <= now_ns;
}

/* N_CLOSE_REASONS: it may go on. */
static enum close_reason why_cut(const struct session *s)
{
	const struct backend *b = s->backend;
	uint64_t cut_ns;

	if (!b)
		return N_CLOSE_REASONS;
	if (atomic_load(&b->order) == BACKEND_DISABLED)
		return CLOSE_BACKEND_DISABLED;
	cut_ns = atomic_load(&b->cut_ns);
	/* One that came later is there because the backend does answer. */
	if (s->connected_ns && s->connected_ns <= cut_ns)
		return CLOSE_BACKEND_DOWN;
	return N_CLOSE_REASONS;
}

size_t session_cut(struct session_ctx *ctx)
{
	size_t n = 0;

	list_for_each_safe(e, &ctx->sessions) {
		struct session *s = list_entry(e, struct session, link);
		enum close_reason reason = why_cut(s);

		if (reason == N_CLOSE_REASONS)
			continue;
		session_leave_backend(s, reason);
		n++;
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
