/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <bpf/bpf.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf_load.h"
#include "bpf_ring.h"
#include "log.h"
#include "netlink.h"
#include "slots.h"
#include "wire_adopted.h"
#include "wire_leg.h"
#include "wire_maps.h"

/* What a ring has room for between two looks at it; see wire_ring_consume(). */
#define RING_ENTRIES 2000
/* What a BPF_PROG_TEST_RUN wants in front of the request. */
#define REQUEST_OFFSET (14 + 20)

struct wire {
	struct wire_maps maps;
	struct park *park;
	pthread_mutex_t mutex; /* of `slots`, and see wire_give() */
	struct slots slots;
	struct wire_adopted adopted;
};

struct wire_ring {
	struct bpf_ring *ring;
	wire_event_fn on_event;
	void *arg;
	size_t told; /* by the last look at it */
};

/* --- life ------------------------------------------------------------------------------------ */

static bool park_is_held(void *arg, const struct wire_tuple *leg)
{
	return wire_is_held(arg, leg, NULL);
}

static void park_overflow(void *arg, const struct wire_tuple *leg)
{
	struct wire *w = arg;

	bpf_map_delete_elem(w->maps.holds, leg);
}

static int may_silence_sockets(char *why, size_t size)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), on = 1, rc = 0;

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on))) {
		rc = -errno;
		snprintf(why, size, "TCP_REPAIR is not permitted (%s): it needs CAP_NET_ADMIN",
			 strerror(-rc));
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The generation of a flow's last use stays in its records. */
static void init_slots(struct wire *w)
{
	slots_init(&w->slots, w->maps.capacity);
	for (uint32_t i = 0; i < w->maps.capacity; i++) {
		int64_t flow = slots_take(&w->slots, 0);

		w->slots.generation[flow] = w->maps.directions[2 * flow].generation;
		if (!w->maps.identities[flow].in_use)
			slots_give(&w->slots, (uint32_t)flow, 0);
	}
}

/* Of a key size that is not larger than a tuple's. */
static void empty(int map_fd)
{
	struct wire_tuple key;

	while (!bpf_map_get_next_key(map_fd, NULL, &key))
		if (bpf_map_delete_elem(map_fd, &key) && errno != ENOENT)
			break;
}

int wire_open(const struct wire_conf *conf, struct wire **out, char *why, size_t size)
{
	struct wire *w = xcalloc(1, sizeof(*w));
	const struct park_conf park = { park_is_held, park_overflow, w };
	int rc = may_silence_sockets(why, size);

	if (!rc)
		rc = wire_maps_open(&w->maps, conf->flows, conf->pin_folder, why, size);
	if (rc) {
		free(w);
		return rc;
	}
	pthread_mutex_init(&w->mutex, NULL);
	/* A daemon before had listeners and connections that are gone with it. */
	empty(w->maps.listeners);
	empty(w->maps.holds);
	wire_adopted_find(&w->adopted, &w->maps);
	init_slots(w);
	rc = park_open(&park, &w->park, why, size);
	if (rc) {
		wire_close(w, true);
		return rc;
	}
	wire_lose(w, conf->drop_per_million);
	w->maps.settings->hold_max_ns = PARK_MAX_NS;
	w->maps.settings->park_ifindex = park_ifindex(w->park);
	if (w->maps.is_taken_over)
		log_info("the wire of a daemon before is taken over, with %zu flows", w->adopted.n);
	*out = w;
	return 0;
}

void wire_close(struct wire *w, bool leave)
{
	if (!w)
		return;
	/* From here on nothing is held. */
	w->maps.settings->park_ifindex = 0;
	empty(w->maps.listeners);
	empty(w->maps.holds);
	park_close(w->park);
	wire_adopted_free(&w->adopted, &w->maps);
	slots_free(&w->slots);
	wire_maps_close(&w->maps, leave);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

int wire_clear(const char *pin_folder)
{
	return wire_maps_clear(pin_folder);
}

int wire_program_fd(const struct wire *w)
{
	return w->maps.forward_program;
}

const char *wire_pin_folder(const struct wire *w)
{
	return w->maps.pin_folder;
}

struct park *wire_park(const struct wire *w)
{
	return w->park;
}

uint32_t wire_capacity(const struct wire *w)
{
	return w->maps.capacity;
}

uint64_t wire_memory(const struct wire *w)
{
	return wire_maps_memory(&w->maps);
}

int wire_counters(const struct wire *w, uint64_t out[N_WIRE_COUNTERS])
{
	return bpf_load_counters(w->maps.counters, N_WIRE_COUNTERS, out);
}

void wire_lose(struct wire *w, uint32_t per_million)
{
	w->maps.settings->drop_per_million = per_million;
}

/* --- before a join --------------------------------------------------------------------------- */

static struct wire_listener listener_key(const struct addr *at)
{
	struct wire_listener key = { .port = htons(addr_port(at)) };

	wire_leg_put_host(key.addr, at);
	return key;
}

int wire_listen(struct wire *w, const struct addr *at, bool on)
{
	const struct wire_listener key = listener_key(at);
	uint32_t late = 0;
	int rc;

	if (on)
		return bpf_map_update_elem(w->maps.listeners, &key, &late, BPF_ANY);
	rc = bpf_map_delete_elem(w->maps.listeners, &key);
	return rc == -ENOENT ? 0 : rc;
}

int wire_listen_late(struct wire *w, const struct addr *at, bool late)
{
	const struct wire_listener key = listener_key(at);
	uint32_t value = late;

	return bpf_map_update_elem(w->maps.listeners, &key, &value, BPF_EXIST);
}

int wire_expect(struct wire *w, int fd)
{
	uint32_t unused = 0;

	return bpf_map_update_elem(w->maps.expected, &fd, &unused, BPF_ANY);
}

int wire_watch(struct wire *w, const struct wire_tuple *leg)
{
	const struct wire_hold nothing = { 0 };

	return bpf_map_update_elem(w->maps.holds, leg, &nothing, BPF_ANY);
}

bool wire_is_seen(const struct wire *w, const struct wire_tuple *leg)
{
	struct wire_hold found;

	return !bpf_map_lookup_elem(w->maps.holds, leg, &found) && found.ifindex;
}

int wire_hold(struct wire *w, const struct wire_tuple *leg)
{
	struct wire_hold hold = { 0 };

	bpf_map_lookup_elem(w->maps.holds, leg, &hold); /* none: it was not seen yet */
	hold.since_ns = clock_ns();
	return bpf_map_update_elem(w->maps.holds, leg, &hold, BPF_ANY);
}

bool wire_is_held(struct wire *w, const struct wire_tuple *leg, struct wire_hold *hold)
{
	struct wire_hold found;

	if (bpf_map_lookup_elem(w->maps.holds, leg, &found) || !found.since_ns ||
	    clock_ns() > found.since_ns + w->maps.settings->hold_max_ns)
		return false;
	if (hold)
		*hold = found;
	return true;
}

void wire_release(struct wire *w, const struct wire_tuple *leg)
{
	bpf_map_delete_elem(w->maps.holds, leg);
	park_return(w->park, leg);
}

/* --- flows ----------------------------------------------------------------------------------- */

struct wire_flow *wire_flow(struct wire *w, uint32_t flow)
{
	return &w->maps.identities[flow];
}

struct wire_direction *wire_direction(struct wire *w, uint32_t flow, int side)
{
	return &w->maps.directions[2 * flow + (uint32_t)side];
}

int64_t wire_take(struct wire *w, uint64_t now_ns)
{
	int64_t taken;
	uint32_t flow, generation;

	pthread_mutex_lock(&w->mutex);
	taken = slots_take(&w->slots, now_ns);
	if (taken >= 0)
		generation = w->slots.generation[taken];
	pthread_mutex_unlock(&w->mutex);
	if (taken < 0)
		return taken;
	flow = (uint32_t)taken;
	*wire_flow(w, flow) = (struct wire_flow){ .generation = generation };
	for (int side = 0; side < 2; side++)
		*wire_direction(w, flow, side) =
			(struct wire_direction){ .generation = generation };
	return taken;
}

/*
 * A socket in TCP_REPAIR is closed without a packet. It gets there before it is joined: if the
 * process is killed in between, its peers hear of it by a RST when they send, and not by a FIN that
 * is a lie.
 */
static int silence(int fd)
{
	int on = TCP_REPAIR_ON;

	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) ? -errno : 0;
}

/* Without a window probe. A socket that was accepted had SO_REUSEADDR from its listener; TCP_REPAIR
 * takes it away, and nobody could listen anew on the port then. */
static void unsilence(int fd, bool was_accepted)
{
	int off = TCP_REPAIR_OFF_NO_WP, reuse = was_accepted;

	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)))
		log_warning("a socket can't be brought back from TCP_REPAIR: %m");
}

