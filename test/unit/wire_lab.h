/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the wire share: three network namespaces joined by veth pairs (see lab.h), the
 * wire in the one in the middle, and flows through it whose both ends are here and check a known
 * stream of bytes. One thread does it all; a socket stays in the namespace that it was made in.
 * Nothing is left behind, however a test ends: namespaces, pins and devices go with this process.
 */
#ifndef SHUNT_TEST_WIRE_LAB_H
#define SHUNT_TEST_WIRE_LAB_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "addr.h"
#include "cases.h"
#include "lab.h"
#include "log.h"
#include "wire.h"
#include "wire_devices.h"

#define PIN_FOLDER "/sys/fs/bpf/shunt/wire"
#define FRONT_PORT 7000 /* of the proxy */
#define REAR_PORT 8000  /* of the backend */
#define FLOWS_MAX 256
#define EVENTS_MAX 256
#define CHUNK_MAX (256u << 10)
#define SEED 20251124
#define TESTS_MAX_S 300

enum { CLIENT, BACKEND };

struct variant {
	int family;
	size_t bytes;
	uint32_t drop_per_million;
};

struct bench {
	struct wire *wire;
	struct wire_devices *devices;
	struct wire_ring *ring;
	uint32_t ring_index;
	bool no_tcx; /* see wire_devices.h */
	int family;
	int front, rear; /* listeners: the proxy's and the backend's */
	uint64_t rng;
	struct wire_event events[EVENTS_MAX];
	size_t n_events;
};

struct flow {
	int outer[2]; /* the client's socket and the backend's */
	int inner[2]; /* the proxy's */
	int64_t index;
	struct wire_request request; /* of the last join */
	size_t sent[2], received[2];
	bool is_shut[2], has_ended[2];
};

static struct lab lab;

