/* SPDX-License-Identifier: MIT */
/*
 * What all engines share: the table of them, and the end of a direction. Passing on a FIN is here
 * and not in the engines because it is the same for each: when the source has ended and nothing
 * waits, shut the destination.
 */
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "engine_bypass.h"

const struct engine *const engines[] = { &engine_copy, &engine_splice, &engine_sockmap,
					 &engine_wire, &engine_bypass, NULL };
const char *const engine_names[] = { "auto", "copy", "splice", "sockmap", "wire" };
const size_t n_engines = ARRAY_SIZE(engine_names);
/* The bypass is nobody's engine: it goes around whichever there is. */
_Static_assert(ARRAY_SIZE(engine_names) == ARRAY_SIZE(engines) - 1, "auto and a name an engine");

const struct engine *engine_find(const char *name)
{
	for (size_t i = 0; engines[i]; i++)
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	return NULL;
}

static const char *const reason_texts[N_ENGINE_REASONS] = {
	[ENGINE_FORCED] = "the configuration says so",
	[ENGINE_FIRST_BYTES] = "every flow starts here",
	[ENGINE_SMALL_READS] = "its reads have become small",
	[ENGINE_BULK] = "it moves bulk: large reads one after another",
	[ENGINE_NO_PIPE] = "no pipe was to be had",
	[ENGINE_LONG_LIVED] = "it has lived long on small messages",
	[ENGINE_URGENT_DATA] = "urgent data came, where splice(2) would wait for ever",
	[ENGINE_SOCKMAP_OFF] = "sockmap is not available on this host",
	[ENGINE_NO_SLOT] = "all slots of its worker's sockmap are taken",
	[ENGINE_NOT_ESTABLISHED] =
		"one of its ends had begun to close before sockmap could take it",
	[ENGINE_JOIN_FAILED] = "the kernel did not take its sockets into the sockmap",
	[ENGINE_NOT_TCP] = "one of its ends is a unix socket, which only copy and splice take",
	[ENGINE_ON_THE_WIRE] = "its connections were joined before the first byte",
	[ENGINE_PROMOTED] = "its connections were joined in a moment when both were dry",
	[ENGINE_ADOPTED] = "a daemon before this one has joined its connections",
	[ENGINE_WIRE_OFF] = "the wire is not available on this host",
	[ENGINE_WIRE_NOT_HELD] =
		("not on the wire: the client is on this host, or its packets come in "
		 "by a device without the wire's program"),
	[ENGINE_WIRE_NOT_SEEN] =
		("not on the wire: the backend is on this host, or its packets come "
		 "in by a device without the wire's program"),
	[ENGINE_WIRE_NOT_DRY] = "not on the wire: bytes reached a socket before it could be joined",
	[ENGINE_WIRE_NO_SOCKET] = "not on the wire: one of its ends had begun to close",
	[ENGINE_WIRE_FAMILIES] = "not on the wire: one end speaks IPv4, the other IPv6",
	[ENGINE_WIRE_TIMESTAMPS] = "not on the wire: only one end uses TCP timestamps",
	[ENGINE_WIRE_ECN] = "not on the wire: only one end uses ECN",
	[ENGINE_WIRE_MSS] = ("not on the wire: the backend takes only smaller segments than the "
			     "client was told"),
	[ENGINE_WIRE_NO_ROUTE] = "not on the wire: the kernel has no route to one of its ends",
	[ENGINE_WIRE_MTU] = ("not on the wire: the way to one end takes only smaller packets than "
			     "the other end was told"),
	[ENGINE_WIRE_NO_SLOT] = "not on the wire: its table is full",
	[ENGINE_WIRE_HEADER] = "not on the wire yet: it has begun with a PROXY header",
	[ENGINE_WIRE_BRIEF] = ("not on the wire yet: its app's connections have lately been over "
			       "after a few messages"),
	[ENGINE_WIRE_TRANSPARENT] = ("not on the wire: the backend sees the client's own address, "
				     "which this host can't hold without a socket"),
	[ENGINE_BYPASSED] = "both of its ends are on this host, and send to each other",
	[ENGINE_BYPASS_HALF] =
		("its sender is on this host, and sends by the proxy's connection to "
		 "the other end"),
	[ENGINE_BYPASS_OTHER_HALF] =
		"not bypassed: who sends it is not on this host, or not in the cgroup",
	[ENGINE_BYPASS_OFF] = "not bypassed: the local bypass is not available on this host",
	[ENGINE_BYPASS_UNKNOWN] =
		("not bypassed yet: the backend has not sent anything, and may or "
		 "may not be on this host"),
	[ENGINE_BYPASS_REMOTE] =
		"not bypassed: neither of its ends is on this host and in the cgroup",
	[ENGINE_BYPASS_JOINER] = ("not bypassed: only one of its ends is on this host, and its "
				  "engine takes both of its connections"),
	[ENGINE_BYPASS_NO_SLOT] = "not bypassed: all of its worker's slots are taken",
	[ENGINE_BYPASS_NOT_DRY] = ("not bypassed now: bytes that came through the proxy are not "
				   "read yet"),
	[ENGINE_BYPASS_FULL] = "not bypassed now: the receiver has too much that it has not read",
	[ENGINE_BYPASS_SWITCHED_OFF] = "not bypassed: it was switched off by \"shunt bypass off\"",
	[ENGINE_BYPASS_UNFIT] =
		("not bypassed: an end uses MSG_ZEROCOPY, SO_RCVLOWAT or TLS in the "
		 "kernel"),
	[ENGINE_BYPASS_GONE] = "not bypassed: the receiver has closed",
	[ENGINE_BYPASS_ENDED] = "not bypassed: one of its ends has ended its own direction",
	[ENGINE_BYPASS_HEADER] = "not bypassed: it has begun with a PROXY header",
};