static enum wire_refusal run_join(const struct wire *w, struct wire_request *request)
{
	uint8_t frame[REQUEST_OFFSET + sizeof(*request)] = { 0 };
	struct bpf_test_run_opts run = { .sz = sizeof(run),
					 .data_in = frame,
					 .data_size_in = sizeof(frame),
					 .data_out = frame,
					 .data_size_out = sizeof(frame),
					 .repeat = 1 };
	int rc;

	memcpy(frame + REQUEST_OFFSET, request, sizeof(*request));
	rc = bpf_prog_test_run_opts(w->maps.join_program, &run);
	if (rc) {
		log_warning("the program that joins flows can't be run: %s", strerror(-rc));
		return WIRE_NO_SOCKET;
	}
	memcpy(request, frame + REQUEST_OFFSET, sizeof(*request));
	return request->refusal;
}

static void set_in_use(struct wire_flow *f, uint32_t in_use)
{
	/* A process can be killed at any moment, and this says what holds then: so it is neither
	 * before nor after its turn. */
	__atomic_store_n(&f->in_use, in_use, __ATOMIC_SEQ_CST);
}

static enum wire_refusal join_silenced(struct wire *w, uint32_t flow, uint32_t ring,
				       struct wire_request *request)
{
	enum wire_refusal refusal;

