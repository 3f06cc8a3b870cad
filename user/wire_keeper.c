/* SPDX-License-Identifier: MIT */
#include "wire_keeper.h"

#include "log.h"
#include "wire_leg.h"

/* How often each flow is looked at: what its timeouts are exact to. Ends are told by the ring. */
#define LOOK_NS NSEC_PER_SEC

struct kept {
	struct list link;
	uint32_t flow;
	uint64_t ended_ns; /* it lingers since then; 0: it is alive */
};

struct wire_keeper {
	struct wire_keeper_conf conf;
	struct wire_ring *ring;
	struct watch ring_watch;
	struct timer look;
	struct list flows;
	size_t n; /* alive */
};

#define READ_RECORD(d, field) __atomic_load_n(&(d)->field, __ATOMIC_RELAXED)

static uint32_t state_of(const struct wire_keeper *k, const struct kept *f, int side)
{
	return READ_RECORD(wire_direction(k->conf.wire, f->flow, side), state);
}

static bool is_half_closed(const struct wire_keeper *k, const struct kept *f)
{
	return (state_of(k, f, 0) | state_of(k, f, 1)) & WIRE_FIN_ACKED;
}

/* NULL: it goes on. */
static const char *how_it_ended(const struct wire_keeper *k, const struct kept *f)
{
	uint32_t up = state_of(k, f, 0), down = state_of(k, f, 1);

	if (up & down & WIRE_FIN_ACKED)
		return "done"; /* a RST that comes after that answers a packet that was late */
	if (up & WIRE_RST)
		return "client_reset";
	return down & WIRE_RST ? "backend_reset" : NULL;
}

static void show(const struct wire_keeper *k, const struct kept *f, struct kept_flow *out)
{
	const struct wire_flow *id = wire_flow(k->conf.wire, f->flow);
	uint64_t now = k->conf.loop->now_ns, active_ns = id->joined_ns;

	*out = (struct kept_flow){ .identity = id, .half_closed = is_half_closed(k, f) };
	for (int i = 0; i < 2; i++) {
		const struct wire_direction *d = wire_direction(k->conf.wire, f->flow, i);

		out->bytes[i] = id->bytes_before[i] + READ_RECORD(d, bytes);
		active_ns = MAX(active_ns, READ_RECORD(d, payload_ns));
	}
	out->age_ns = now > id->opened_ns ? now - id->opened_ns : 0;
	out->idle_ns = now > active_ns ? now - active_ns : 0;
}

static void log_end(const struct wire_keeper *k, const struct kept *f, const char *reason)
{
	char text[ADDR_TEXT_MAX];
	struct kept_flow shown;
	struct log_record r;
	struct addr at;

	if (!k->conf.access_log || !log_enabled(LOG_LEVEL_INFO))
		return;
	show(k, f, &shown);
	log_record_begin(&r, LOG_LEVEL_INFO, "connection");
	log_record_str(&r, "app", shown.identity->app);
	wire_leg_peer(&shown.identity->leg[0], &at);
	log_record_str(&r, "client", addr_format(&at, text));
	wire_leg_own(&shown.identity->leg[0], &at);
	log_record_str(&r, "listener", addr_format(&at, text));
	log_record_str(&r, "target", shown.identity->target);
	wire_leg_peer(&shown.identity->leg[1], &at);
	log_record_str(&r, "address", addr_format(&at, text));
	log_record_ms(&r, "duration_ms", shown.age_ns);
	log_record_u64(&r, "bytes_to_backend", shown.bytes[0]);
	log_record_u64(&r, "bytes_to_client", shown.bytes[1]);
	log_record_str(&r, "engine", "wire");
	log_record_str(&r, "adopted", "yes");
	log_record_str(&r, "reason", reason);
	log_record_end(&r);
}

static void end(struct wire_keeper *k, struct kept *f, const char *reason)
{
	log_end(k, f, reason);
	wire_end(k->conf.wire, f->flow, k->conf.loop->now_ns);
	f->ended_ns = k->conf.loop->now_ns;
	if (!--k->n && k->conf.on_empty)
		k->conf.on_empty(k->conf.arg);
}

static void cut(struct wire_keeper *k, struct kept *f, const char *reason)
{
	wire_kill(k->conf.wire, f->flow);
	end(k, f, reason);
}

static void look_at(struct wire_keeper *k, struct kept *f)
{
	const char *how = how_it_ended(k, f);
	struct kept_flow shown;

	if (how) {
		end(k, f, how);
		return;
	}
	show(k, f, &shown);
	if (shown.half_closed && shown.identity->half_close_timeout_ms &&
	    shown.idle_ns >= shown.identity->half_close_timeout_ms * NSEC_PER_MSEC)
		cut(k, f, "half_close_timeout");
	else if (shown.identity->idle_timeout_ms &&
		 shown.idle_ns >= shown.identity->idle_timeout_ms * NSEC_PER_MSEC)
		cut(k, f, "idle_timeout");
}