const char *engine_reason_text(enum engine_reason reason)
{
	return reason_texts[reason];
}

int relay_pools_init(struct relay_pools *p, size_t buffers, size_t pipes)
{
	buffer_pool_init(&p->buffers, buffers);
	pipe_pool_init(&p->pipes, pipes);
	p->scratch = malloc(BUFFER_BYTES);
	return p->scratch ? 0 : -ENOMEM;
}

void relay_pools_close(struct relay_pools *p)
{
	buffer_pool_close(&p->buffers);
	pipe_pool_close(&p->pipes);
	free(p->scratch);
	p->scratch = NULL;
}

void relay_init(struct relay *r, struct relay_pools *pools, const struct engine *engine,
		bool may_wire)
{
	bool joins = engine && engine->join;
	bool serves = engine && !joins;

	*r = (struct relay){
		.pools = pools,
		.born_ns = pools->loop ? pools->loop->now_ns : 0,
		.is_auto = !engine,
		.may_wire = engine ? engine == &engine_wire : may_wire,
		.joiner = joins                                ? engine
			  : !engine && may_wire && pools->wire ? &engine_wire
							       : NULL,
	};
	for (int i = 0; i < 2; i++) {
		r->side[i].watch.fd = -1;
		r->dir[i].engine = serves ? engine : &engine_copy;
		r->dir[i].reason = serves ? ENGINE_FORCED : ENGINE_FIRST_BYTES;
	}
}

bool side_is_broken(const struct side *s, uint32_t events)
{
	return events & (s->is_unix ? EPOLLERR : EPOLLERR | EPOLLHUP);
}

void side_note_events(struct side *s, uint32_t events)
{
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->hangup = true;
	if (events & EPOLLPRI)
		s->urgent = true;
	if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->readable = true;
	if (events & EPOLLOUT)
		s->writable = true;
}

void direction_switch(struct relay *r, int from, const struct engine *engine,
		      enum engine_reason reason)
{
	struct direction *d = &r->dir[from];

	if (engine->start(r, from))
		return;
	d->engine->stop(r, from);
	d->engine = engine;
	d->reason = reason;
}

bool relay_is_tcp(const struct relay *r)
{
	return !r->side[CLIENT].is_unix && !r->side[BACKEND].is_unix;
}

bool relay_may_join(const struct relay *r)
{
	if (r->joined || r->refused || !relay_is_dry(r))
		return false;
	for (int i = 0; i < 2; i++) {
		const struct side *s = &r->side[i];

		/* What it has that was not read yet, it has as whole segments: see engine_sockmap. */
		if (s->watch.fd < 0 || s->readable || s->hangup || s->urgent || r->dir[i].eof)
			return false;
	}
	return true;
}

void relay_begin_late(struct relay *r, enum engine_reason why)
{
	if (!r->joiner || !r->joiner->decline)
		return;
	r->joiner->withdraw(r);
	r->joiner->decline(r, why);
}

void relay_refuse_wire(struct relay *r, enum engine_reason why)
{
	r->may_wire = false;
	relay_begin_late(r, why);
}

void relay_prepare(struct relay *r, int fd)
{
	if (r->joiner && r->joiner->prepare)
		r->joiner->prepare(r, fd);
	bypass_prepare(r, fd);
}