	for (int side = 0; side < 2; side++)
		wire_direction(w, flow, side)->ring = ring;
	pthread_mutex_lock(&w->mutex);
	set_in_use(wire_flow(w, flow), 1);
	refusal = run_join(w, request);
	if (refusal)
		set_in_use(wire_flow(w, flow), 0);
	pthread_mutex_unlock(&w->mutex);
	return refusal;
}

enum wire_refusal wire_join(struct wire *w, uint32_t flow, const int fds[2], uint32_t ring,
			    bool must_be_seen, struct wire_request *request)
{
	const struct wire_flow *f = wire_flow(w, flow);
	enum wire_refusal refusal = WIRE_NO_SOCKET;
	int off = 0;

	*request = (struct wire_request){ .leg = { f->leg[0], f->leg[1] },
					  .flow = flow,
					  .must_be_seen = must_be_seen };
	if (silence(fds[0]))
		return refusal;
	if (!silence(fds[1])) {
		refusal = join_silenced(w, flow, ring, request);
		if (refusal)
			unsilence(fds[1], false);
	}
	if (refusal) {
		unsilence(fds[0], true);
		return refusal;
	}
	for (int side = 0; side < 2; side++) {
		if (wire_maps_deafen(&w->maps, fds[side]))
			log_warning(
				"wire: a joined socket can't be made deaf (%m): what reaches it would be lost");
		setsockopt(fds[side], SOL_SOCKET, SO_KEEPALIVE, &off, sizeof(off));
		park_return(w->park, &f->leg[side]);
	}
	return WIRE_JOINED;
}

/* Does the entry of a leg stand for this flow? If it is gone, its tuple may have another one. */
static bool find_leg(const struct wire *w, uint32_t flow, int side, struct wire_leg *leg)
{
	const struct wire_tuple *t = &w->maps.identities[flow].leg[side];

	return !bpf_map_lookup_elem(w->maps.flows, t, leg) &&
	       leg->slot == 2 * flow + (uint32_t)side;
}

/*
 * First the program forwards nothing any more but these two RSTs: so each has the number that its
 * receiver has acknowledged last. One that has received more answers with what it expects (RFC
 * 5961, 3.2), and the program that with a RST, as it does with any packet, for as long as the entry
 * lingers.
 */
void wire_kill(struct wire *w, uint32_t flow)
{
	const struct wire_flow *f = wire_flow(w, flow);
	struct wire_direction *d[2] = { wire_direction(w, flow, 0), wire_direction(w, flow, 1) };
	struct wire_leg leg[2];

	for (int side = 0; side < 2; side++)
		__atomic_store_n(&d[side]->killed, 1, __ATOMIC_SEQ_CST);
	if (!find_leg(w, flow, 0, &leg[0]) || !find_leg(w, flow, 1, &leg[1]))
		return;
	for (int to = 0; to < 2; to++) {
		int from = !to, rc;

		rc = park_inject(w->park, &f->leg[from], leg[from].is_ipv6,
				 d[to]->ack - leg[from].seq_delta, d[from]->ack, TH_RST | TH_ACK);
		if (rc)
			log_warning("a RST can't be sent: %s", strerror(-rc));
	}
}

void wire_end(struct wire *w, uint32_t flow, uint64_t now_ns)
{
	wire_flow(w, flow)->ended_ns = now_ns;
}

/*
 * The program may delete the entries of a flow that has ended, and a new one with the same tuple
 * may then be joined. Not, with the mutex, between this look and this deletion.
 */
