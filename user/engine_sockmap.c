/* SPDX-License-Identifier: MIT */
/*
 * The sockmap engine: the kernel relays, by the verdict program in bpf/shunt.bpf.c. A direction of
 * a joined relay is either resumed (the kernel has it, and nothing here runs for it) or passing
 * (the kernel passes its bytes to userspace, and the copy engine moves them).
 *
 * From passing to resumed: userspace has sent all that was passed and publishes how much that was.
 * The program redirects the next segment only if that is still all. From resumed to passing: the
 * target is full, and the program says so on the worker's ring; or the source has ended. Then
 * nothing is sent before the target's TCP has taken all that was redirected.
 */
#include "engine_sockmap.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "slots.h"

/* While a direction is resumed there is nothing to do for what arrives, only for what ends. */
#define RESUMED_EVENTS (EPOLLRDHUP | EPOLLET)

/* Turns of the loop in which the target's progress is looked at, before it is done by time. */
#define DRAIN_TURNS 32
/* A target that takes nothing for so long, after its source has ended, is given up. */
#define DRAIN_STALL_MAX_NS (60 * NSEC_PER_SEC)
/* How often the two numbers that make a socket's written bytes are read for a pair that fits. */
#define WRITTEN_TRIES 64

struct sockmap_share {
	struct sockmap *map;
	struct relay_pools *pools;
	uint32_t first_slot;
	struct slots slots;    /* by index: slots first_slot + 2 * index and the next one */
	struct joint **joints; /* by index; NULL: not in use */
	struct sockmap_ring *ring;
	struct watch ring_watch;
};

/* A direction of a joined relay. */
struct way {
	struct shunt_direction *record;
	uint64_t cookie;                    /* of its source; 0: not in the map */
	uint64_t bytes_at_join;             /* direction.bytes */
	uint64_t written_at_join;           /* see written(): of its destination */
	uint64_t redirected;                /* what of record->redirected is in direction.bytes */
	uint64_t written, stalled_since_ns; /* drain: what was seen last, and since when */
	unsigned int turns;                 /* drain: looks at it so far */
	bool passing;
};

struct joint {
	struct relay *relay;
	uint32_t index;
	struct way way[2];
};

static uint32_t slot_of(const struct sockmap_share *s, const struct joint *j, int side)
{
	return s->first_slot + 2 * j->index + (uint32_t)side;
}

static struct way *way_of(const struct relay *r, int from)
{
	return &((struct joint *)r->joint)->way[from];
}

/* The program writes its half of a record at any time. */
#define READ_RECORD(w, field) __atomic_load_n(&(w)->record->field, __ATOMIC_RELAXED)
#define WRITE_RECORD(w, field, value) __atomic_store_n(&(w)->record->field, value, __ATOMIC_RELAXED)

/* --- the socket's own view --------------------------------------------------------------------- */

static int bytes_acked(int fd, uint64_t *n)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return -errno;
	*n = info.tcpi_bytes_acked;
	return 0;
}

/*
 * How many bytes the socket's TCP has taken for sending, counted from some fixed point: those that
 * the peer has acknowledged and those in the queue. Two reads; an ACK in between would make bytes
 * count in neither, so the pair is only good between two equal readings of the first.
 */
static int written(int fd, uint64_t *n)
{
	for (int i = 0; i < WRITTEN_TRIES; i++) {
		uint64_t before = 0, after = 0;
		int queued, rc = bytes_acked(fd, &before);

		if (rc)
			return rc;
		if (ioctl(fd, SIOCOUTQ, &queued))
			return -errno;
		rc = bytes_acked(fd, &after);
		if (rc)
			return rc;
		*n = after + (uint64_t)queued;
		if (before == after)
			return 0;
	}
	return -EAGAIN;
}

/*
 * Takes the source's lock, and lets the program judge what is in the receive queue already: a new
 * SO_RCVLOWAT makes TCP look whether there is something to be told of.
 */
static void kick(int fd)
{
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
}