static void forget(struct wire_keeper *k, struct kept *f)
{
	wire_give(k->conf.wire, f->flow, k->conf.loop->now_ns);
	list_del(&f->link);
	free(f);
}

static void on_look(struct timer *t)
{
	struct wire_keeper *k = container_of(t, struct wire_keeper, look);
	uint64_t now = k->conf.loop->now_ns;

	list_for_each_safe(e, &k->flows) {
		struct kept *f = list_entry(e, struct kept, link);

		if (!f->ended_ns)
			look_at(k, f);
		else if (now >= f->ended_ns + WIRE_LINGER_NS)
			forget(k, f);
	}
	if (!list_empty(&k->flows))
		loop_arm_in(k->conf.loop, &k->look, LOOK_NS);
}

/* An end was told; which one it is shows the next look, which is due now. */
static void on_event(void *arg, const struct wire_event *event)
{
	struct wire_keeper *k = arg;

	(void)event;
	timer_arm(&k->conf.loop->timers, &k->look, k->conf.loop->now_ns);
}

static void on_ring(struct watch *watch, uint32_t events)
{
	(void)events;
	wire_ring_consume(container_of(watch, struct wire_keeper, ring_watch)->ring);
}

static void adopt(void *arg, uint32_t flow)
{
	struct wire_keeper *k = arg;
	struct kept *f = xcalloc(1, sizeof(*f));

	f->flow = flow;
	f->ended_ns = wire_flow(k->conf.wire, flow)->ended_ns;
	list_append(&k->flows, &f->link);
	k->n += !f->ended_ns;
}

int wire_keeper_open(const struct wire_keeper_conf *conf, struct wire_keeper **out)
{
	struct wire_keeper *k = xcalloc(1, sizeof(*k));
	int rc;

	k->conf = *conf;
	list_init(&k->flows);
	timer_init(&k->look, on_look);
	k->ring_watch = (struct watch){ .fd = -1, .ready = on_ring };
	rc = wire_ring_open(conf->wire, WIRE_RING_KEEPER, on_event, k, &k->ring);
	if (!rc)
		rc = loop_add(conf->loop, &k->ring_watch, wire_ring_fd(k->ring), EPOLLIN);
	if (rc) {
		wire_keeper_close(k);
		return rc;
	}
	wire_adopt(conf->wire, WIRE_RING_KEEPER, adopt, k);
	if (k->n)
		log_notice("adopted %zu connection%s on the wire from the daemon before", k->n,
			   k->n == 1 ? "" : "s");
	/* What ended while there was no daemon was told to nobody. */
	if (!list_empty(&k->flows))
		timer_arm(&conf->loop->timers, &k->look, conf->loop->now_ns);
	*out = k;
	return 0;
}

void wire_keeper_close(struct wire_keeper *k)
{
	if (!k)
		return;
	loop_remove(k->conf.loop, &k->ring_watch);
	timer_disarm(&k->conf.loop->timers, &k->look);
	list_for_each_safe(e, &k->flows) {
		struct kept *f = list_entry(e, struct kept, link);

		list_del(&f->link);
		free(f);
	}
	wire_ring_close(k->ring);
	free(k);
}

void wire_keeper_kill(struct wire_keeper *k, const char *reason)
{
	list_for_each(e, &k->flows) {
		struct kept *f = list_entry(e, struct kept, link);

		if (!f->ended_ns)
			cut(k, f, reason);
	}
}

void wire_keeper_judge(struct wire_keeper *k,
		       const char *(*why)(void *arg, const struct wire_flow *identity), void *arg)
{
	list_for_each(e, &k->flows) {
		struct kept *f = list_entry(e, struct kept, link);
		const char *reason = f->ended_ns ? NULL
						 : why(arg, wire_flow(k->conf.wire, f->flow));

		if (reason)
			cut(k, f, reason);
	}
}

size_t wire_keeper_count(const struct wire_keeper *k)
{
	return k ? k->n : 0;
}

bool wire_keeper_show(const struct wire_keeper *k, size_t at, struct kept_flow *out)
{
	if (!k)
		return false;
	list_for_each(e, &k->flows) {
		const struct kept *f = list_entry(e, struct kept, link);

		if (f->ended_ns || at--)
			continue;
		show(k, f, out);
		return true;
	}
	return false;
}
