/* SPDX-License-Identifier: MIT */
/*
 * The wire engine: both connections are joined at packet level by the TC program in
 * bpf/wire.bpf.c, and nothing here runs for a byte.
 *
 * Before the join the program keeps what has payload away from the sockets: from the client's SYN
 * on, and from the backend's SYN-ACK on. So the sockets have nothing to hand over but their
 * numbers. After it the sockets are silent, and a relay only hears how its flow ends. When the
 * relay is released its flow has ended, or is killed, or is left to run without the daemon.
 */
#include "engine_wire.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "engine_wire_share.h"
#include "wire_leg.h"

/* Less than that in TCP_MAXSEG is refused by the kernel. */
#define MSS_MIN 88

static struct joint *joint_of(const struct relay *r)
{
	return r->joint;
}

/* The program writes its half of a record at any time. */
#define READ_RECORD(d, field) __atomic_load_n(&(d)->field, __ATOMIC_RELAXED)

static struct wire_direction *record_of(const struct relay *r, int from)
{
	return wire_direction(r->pools->wire->wire, joint_of(r)->flow, from);
}

static uint32_t state_of(const struct relay *r, int from)
{
	return READ_RECORD(record_of(r, from), state);
}

/* A RST that comes after that answers a packet that was late. */
static bool both_ended(const struct relay *r)
{
	return state_of(r, CLIENT) & state_of(r, BACKEND) & WIRE_FIN_ACKED;
}

static bool is_over(const struct relay *r)
{
	return ((state_of(r, CLIENT) | state_of(r, BACKEND)) & WIRE_RST) || both_ended(r);
}

/* --- before the join --------------------------------------------------------------------------- */

static void decline_for(struct relay *r, enum engine_reason why)
{
	atomic_fetch_add_explicit(&r->pools->refused[why], 1, memory_order_relaxed);
	r->joiner = NULL;
	r->is_auto = true;
	for (int i = 0; i < 2; i++)
		r->dir[i].reason = why;
}

/* Such listeners' connections are not held; but this one's app may have become what it is by a
 * reload, after its SYN. */
static void wire_decline(struct relay *r, enum engine_reason why)
{
	struct wire *w = r->pools->wire ? r->pools->wire->wire : NULL;
	struct wire_tuple client;

	if (w && wire_leg_of(r->side[CLIENT].watch.fd, &client) && wire_is_held(w, &client, NULL))
		wire_release(w, &client);
	decline_for(r, why);
}

static struct joint *joint_new(struct relay *r)
{
	struct wire *w = r->pools->wire ? r->pools->wire->wire : NULL;
	struct wire_hold hold;
	struct joint *j;
	bool held;

	if (!w) {
		decline_for(r, ENGINE_WIRE_OFF);
		return NULL;
	}
	j = calloc(1, sizeof(*j));
	held = j && wire_leg_of(r->side[CLIENT].watch.fd, &j->client) &&
	       wire_is_held(w, &j->client, &hold);
	if (!held) {
		free(j);
		decline_for(r, ENGINE_WIRE_NOT_HELD);
		return NULL;
	}
	j->client_mss = hold.mss;
	return j;
}

static void wire_withdraw(struct relay *r)
{
	struct joint *j = joint_of(r);
	struct wire_tuple backend;
	struct wire *w;

	if (!j)
		return;
	w = r->pools->wire->wire;
	if (j->is_promotion) { /* it is in a list, or the settler has it */
		j->relay = NULL;
		r->joint = NULL;
		return;
	}
	wire_release(w, &j->client);
	if (wire_leg_of(r->side[BACKEND].watch.fd, &backend))
		wire_release(w, &backend);
	free(j);
	r->joint = NULL;
}

/* The backend must not send larger segments than the client can take, or the way to it: it is told
 * the lesser limit. */
static void limit_segments(const struct relay *r, int fd)
{
	const struct joint *j = joint_of(r);
	uint32_t of_path = wire_leg_mss(r->side[CLIENT].watch.fd, &j->client), least;
	int mss;

	least = j->client_mss && of_path ? MIN(j->client_mss, of_path) : j->client_mss + of_path;
	mss = (int)MAX(least, MSS_MIN);
	if (least)
		setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof(mss));
}

/* That the option or the expectation can't be set shows at the join, as another reason. */
static void wire_prepare(struct relay *r, int fd)
{
	struct joint *j = joint_of(r);

	if (!relay_is_tcp(r)) {
		wire_withdraw(r);
		wire_decline(r, ENGINE_NOT_TCP);
		return;
	}
	if (!j)
		r->joint = j = joint_new(r);
	if (!j || fd < 0)
		return;
	limit_segments(r, fd);
	if (wire_expect(r->pools->wire->wire, fd))
		return;
}

/* --- join and leave -------------------------------------------------------------------------- */