/* Nobody else joins it: nothing is shorter, and the ends' first bytes are held back no longer. */
static void leave_to_bypass(struct relay *r)
{
	if (r->joiner && r->joiner->withdraw)
		r->joiner->withdraw(r);
	r->joiner = NULL;
	r->may_wire = false;
	r->refused = true;
}

void relay_begin(struct relay *r)
{
	bypass_begin(r);
	if (relay_bypass_direction(r, CLIENT))
		leave_to_bypass(r);
	if (r->joiner && r->joiner->prepare)
		relay_join(r, r->joiner, ENGINE_ON_THE_WIRE);
}

void relay_set_engine(struct relay *r, const struct engine *engine, enum engine_reason reason)
{
	r->joiner = NULL;
	for (int i = 0; i < 2; i++) {
		struct direction *d = &r->dir[i];

		d->engine->stop(r, i);
		d->engine = engine;
		d->reason = reason;
	}
}

int relay_join(struct relay *r, const struct engine *engine, enum engine_reason reason)
{
	int rc = engine->join(r, &reason);

	if (!rc) {
		relay_set_engine(r, engine, reason);
		return 0;
	}
	atomic_fetch_add_explicit(&r->pools->refused[reason], 1, memory_order_relaxed);
	if (engine->withdraw) {
		engine->withdraw(r);
		r->is_auto = true; /* whoever wanted the wire wants the next best */
	} else {
		r->refused = true;
	}
	if (r->joined) { /* half: splice(2) would not see its bytes */
		relay_set_engine(r, &engine_copy, reason);
		return rc;
	}
	r->joiner = NULL;
	for (int i = 0; i < 2; i++)
		r->dir[i].reason = reason;
	return rc;
}

int direction_pump(struct relay *r, int from, int (*write_on)(struct relay *r, int from),
		   ssize_t (*move)(struct relay *r, int from))
{
	struct direction *d = &r->dir[from];
	const struct engine *engine = d->engine;
	size_t budget = PUMP_BUDGET_BYTES;

	if ((d->buffer || d->pipe) && r->side[!from].writable) {
		int rc = write_on(r, from);

		if (rc)
			return rc;
	}
	while (r->side[from].readable && r->side[!from].writable && !d->eof &&
	       d->engine == engine) {
		ssize_t n = move(r, from);

		if (n < 0)
			return (int)n;
		if ((size_t)n >= budget)
			return PUMP_MORE;
		budget -= (size_t)n;
	}
	return PUMP_WAIT;
}

static int pass_on_end(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];

	if (shutdown(r->side[!from].watch.fd, SHUT_WR))
		return relay_fail(r, !from, errno);
	d->ended = true;
	return PUMP_WAIT;
}

int relay_pump(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];
	const struct engine *engine;
	int rc;

	if (d->ended)
		return PUMP_WAIT;
	/* An engine that finds that it can't go on switches to another one, which then takes over
	 * at once. */
	do {
		engine = d->engine;
		rc = engine->pump(r, from);
	} while (rc >= 0 && engine != d->engine);
	if (rc < 0)
		return rc;
	if (from == BACKEND && r->bypass && d->bytes && bypass_conclude(r))
		leave_to_bypass(r);
	if (d->eof && direction_is_dry(d))
		return bypass_was_cut(r, from) ? relay_fail(r, from, ECONNRESET)
					       : pass_on_end(r, from);
	if (r->joiner && !r->joiner->prepare && relay_may_join(r))
		relay_join(r, r->joiner, ENGINE_FORCED);
	if (r->is_auto)
		auto_review(r, from);
	return rc;
}

uint64_t relay_refresh(struct relay *r)
{
	uint64_t around_ns = bypass_refresh(r);
	uint64_t joined_ns = r->joined ? r->joined->refresh(r) : 0;

	return MAX(around_ns, joined_ns);
}

void relay_release(struct relay *r)
{
	for (int i = 0; i < 2; i++)
		r->dir[i].engine->stop(r, i);
	if (r->joined)
		r->joined->leave(r);
	else if (r->joiner && r->joiner->withdraw)
		r->joiner->withdraw(r);
	bypass_leave(r);
}

bool relay_is_done(const struct relay *r)
{
	return r->dir[CLIENT].ended && r->dir[BACKEND].ended;
}

bool relay_is_dry(const struct relay *r)
{
	return direction_is_dry(&r->dir[CLIENT]) && direction_is_dry(&r->dir[BACKEND]);
}

const char *relay_engine_names(const struct relay *r, char *buf, size_t size)
{
	const char *up = relay_way(r, CLIENT).engine->name;
	const char *down = relay_way(r, BACKEND).engine->name;

	if (up == down)
		return up;
	snprintf(buf, size, "%s,%s", up, down);
	return buf;
}