/* Passed bytes that userspace has sent. */
static uint64_t copied(const struct relay *r, int from)
{
	const struct way *w = way_of(r, from);

	return r->dir[from].bytes - w->bytes_at_join - w->redirected;
}

static void count_redirected(struct relay *r, int from)
{
	struct way *w = way_of(r, from);
	uint64_t now = READ_RECORD(w, redirected);

	direction_note_written(r, &r->dir[from], now - w->redirected);
	w->redirected = now;
}

/* --- drain: has the destination's TCP taken all that was redirected? ---------------------------- */

static bool is_drained(struct relay *r, int from)
{
	struct direction *d = &r->dir[from];
	struct way *w = way_of(r, from);
	uint64_t now = 0, relayed, taken;

	count_redirected(r, from);
	d->in_kernel = MAX(d->in_kernel, 1);
	if (written(r->side[!from].watch.fd, &now))
		return false;
	if (now != w->written)
		w->stalled_since_ns = r->pools->loop->now_ns;
	w->written = now;
	relayed = w->redirected + copied(r, from);
	taken = now - w->written_at_join;
	d->in_kernel = relayed > taken ? relayed - taken : 0;
	return !d->in_kernel;
}

/* PUMP_WAIT when it is drained. */
static int drain(struct relay *r, int from)
{
	struct way *w = way_of(r, from);
	struct direction *d = &r->dir[from];

	if (!d->in_kernel || is_drained(r, from))
		return PUMP_WAIT;
	if (r->side[from].hangup &&
	    r->pools->loop->now_ns > w->stalled_since_ns + DRAIN_STALL_MAX_NS)
		return relay_fail(r, !from, ETIMEDOUT);
	return w->turns++ < DRAIN_TURNS ? PUMP_MORE : PUMP_LATER;
}

/* --- passing and resumed --------------------------------------------------------------------- */

/* Waits on both sides for what the passing directions need. */
static void watch_what_passes(struct relay *r)
{
	for (int i = 0; i < 2; i++) {
		uint32_t events = RESUMED_EVENTS;

		if (way_of(r, i)->passing)
			events |= EPOLLIN;
		if (way_of(r, !i)->passing)
			events |= EPOLLOUT;
		/* Should it fail, the old events stay: as good or, at worst, some wake-ups too
		 * many. */
		if (loop_change(r->pools->loop, &r->side[i].watch, events))
			r->side[i].readable = true;
	}
}

/*
 * Nothing was sent yet of what is passed from now on, and bytes that were redirected before it may
 * still be on their way to the destination's TCP.
 */
static void drain_first(struct relay *r, int from)
{
	struct way *w = way_of(r, from);

	w->turns = 0;
	w->stalled_since_ns = r->pools->loop->now_ns;
	r->dir[from].in_kernel = 1;
}

/*
 * From resumed to passing. resume_at is taken back first, under the source's lock: else a segment
 * that comes while the redirected ones are waited for could be redirected too, and the next one be
 * passed and overtake it. When the program redirects after that, there is nothing to pass (the word
 * was an old one), unless the source has ended: then what it has redirected is all, and the end is
 * read here.
 */
static void pass(struct relay *r, int from)
{
	struct way *w = way_of(r, from);

	if (w->passing)
		return;
	WRITE_RECORD(w, resume_at, SHUNT_RESUME_NEVER);
	kick(r->side[from].watch.fd);
	if (READ_RECORD(w, mode) == SHUNT_REDIRECT && !r->side[from].hangup)
		return;
	w->passing = true;
	drain_first(r, from);
	/* Nobody has watched: the next calls will tell. */
	r->side[from].readable = r->side[!from].writable = true;
	watch_what_passes(r);
}

/*
 * All that was passed has been sent: lets the program redirect what comes next. A segment may be
 * passed before it sees `resume_at`; but each verdict runs under the source's lock, which kick()
 * takes after that was published. So what `passed` says after it is final, if it is what was sent.
 * If not, the bytes will bring an edge; and before them others may have been redirected, when the
 * program has seen `resume_at` and then met a full target.
 */