static enum engine_reason reason_of(enum wire_refusal refusal)
{
	static const enum engine_reason reasons[N_WIRE_REFUSALS] = {
		[WIRE_JOINED] = ENGINE_ON_THE_WIRE,
		[WIRE_NOT_DRY] = ENGINE_WIRE_NOT_DRY,
		[WIRE_NO_SOCKET] = ENGINE_WIRE_NO_SOCKET,
		[WIRE_NOT_SEEN] = ENGINE_WIRE_NOT_SEEN,
		[WIRE_FAMILIES] = ENGINE_WIRE_FAMILIES,
		[WIRE_TIMESTAMPS] = ENGINE_WIRE_TIMESTAMPS,
		[WIRE_ECN] = ENGINE_WIRE_ECN,
		[WIRE_MSS] = ENGINE_WIRE_MSS,
		[WIRE_NO_ROUTE] = ENGINE_WIRE_NO_ROUTE,
		[WIRE_MTU] = ENGINE_WIRE_MTU,
		[WIRE_TABLE_FULL] = ENGINE_WIRE_NO_SLOT,
	};

	return reasons[refusal];
}

static void describe(struct wire_share *s, const struct relay *r, uint32_t flow)
{
	struct wire_flow *f = wire_flow(s->wire, flow);

	f->leg[CLIENT] = joint_of(r)->client;
	f->opened_ns = r->born_ns;
	f->joined_ns = s->pools->loop->now_ns;
	for (int i = 0; i < 2; i++)
		f->bytes_before[i] = r->dir[i].bytes;
	if (s->describe)
		s->describe(r, f);
}

int wire_join_relay(struct relay *r, enum engine_reason *why_not)
{
	struct wire_share *s = r->pools->wire;
	const int fds[2] = { r->side[CLIENT].watch.fd, r->side[BACKEND].watch.fd };
	int64_t flow = wire_take(s->wire, s->pools->loop->now_ns);
	enum wire_refusal refusal = WIRE_NO_SOCKET;
	struct wire_request request;

	if (flow < 0) {
		*why_not = ENGINE_WIRE_NO_SLOT;
		return -ENOSPC;
	}
	describe(s, r, (uint32_t)flow);
	if (wire_leg_of(fds[BACKEND], &wire_flow(s->wire, (uint32_t)flow)->leg[BACKEND]))
		refusal = wire_join(s->wire, (uint32_t)flow, fds, s->ring_index, true, &request);
	if (refusal != WIRE_JOINED) {
		wire_give(s->wire, (uint32_t)flow, s->pools->loop->now_ns);
		*why_not = reason_of(refusal);
		return -EOPNOTSUPP;
	}
	joint_of(r)->flow = (uint32_t)flow;
	s->relays[flow] = r;
	r->joined = &engine_wire;
	return 0;
}

static void on_linger(struct timer *t)
{
	struct wire_share *s = container_of(t, struct wire_share, linger);
	uint64_t now = s->pools->loop->now_ns;

	list_for_each_safe(e, &s->lingering) {
		struct joint *j = list_entry(e, struct joint, link);

		if (j->linger_until_ns > now) {
			timer_arm(&s->pools->loop->timers, &s->linger, j->linger_until_ns);
			return;
		}
		wire_give(s->wire, j->flow, now);
		list_del(&j->link);
		free(j);
	}
}

/* Its entry answers for a while what may still come, as a TIME_WAIT socket would. */
static void linger(struct wire_share *s, struct joint *j)
{
	uint64_t now = s->pools->loop->now_ns;

	wire_end(s->wire, j->flow, now);
	j->linger_until_ns = now + WIRE_LINGER_NS;
	list_append(&s->lingering, &j->link);
	if (!timer_armed(&s->linger))
		timer_arm(&s->pools->loop->timers, &s->linger, j->linger_until_ns);
}

static void wire_leave(struct relay *r)
{
	struct wire_share *s = r->pools->wire;
	struct joint *j = joint_of(r);

	s->relays[j->flow] = NULL;
	if (s->leave_behind && !is_over(r)) {
		free(j);
	} else {
		if (!is_over(r))
			wire_kill(s->wire, j->flow);
		linger(s, j);
	}
	r->joint = NULL;
	r->joined = NULL;
}

/* --- while it is joined ------------------------------------------------------------------------ */

static uint64_t wire_refresh(struct relay *r)
{
	struct joint *j = joint_of(r);
	uint64_t active_ns = 0;
	uint32_t packets = 0;

	for (int i = 0; i < 2; i++) {
		const struct wire_direction *d = record_of(r, i);
		uint64_t now = READ_RECORD(d, bytes);

		direction_note_written(r, &r->dir[i], now - j->counted[i]);
		j->counted[i] = now;
		packets += (uint32_t)READ_RECORD(d, packets);
		active_ns = MAX(active_ns, READ_RECORD(d, payload_ns));
	}
	r->steps = MAX(r->steps, packets);
	return active_ns;
}