void wire_give(struct wire *w, uint32_t flow, uint64_t now_ns)
{
	struct wire_leg leg;

	pthread_mutex_lock(&w->mutex);
	for (int side = 0; side < 2; side++)
		if (find_leg(w, flow, side, &leg))
			bpf_map_delete_elem(w->maps.flows, &wire_flow(w, flow)->leg[side]);
	set_in_use(wire_flow(w, flow), 0);
	*wire_flow(w, flow) = (struct wire_flow){ 0 };
	wire_adopted_release(&w->adopted, flow);
	slots_give(&w->slots, flow, now_ns);
	pthread_mutex_unlock(&w->mutex);
}

/* --- routes ---------------------------------------------------------------------------------- */

struct route_look {
	uint32_t now; /* the device that is used */
	/* It, if a route leads there, else the first that one leads to; 0: none. */
	uint32_t ifindex;
	uint32_t mtu;
};

static void on_route_device(void *arg, uint32_t ifindex, uint32_t mtu)
{
	struct route_look *look = arg;

	if (look->ifindex && ifindex != look->now)
		return;
	look->ifindex = ifindex;
	look->mtu = mtu;
}

/* By which device packets of a direction leave, and how large they may be. Of several that will do,
 * the one that they leave by now. */
static bool reroute(struct wire *w, struct netlink *n, uint32_t flow, int side)
{
	const struct wire_flow *f = wire_flow(w, flow);
	struct wire_direction *d = wire_direction(w, flow, side);
	struct route_look look = { .now = d->ifindex };
	uint32_t generation = d->generation;
	struct addr to, from;
	bool changes;

	wire_leg_peer(&f->leg[!side], &to);
	wire_leg_own(&f->leg[!side], &from);
	if (netlink_routes(n, &to, 1, &from, on_route_device, &look) || !look.ifindex ||
	    look.ifindex == NETLINK_LOOPBACK_IFINDEX ||
	    (look.ifindex == look.now && look.mtu == d->mtu))
		return false;
	/* It may have been given meanwhile, and taken by somebody else. */
	pthread_mutex_lock(&w->mutex);
	changes = f->in_use && d->generation == generation;
	if (changes) {
		__atomic_store_n(&d->mtu, look.mtu, __ATOMIC_RELAXED);
		__atomic_store_n(&d->ifindex, look.ifindex, __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&w->mutex);
	return changes;
}

size_t wire_reroute(struct wire *w)
{
	struct netlink *n = xcalloc(1, sizeof(*n));
	size_t changed = 0;
	int rc = netlink_open(n);

	if (rc)
		log_warning("routes can't be asked for: %s", strerror(-rc));
	for (uint32_t flow = 0; !rc && flow < w->maps.capacity; flow++)
		for (int side = 0; side < 2 && wire_flow(w, flow)->in_use; side++)
			changed += reroute(w, n, flow, side);
	netlink_close(n);
	free(n);
	return changed;
}

/* --- flows of a daemon before ---------------------------------------------------------------- */

size_t wire_adopt(struct wire *w, uint32_t ring, void (*each)(void *arg, uint32_t flow), void *arg)
{
	size_t without_port = 0;

	for (size_t i = 0; i < w->adopted.n; i++) {
		uint32_t flow = w->adopted.flows[i];

		if (wire_adopted_hold(&w->adopted, &w->maps, flow))
			without_port++;
		for (int side = 0; side < 2; side++)
			__atomic_store_n(&wire_direction(w, flow, side)->ring, ring,
					 __ATOMIC_SEQ_CST);
		each(arg, flow);
	}
	if (without_port)
		log_warning("the local ports of %zu flows can't be kept from being used again",
			    without_port);
	return w->adopted.n;
}

/* --- ends, told by the program --------------------------------------------------------------- */

static void on_ring_entry(void *arg, const void *entry, size_t size)
{
	struct wire_ring *r = arg;

	r->told++;
	if (size == sizeof(struct wire_event))
		r->on_event(r->arg, entry);
}

int wire_ring_open(struct wire *w, uint32_t ring, wire_event_fn on_event, void *arg,
		   struct wire_ring **out)
{
	struct wire_ring *r = xcalloc(1, sizeof(*r));
	int rc;

	*r = (struct wire_ring){ .on_event = on_event, .arg = arg };
	rc = bpf_ring_open(w->maps.rings, ring, RING_ENTRIES, sizeof(struct wire_event),
			   on_ring_entry, r, &r->ring);
	if (rc) {
		wire_ring_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

int wire_ring_fd(const struct wire_ring *r)
{
	return bpf_ring_fd(r->ring);
}

/* What found no room, found so many that had not been consumed yet, and all of them are now. */
bool wire_ring_consume(struct wire_ring *r)
{
	r->told = 0;
	bpf_ring_consume(r->ring);
	return r->told < RING_ENTRIES;
}

void wire_ring_close(struct wire_ring *r)
{
	if (!r)
		return;
	bpf_ring_close(r->ring);
	free(r);
}