static void resume(struct relay *r, int from)
{
	struct way *w = way_of(r, from);
	uint64_t sent = copied(r, from);

	WRITE_RECORD(w, resume_at, sent);
	kick(r->side[from].watch.fd);
	if (READ_RECORD(w, passed) != sent) {
		drain_first(r, from);
		return;
	}
	w->passing = false;
	watch_what_passes(r);
}

static int sockmap_pump(struct relay *r, int from)
{
	struct way *w = way_of(r, from);
	struct direction *d = &r->dir[from];
	int rc;

	if (READ_RECORD(w, mode) == SHUNT_BROKEN)
		return relay_fail(r, from, ENOBUFS);
	if (!w->passing && r->side[from].hangup)
		pass(r, from); /* the end is read as any byte */
	if (!w->passing)
		return PUMP_WAIT;
	rc = drain(r, from);
	if (rc != PUMP_WAIT)
		return rc;
	rc = engine_copy.pump(r, from);
	if (rc != PUMP_WAIT || !direction_is_dry(d))
		return rc;
	if (!d->eof) {
		if (!r->side[from].readable)
			resume(r, from);
		return PUMP_WAIT;
	}
	/* The socket says that all was read, but it does not count what the kernel is still
	 * queueing. */
	if (READ_RECORD(w, passed) == copied(r, from))
		return PUMP_WAIT;
	d->eof = false;
	r->side[from].readable = true;
	return PUMP_LATER;
}

static void on_event(void *arg, uint32_t slot, uint32_t generation)
{
	struct sockmap_share *s = arg;
	uint32_t index = (slot - s->first_slot) / 2;
	struct joint *j = index < s->slots.n ? s->joints[index] : NULL;

	if (!j || generation != s->slots.generation[index])
		return;
	pass(j->relay, (int)(slot & 1));
	s->pools->wake(j->relay);
}

static void on_ring(struct watch *watch, uint32_t events)
{
	(void)events;
	sockmap_ring_consume(container_of(watch, struct sockmap_share, ring_watch)->ring);
}

/* --- join and leave -------------------------------------------------------------------------- */

static struct joint *joint_new(struct sockmap_share *s, struct relay *r)
{
	int64_t index = slots_take(&s->slots, s->pools->loop->now_ns);
	struct joint *j;

	if (index < 0)
		return NULL;
	j = calloc(1, sizeof(*j));
	if (!j) {
		slots_give(&s->slots, (uint32_t)index, 0);
		return NULL;
	}
	j->relay = r;
	j->index = (uint32_t)index;
	s->joints[index] = j;
	return j;
}

static void joint_free(struct sockmap_share *s, struct joint *j)
{
	for (int i = 0; i < 2; i++)
		if (j->way[i].cookie)
			sockmap_forget(s->map, j->way[i].cookie);
	s->joints[j->index] = NULL;
	slots_give(&s->slots, j->index, s->pools->loop->now_ns);
	free(j);
}

/* Before the socket is in the map, so that the program finds it ready. 0 or -errno. */
static int prepare_way(struct sockmap_share *s, struct relay *r, struct joint *j, int from)
{
	struct way *w = &j->way[from];
	int no_limit = -1, fd = r->side[from].watch.fd;

	w->record = sockmap_direction(s->map, slot_of(s, j, from));
	*w->record = (struct shunt_direction){
		.resume_at = SHUNT_RESUME_NEVER,
		.worker = s->first_slot / (2 * s->slots.n),
		.generation = s->slots.generation[j->index],
		.active_ns = s->pools->loop->now_ns,
	};
	w->bytes_at_join = r->dir[from].bytes;
	w->passing = true;
	/* The program goes by the send buffer: no other limit may make the target wait for its
	 * peer. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &no_limit, sizeof(no_limit)))
		return -errno;
	return written(r->side[!from].watch.fd, &w->written_at_join);
}

static enum engine_reason refusal(int error)
{
	/* What a socket that has received a FIN or a RST answers. */
	return error == EOPNOTSUPP ? ENGINE_NOT_ESTABLISHED : ENGINE_JOIN_FAILED;
}