/* Until what is wanted comes, or has taken too long: then the test fails. */
#define WAIT_FOR(b, condition)                                                                     \
	do {                                                                                       \
		const uint64_t wait_until_ns = clock_ns() + STEP_MAX_NS;                           \
                                                                                                   \
		while (!(condition)) {                                                             \
			bench_pump(b);                                                             \
			if (clock_ns() > wait_until_ns)                                            \
				fail_msg("waited too long for: %s", #condition);                   \
			usleep(200);                                                               \
		}                                                                                  \
	} while (0)

static inline void go_to(enum lab_place place)
{
	assert_int_equal(setns(lab.netns[place], CLONE_NEWNET), 0);
}

static inline void run(enum lab_place place, const char *command)
{
	go_to(place);
	if (system(command)) /* NOLINT(cert-env33-c) */
		fail_msg("failed: %s", command);
	go_to(LAB_PROXY);
}

/* --- the lab --------------------------------------------------------------------------------- */

static inline void add_ipv6(void)
{
	static const struct {
		enum lab_place place;
		const char *command;
	} steps[] = {
		{ LAB_CLIENT, "ip -6 address add fd31:1::2/64 dev proxy nodad" },
		{ LAB_PROXY, "ip -6 address add fd31:1::1/64 dev client nodad" },
		{ LAB_PROXY, "ip -6 address add fd31:2::1/64 dev backend nodad" },
		{ LAB_BACKEND, "ip -6 address add fd31:2::2/64 dev proxy nodad" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		run(steps[i].place, steps[i].command);
}

/* A bpffs that nobody else sees. */
static inline bool mount_bpffs(void)
{
	return !unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("test", "/sys/fs/bpf", "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* Looks whether the wire can be tried here at all. */
static inline void open_lab(void)
{
	const struct wire_conf conf = { .flows = 1 };
	struct wire *w = NULL;

	alarm(TESTS_MAX_S);
	log_configure(&(struct log_conf){ .level = LOG_LEVEL_WARNING });
	for (int i = 0; i < N_LAB_PLACES; i++)
		lab.netns[i] = -1;
	if (geteuid())
		snprintf(skip_reason, sizeof(skip_reason), "it needs root");
	else if (!mount_bpffs())
		snprintf(skip_reason, sizeof(skip_reason), "no bpffs of our own");
	else if (lab_open(&lab, 1))
		snprintf(skip_reason, sizeof(skip_reason), "no network namespaces");
	if (skip_reason[0])
		return;
	go_to(LAB_PROXY);
	add_ipv6();
	if (!wire_open(&conf, &w, skip_reason, sizeof(skip_reason)))
		wire_close(w, false);
}

/* --- the wire -------------------------------------------------------------------------------- */

static inline struct addr address(int family, const char *ipv4, const char *ipv6, uint16_t port)
{
	struct addr a;

	assert_int_equal(addr_parse_host(family == AF_INET6 ? ipv6 : ipv4, &a), 0);
	addr_set_port(&a, port);
	return a;
}

static inline struct addr front_address(int family)
{
	return address(family, LAB_PROXY_IP, "fd31:1::1", FRONT_PORT);
}

static inline struct addr rear_address(int family, uint16_t port)
{
	return address(family, "10.231.2.2", "fd31:2::2", port);
}

static inline int new_socket(enum lab_place place, int family)
{
	int fd;

	go_to(place);
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
	assert_true(fd >= 0);
	go_to(LAB_PROXY);
	return fd;
}

static inline int listen_at(enum lab_place place, const struct addr *a)
{
	int fd = new_socket(place, a->sa.sa_family), on = 1;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, &a->sa, addr_len(a)), 0);
	assert_int_equal(listen(fd, FLOWS_MAX), 0);
	return fd;
}

static inline int start_connect(enum lab_place place, const struct addr *to)
{
	int fd = new_socket(place, to->sa.sa_family);

	if (connect(fd, &to->sa, addr_len(to)))
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

static inline void on_event(void *arg, const struct wire_event *event)
{
	struct bench *b = arg;

	assert_true(b->n_events < EVENTS_MAX);
	b->events[b->n_events++] = *event;
}

static inline void devices_start(struct bench *b)
{
	static char *const names[] = { "client", "backend" };
	const struct wire_devices_conf devices = {
		.names = names,
		.n_names = ARRAY_SIZE(names),
		.no_tcx = b->no_tcx,
		.program_fd = wire_program_fd(b->wire),
		.pin_folder = wire_pin_folder(b->wire),
		.always = park_ifindex(wire_park(b->wire)),
	};
	char why[256] = "";

	if (wire_devices_open(&devices, &b->devices, why, sizeof(why)))
		fail_msg("%s", why);
	wire_devices_update(b->devices);
}

/* The wire alone, with its devices; what `conf` does not say is as a test wants it. */
static inline void wire_start(struct bench *b, struct wire_conf conf)
{
	char why[256] = "";

	go_to(LAB_PROXY);
	conf.flows = conf.flows ? conf.flows : FLOWS_MAX;
	if (wire_open(&conf, &b->wire, why, sizeof(why)))
		fail_msg("%s", why);
	devices_start(b);
	assert_int_equal(wire_ring_open(b->wire, b->ring_index, on_event, b, &b->ring), 0);
}

static inline void wire_stop(struct bench *b, bool leave)
{
	wire_ring_close(b->ring);
	wire_devices_close(b->devices, leave);
	wire_close(b->wire, leave);
	b->ring = NULL;
	b->devices = NULL;
	b->wire = NULL;
}

static inline void bench_open(struct bench *b, int family, struct wire_conf conf)
{
	const struct addr front = front_address(family), rear = rear_address(family, REAR_PORT);

	*b = (struct bench){ .family = family, .rng = SEED };
	wire_start(b, conf);
	b->front = listen_at(LAB_PROXY, &front);
	b->rear = listen_at(LAB_BACKEND, &rear);
	assert_int_equal(wire_listen(b->wire, &front, true), 0);
}

static inline void bench_close(struct bench *b)
{
	close(b->front);
	close(b->rear);
	wire_stop(b, false);
}

static inline void bench_pump(struct bench *b)
{
	if (!b->wire)
		return;
	park_read(wire_park(b->wire), clock_ns());
	wire_ring_consume(b->ring);
}

/* What was told of a flow's end. It need not be the last: two CPUs may tell at once. */
static inline const struct wire_event *told_end(const struct bench *b, int64_t flow)
{
	for (size_t i = b->n_events; i-- > 0;) {
		const struct wire_event *e = &b->events[i];

		if (e->flow == flow && (((e->state[0] | e->state[1]) & WIRE_RST) ||
					(e->state[0] & e->state[1] & WIRE_FIN_ACKED)))
			return e;
	}
	return NULL;
}

static inline uint64_t counter(struct bench *b, enum wire_counter c)
{
	uint64_t counters[N_WIRE_COUNTERS];

	assert_int_equal(wire_counters(b->wire, counters), 0);
	return counters[c];
}

static inline int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
	return value;
}

static inline void set_option(int fd, int level, int name, int value)
{
	assert_int_equal(setsockopt(fd, level, name, &value, sizeof(value)), 0);
}

/* --- flows ----------------------------------------------------------------------------------- */

static inline void flow_init(struct flow *f)
{
	*f = (struct flow){ .outer = { -1, -1 }, .inner = { -1, -1 }, .index = -1 };
}

static inline int try_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		assert_int_equal(errno, EAGAIN);
	return fd;
}

static inline bool is_connected(int fd)
{
	struct addr peer;
	socklen_t len = sizeof(peer);

	return !getpeername(fd, &peer.sa, &len);
}

/* The proxy's work up to the join. */
static inline void flow_connect_rear(struct bench *b, struct flow *f, uint16_t port)
{
	const struct addr to = rear_address(b->family, port);

	f->inner[BACKEND] = new_socket(LAB_PROXY, b->family);
	assert_int_equal(wire_expect(b->wire, f->inner[BACKEND]), 0);
	if (connect(f->inner[BACKEND], &to.sa, addr_len(&to)))
		assert_int_equal(errno, EINPROGRESS);
}

/* Client, proxy and backend have their connections; what the client has sent is held. */
static inline void flow_connect(struct bench *b, struct flow *f)
{
	const struct addr front = front_address(b->family);

	flow_init(f);
	f->outer[CLIENT] = start_connect(LAB_CLIENT, &front);
	WAIT_FOR(b, (f->inner[CLIENT] = try_accept(b->front)) >= 0);
	flow_connect_rear(b, f, REAR_PORT);
	WAIT_FOR(b, (f->outer[BACKEND] = try_accept(b->rear)) >= 0);
	WAIT_FOR(b, is_connected(f->inner[BACKEND]) && is_connected(f->outer[CLIENT]));
}

static inline void flow_take(struct bench *b, struct flow *f)
{
	struct wire_flow *identity;

	f->index = wire_take(b->wire, clock_ns());
	assert_true(f->index >= 0);
	identity = wire_flow(b->wire, (uint32_t)f->index);
	for (int side = 0; side < 2; side++)
		assert_true(wire_leg_of(f->inner[side], &identity->leg[side]));
	snprintf(identity->app, sizeof(identity->app), "test");
}

static inline enum wire_refusal flow_try_join(struct bench *b, struct flow *f, bool must_be_seen)
{
	return wire_join(b->wire, (uint32_t)f->index, f->inner, b->ring_index, must_be_seen,
			 &f->request);
}

static inline void flow_join(struct bench *b, struct flow *f)
{
	enum wire_refusal refusal;

	flow_take(b, f);
	WAIT_FOR(b, (refusal = flow_try_join(b, f, true)) != WIRE_NOT_DRY);
	assert_int_equal(refusal, WIRE_JOINED);
}

static inline void flow_open(struct bench *b, struct flow *f)
{
	flow_connect(b, f);
	flow_join(b, f);
}

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void flow_close(struct bench *b, struct flow *f)
{
	if (f->index >= 0 && b->wire)
		wire_give(b->wire, (uint32_t)f->index, clock_ns());
	for (int side = 0; side < 2; side++) {
		close_fd(&f->inner[side]);
		close_fd(&f->outer[side]);
	}
}

/* --- bytes ----------------------------------------------------------------------------------- */

static inline uint8_t byte_at(int stream, size_t offset)
{
	return (uint8_t)((offset * 2654435761u) >> 13) ^ (uint8_t)(offset >> 8) ^
	       (uint8_t)(stream * 0x5a);
}

/* Bytes that were taken. */
static inline size_t outer_send(struct flow *f, int i, size_t len)
{
	static uint8_t chunk[CHUNK_MAX];
	ssize_t n;

	for (size_t k = 0; k < len; k++)
		chunk[k] = byte_at(i, f->sent[i] + k);
	n = len ? send(f->outer[i], chunk, len, MSG_NOSIGNAL) : 0;
	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	f->sent[i] += (size_t)MAX(n, 0);
	return (size_t)MAX(n, 0);
}

static inline void check_bytes(struct flow *f, int i, const uint8_t *chunk, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (chunk[k] != byte_at(!i, f->received[i] + k))
			fail_msg("byte %zu from end %d is wrong", f->received[i] + k, !i);
	f->received[i] += n;
}

/* Reads what has come, up to `len`. Bytes. */
static inline size_t outer_receive(struct flow *f, int i, size_t len)
{
	static uint8_t chunk[CHUNK_MAX];
	ssize_t n = recv(f->outer[i], chunk, MIN(len, sizeof(chunk)), 0);

	if (n < 0)
		assert_int_equal(errno, EAGAIN);
	if (!n && len)
		f->has_ended[i] = true;
	check_bytes(f, i, chunk, (size_t)MAX(n, 0));
	return (size_t)MAX(n, 0);
}

static inline void send_all(struct bench *b, struct flow *f, int i, size_t len)
{
	const size_t end = f->sent[i] + len;

	WAIT_FOR(b, (outer_send(f, i, MIN(CHUNK_MAX, end - f->sent[i])), f->sent[i] == end));
}

static inline void receive_all(struct bench *b, struct flow *f, int i)
{
	WAIT_FOR(b, (outer_receive(f, i, CHUNK_MAX), f->received[i] == f->sent[!i]));
}

static inline void shut(struct flow *f, int i)
{
	assert_int_equal(shutdown(f->outer[i], SHUT_WR), 0);
	f->is_shut[i] = true;
}

static inline size_t random_size(struct bench *b)
{
	return 1 + rng_below(&b->rng, rng_below(&b->rng, 4) ? 4000 : CHUNK_MAX - 1);
}

/* One turn of a flow on which both ends send `total`. */
static inline void transfer_turn(struct bench *b, struct flow *f, size_t total)
{
	for (int i = 0; i < 2; i++) {
		size_t len = random_size(b);

		outer_send(f, i, MIN(len, total - f->sent[i]));
		if (!f->has_ended[i])
			outer_receive(f, i, random_size(b));
	}
}

/* The same, and then their FIN. True: it is over. */
static inline bool exchange_turn(struct bench *b, struct flow *f, size_t total)
{
	transfer_turn(b, f, total);
	for (int i = 0; i < 2; i++)
		if (f->sent[i] == total && !f->is_shut[i])
			shut(f, i);
	return f->has_ended[0] && f->has_ended[1];
}

/* Both directions at once, in random chunks, to their FINs. */
static inline void exchange(struct bench *b, struct flow *flows, size_t n, size_t total)
{
	const uint64_t deadline_ns = clock_ns() + 3 * STEP_MAX_NS;
	size_t over = 0;

	while (over < n) {
		over = 0;
		for (size_t i = 0; i < n; i++)
			over += exchange_turn(b, &flows[i], total);
		bench_pump(b);
		assert_true(clock_ns() < deadline_ns);
	}
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(flows[i].received[0], total);
		assert_int_equal(flows[i].received[1], total);
	}
}

/* The proxy's sockets have not seen a byte of payload, ever. */
static inline void assert_untouched(const struct flow *f)
{
	for (int side = 0; side < 2; side++) {
		struct tcp_info info;
		socklen_t len = sizeof(info);
		int unread = -1;

		assert_int_equal(getsockopt(f->inner[side], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
		assert_int_equal(ioctl(f->inner[side], FIONREAD, &unread), 0);
		assert_int_equal(unread, 0);
		assert_int_equal(info.tcpi_bytes_received, 0);
		assert_int_equal(info.tcpi_bytes_acked, side == BACKEND); /* its SYN */
	}
}

/* The error with which an end has been told that the connection is gone, once; 0: it has not. */
static inline int reset_error(const struct flow *f, int i)
{
	return option(f->outer[i], SOL_SOCKET, SO_ERROR);
}

#endif