/* The ends pass each other's FINs on by themselves; what is left is to know of it. */
static int wire_pump(struct relay *r, int from)
{
	/* Whose stream has ended may reset the other one, and nobody pumps his own any more. */
	for (int end = 0; end < 2; end++)
		if ((state_of(r, end) & WIRE_RST) && !both_ended(r))
			return relay_fail(r, end, ECONNRESET);
	r->dir[from].ended = state_of(r, from) & WIRE_FIN_ACKED;
	return PUMP_WAIT;
}

static void wire_stop(struct relay *r, int from)
{
	(void)r;
	(void)from;
}

static void on_event(void *arg, const struct wire_event *event)
{
	struct wire_share *s = arg;
	struct relay *r = event->flow < wire_capacity(s->wire) ? s->relays[event->flow] : NULL;

	if (r && wire_flow(s->wire, event->flow)->generation == event->generation)
		s->pools->wake(r);
}

static void on_ring(struct watch *watch, uint32_t events)
{
	struct wire_share *s = container_of(watch, struct wire_share, ring_watch);

	(void)events;
	if (wire_ring_consume(s->ring))
		return;
	for (uint32_t flow = 0; flow < wire_capacity(s->wire); flow++)
		if (s->relays[flow])
			s->pools->wake(s->relays[flow]);
}

static void on_park(struct watch *watch, uint32_t events)
{
	struct wire_share *s = container_of(watch, struct wire_share, park_watch);

	(void)events;
	park_read(wire_park(s->wire), s->pools->loop->now_ns);
}

/* --- the worker's share ------------------------------------------------------------------------ */

int wire_share_open(const struct wire_share_conf *conf, uint32_t worker, struct relay_pools *pools)
{
	struct wire *w = conf->wire;
	struct wire_share *s = xcalloc(1, sizeof(*s));
	int rc;

	*s = (struct wire_share){
		.wire = w,
		.pools = pools,
		.describe = conf->describe,
		.ring_index = worker + 1,
		.relays = xcalloc(wire_capacity(w), sizeof(struct relay *)),
		.ring_watch = { .fd = -1, .ready = on_ring },
		.park_watch = { .fd = -1, .ready = on_park },
	};
	list_init(&s->lingering);
	list_init(&s->promoting);
	timer_init(&s->linger, on_linger);
	timer_init(&s->look, wire_promotions_look);
	pools->wire = s;
	rc = wire_ring_open(w, s->ring_index, on_event, s, &s->ring);
	if (!rc)
		rc = loop_add(pools->loop, &s->ring_watch, wire_ring_fd(s->ring), EPOLLIN);
	/* One worker is enough to empty it; which one is all the same. */
	if (!rc)
		rc = loop_add(pools->loop, &s->park_watch, park_fd(wire_park(w)),
			      EPOLLIN | EPOLLEXCLUSIVE);
	if (!rc && conf->settler)
		rc = settler_desk_open(&s->settler, conf->settler, pools->loop);
	if (rc)
		wire_share_close(pools);
	return rc;
}

static void free_all(struct list *joints)
{
	list_for_each_safe(e, joints) {
		struct joint *j = list_entry(e, struct joint, link);

		list_del(&j->link);
		free(j);
	}
}

void wire_share_close(struct relay_pools *pools)
{
	struct wire_share *s = pools->wire;

	if (!s)
		return;
	loop_remove(pools->loop, &s->park_watch);
	loop_remove(pools->loop, &s->ring_watch);
	timer_disarm(&pools->loop->timers, &s->linger);
	timer_disarm(&pools->loop->timers, &s->look);
	settler_desk_close(&s->settler);
	free_all(&s->promoting);
	free_all(&s->lingering);
	wire_ring_close(s->ring);
	free(s->relays);
	free(s);
	pools->wire = NULL;
}

void wire_share_leave_behind(struct relay_pools *pools)
{
	if (pools->wire)
		pools->wire->leave_behind = true;
}

void wire_share_listen_late(const struct relay_pools *pools, const struct addr *at, bool late)
{
	/* It is no place of ours any more: the app is going. */
	if (wire_listen_late(pools->wire->wire, at, late))
		return;
}

int64_t relay_wire_flow(const struct relay *r)
{
	return r->joined == &engine_wire ? (int64_t)joint_of(r)->flow : -1;
}

const struct engine engine_wire = {
	.name = "wire",
	.summary = "both connections are joined at packet level, by a BPF program",
	.prepare = wire_prepare,
	.withdraw = wire_withdraw,
	.decline = wire_decline,
	.pump = wire_pump,
	.stop = wire_stop,
	.join = wire_join_relay,
	.refresh = wire_refresh,
	.leave = wire_leave,
};