/*
 * The copy engine has read each side until it was empty. So what is in a receive queue now came
 * later, as whole segments, and the program, which takes no half ones, can have them: kick() hands
 * them over.
 */
static int sockmap_join(struct relay *r, enum engine_reason *why_not)
{
	struct sockmap_share *s = r->pools->sockmap;
	struct joint *j;
	int rc = 0;

	if (!relay_is_tcp(r)) {
		*why_not = ENGINE_NOT_TCP;
		return -EOPNOTSUPP;
	}
	j = s ? joint_new(s, r) : NULL;
	if (!j) {
		*why_not = s ? ENGINE_NO_SLOT : ENGINE_SOCKMAP_OFF;
		return -ENOSPC;
	}
	for (int i = 0; !rc && i < 2; i++)
		rc = prepare_way(s, r, j, i);
	for (int i = 0; !rc && i < 2; i++)
		rc = sockmap_insert(s->map, slot_of(s, j, i), r->side[i].watch.fd,
				    &j->way[i].cookie);
	if (rc && !j->way[CLIENT].cookie)
		joint_free(s, j);
	else {
		r->joined = &engine_sockmap;
		r->joint = j;
	}
	if (rc) {
		*why_not = refusal(-rc);
		return rc;
	}
	for (int i = 0; i < 2; i++) {
		kick(r->side[i].watch.fd);
		r->side[i].readable = true;
	}
	s->pools->wake(r);
	return 0;
}

static uint64_t sockmap_refresh(struct relay *r)
{
	uint64_t active_ns = 0;

	for (int i = 0; i < 2; i++) {
		struct way *w = way_of(r, i);

		count_redirected(r, i);
		active_ns = MAX(active_ns, READ_RECORD(w, active_ns));
		if (!w->passing)
			is_drained(r, i);
	}
	return active_ns;
}

static void sockmap_leave(struct relay *r)
{
	joint_free(r->pools->sockmap, r->joint);
	r->joint = NULL;
	r->joined = NULL;
}

static void sockmap_stop(struct relay *r, int from)
{
	engine_copy.stop(r, from);
}

/* --- the worker's share ------------------------------------------------------------------------ */

int sockmap_share_open(struct sockmap *m, uint32_t worker, struct relay_pools *pools)
{
	struct sockmap_share *s = xcalloc(1, sizeof(*s));
	uint32_t n = sockmap_conf(m)->flows_per_worker;
	int rc;

	s->map = m;
	s->pools = pools;
	s->first_slot = 2 * n * worker;
	slots_init(&s->slots, n);
	s->joints = xcalloc(n, sizeof(struct joint *));
	s->ring_watch = (struct watch){ .fd = -1, .ready = on_ring };
	pools->sockmap = s;
	rc = sockmap_ring_open(m, worker, on_event, s, &s->ring);
	if (!rc)
		rc = loop_add(pools->loop, &s->ring_watch, sockmap_ring_fd(s->ring), EPOLLIN);
	if (rc)
		sockmap_share_close(pools);
	return rc;
}

void sockmap_share_close(struct relay_pools *pools)
{
	struct sockmap_share *s = pools->sockmap;

	if (!s)
		return;
	loop_remove(pools->loop, &s->ring_watch);
	sockmap_ring_close(s->ring);
	slots_free(&s->slots);
	free(s->joints);
	free(s);
	pools->sockmap = NULL;
}

uint32_t sockmap_share_in_use(const struct relay_pools *pools)
{
	return pools->sockmap ? pools->sockmap->slots.n - pools->sockmap->slots.n_free : 0;
}

const struct shunt_direction *relay_sockmap_direction(const struct relay *r, int from)
{
	return r->joined == &engine_sockmap ? way_of(r, from)->record : NULL;
}

const struct engine engine_sockmap = {
	.name = "sockmap",
	.summary = "the kernel relays, by a BPF program",
	.pump = sockmap_pump,
	.stop = sockmap_stop,
	.join = sockmap_join,
	.refresh = sockmap_refresh,
	.leave = sockmap_leave,
};
