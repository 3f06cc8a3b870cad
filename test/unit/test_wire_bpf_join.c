/* SPDX-License-Identifier: MIT */
/*
 * The wire's join program on real connections over loopback: it reads of the sockets what
 * TCP_REPAIR and TCP_INFO say, enters the legs that follow from it, and refuses, without a trace,
 * what can't be joined, each with its reason.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire_bench.h"

/* The gate does not wait for ever: see enum wire_gate. */
#define CROSSINGS_MAX 20

#define FLOW 2
#define LONG_AGO_NS (40ull * 1000000000)

/* The sockets' family, and the packets'; a dual-stack socket has an IPv6 address for IPv4. */
struct family {
	int domain;
	const char *address;
	struct variant variant;
};

static const struct family families[] = {
	{ AF_INET, "::ffff:127.0.0.1", { .is_ipv6 = false } },
	{ AF_INET6, "::1", { .is_ipv6 = true } },
	{ AF_INET6, "::ffff:127.0.0.1", { .is_ipv6 = false } },
};

#define IN_EVERY_FAMILY(test)                                                                      \
	cmocka_unit_test_prestate(test, (void *)&families[0]),                                     \
		cmocka_unit_test_prestate(test, (void *)&families[1]),                             \
		cmocka_unit_test_prestate(test, (void *)&families[2])

/* Side 0 was accepted by the proxy, side 1 connected by it. */
struct connection {
	int proxy, peer;
	struct wire_tuple leg;
};

struct pair {
	struct bench *b;
	const struct family *family;
	struct connection side[2];
	struct wire_request request; /* the last one, with its answer */
};

static int get(int fd, int option)
{
	int v;
	socklen_t size = sizeof(v);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, option, &v, &size), 0);
	return v;
}

static void set(int fd, int option, int v)
{
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, option, &v, sizeof(v)), 0);
}

static struct tcp_info info_of(int fd)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
	return info;
}

static void address_of(int (*get_name)(int, struct sockaddr *, socklen_t *), int fd,
		       uint32_t address[4], uint16_t *port)
{
	struct sockaddr_storage a;
	socklen_t size = sizeof(a);

	assert_int_equal(get_name(fd, (struct sockaddr *)&a, &size), 0);
	if (a.ss_family == AF_INET) {
		address[0] = address[1] = 0;
		address[2] = htonl(0xffff);
		address[3] = ((struct sockaddr_in *)&a)->sin_addr.s_addr;
		*port = ((struct sockaddr_in *)&a)->sin_port;
	} else {
		memcpy(address, &((struct sockaddr_in6 *)&a)->sin6_addr, 16);
		*port = ((struct sockaddr_in6 *)&a)->sin6_port;
	}
}

/* mss: of the connecting socket; 0: as it is. */
static void connect_pair(const struct family *f, int mss, int *connecting, int *accepted)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	struct sockaddr *a = f->domain == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t size = f->domain == AF_INET ? sizeof(v4) : sizeof(v6);
	int l = socket(f->domain, SOCK_STREAM, 0);

	inet_pton(AF_INET6, f->address, &v6.sin6_addr);
	assert_int_equal(bind(l, a, size), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, a, &size), 0);
	*connecting = socket(f->domain, SOCK_STREAM, 0);
	if (mss)
		set(*connecting, TCP_MAXSEG, mss);
	assert_int_equal(connect(*connecting, a, size), 0);
	*accepted = accept(l, NULL, NULL);
	assert_true(*accepted >= 0);
	close(l);
}

static void open_side(struct pair *p, int side, int mss)
{
	struct connection *c = &p->side[side];

	if (side == 0)
		connect_pair(p->family, mss, &c->peer, &c->proxy);
	else
		connect_pair(p->family, mss, &c->proxy, &c->peer);
	memset(&c->leg, 0, sizeof(c->leg));
	address_of(getpeername, c->proxy, c->leg.saddr, &c->leg.sport);
	address_of(getsockname, c->proxy, c->leg.daddr, &c->leg.dport);
}

static void close_side(struct pair *p, int side)
{
	close(p->side[side].peer);
	close(p->side[side].proxy);
}

static void hold_since(struct pair *p, int side, uint64_t ago_ns, uint32_t ifindex, uint32_t mss)
{
	struct wire_hold h = { .ifindex = ifindex, .mss = mss };
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	h.since_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec - ago_ns;
	assert_int_equal(bpf_map_update_elem(map_fd(p->b->bpf->maps.wire_holds), &p->side[side].leg,
					     &h, 0),
			 0);
}

/* Two connections that may be joined. */
static struct pair open_pair(const struct family *f)
{
	struct pair p = { .b = &bench, .family = f };

	bench_clear(p.b, &f->variant);
	for (int i = 0; i < 2; i++) {
		open_side(&p, i, 0);
		hold_since(&p, i, 0, 0, 0);
	}
	return p;
}

static void close_pair(struct pair *p)
{
	close_side(p, 0);
	close_side(p, 1);
}

static bool is_in(const struct bpf_map *map, const struct wire_tuple *key)
{
	uint8_t value[128];

	return !bpf_map_lookup_elem(bpf_map__fd(map), key, value);
}

static enum wire_refusal ask(struct pair *p, bool must_be_seen, uint32_t flow)
{
	uint8_t frame[34 + sizeof(p->request)] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = sizeof(frame),
		    .data_out = frame, .data_size_out = sizeof(frame));

	p->request = (struct wire_request){ .leg = { p->side[0].leg, p->side[1].leg },
					    .flow = flow,
					    .must_be_seen = must_be_seen };
	memset(&p->b->directions[2 * FLOW], 0, 2 * sizeof(struct wire_direction));
	memcpy(frame + 34, &p->request, sizeof(p->request));
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(p->b->bpf->progs.wire_join), &o),
			 0);
	assert_int_equal(o.retval, 0);
	memcpy(&p->request, frame + 34, sizeof(p->request));
	return p->request.refusal;
}

static enum wire_refusal join(struct pair *p)
{
	return ask(p, false, FLOW);
}

/* Refused: all as it was. */
static void expect_refusal(struct pair *p, enum wire_refusal expected)
{
	bool held[2];

	for (int i = 0; i < 2; i++)
		held[i] = is_in(p->b->bpf->maps.wire_holds, &p->side[i].leg);
	assert_int_equal(join(p), expected);
	for (int i = 0; i < 2; i++) {
		assert_false(is_in(p->b->bpf->maps.wire_flows, &p->side[i].leg));
		assert_int_equal(is_in(p->b->bpf->maps.wire_holds, &p->side[i].leg), held[i]);
	}
}

/* Until what the peer has sent is in. */
static void wait_for(int fd, short event)
{
	struct pollfd p = { .fd = fd, .events = event };

	assert_int_equal(poll(&p, 1, 5000), 1);
}

struct numbers {
	uint32_t snd, rcv;
	uint32_t ts_min, ts_max; /* between which the peer's last TSval is */
	struct tcp_info info;
};

static uint32_t queue_seq(int fd, int queue)
{
	set(fd, TCP_REPAIR_QUEUE, queue);
	return (uint32_t)get(fd, TCP_QUEUE_SEQ);
}

/* Has some bytes sent and read both ways, of a number of its own, and looks at what comes of it. */
static struct numbers exchange(const struct connection *c, size_t n)
{
	char buf[1000] = { 0 };
	struct numbers out;

	assert_int_equal(send(c->proxy, buf, 2 * n, 0), 2 * n);
	assert_int_equal(recv(c->peer, buf, 2 * n, MSG_WAITALL), 2 * n);
	out.ts_min = (uint32_t)get(c->peer, TCP_TIMESTAMP) & ~1u;
	assert_int_equal(send(c->peer, buf, n, 0), n);
	assert_int_equal(recv(c->proxy, buf, n, MSG_WAITALL), n);
	out.ts_max = (uint32_t)get(c->peer, TCP_TIMESTAMP) | 1;
	out.info = info_of(c->proxy);
	set(c->proxy, TCP_REPAIR, 1);
	out.snd = queue_seq(c->proxy, TCP_SEND_QUEUE);
	out.rcv = queue_seq(c->proxy, TCP_RECV_QUEUE);
	set(c->proxy, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP);
	return out;
}

static void expect_timestamps(const struct wire_leg *leg, const struct numbers *from,
			      uint32_t clock_min, uint32_t clock_max)
{
	/* Rounded up, the program's clock may be ahead by a tick. */
	uint32_t least = clock_min - from->ts_max, most = clock_max + 1 - from->ts_min;

	assert_true((int32_t)(leg->tsval_delta - least) >= 0);
	assert_true((int32_t)(most - leg->tsval_delta) >= 0);
}

static void expect_record(const struct pair *p, int side, const struct numbers *n)
{
	const struct wire_direction *d = &p->b->directions[2 * FLOW + side];

	assert_int_equal(d->seq_start, n[side].rcv);
	assert_int_equal(d->ack, n[side].snd);
	assert_true(d->edge - n[side].snd >= 1000 && d->edge - n[side].snd < 1u << 24);
	assert_int_equal(d->bytes, 0);
	assert_int_equal(d->state, 0);
	assert_int_equal(d->ifindex, LO_IFINDEX);
	assert_true(d->active_ns);
}

static void the_numbers_are_the_sockets(void **state)
{
	uint32_t clock[2][2];
	struct wire_leg leg[2];
	struct numbers n[2];
	struct pair p;

	SKIP_IF_REASON();
	p = open_pair(*state);
	for (int i = 0; i < 2; i++)
		n[i] = exchange(&p.side[i], 100 + 100 * (size_t)i);
	for (int i = 0; i < 2; i++)
		clock[i][0] = (uint32_t)get(p.side[i].proxy, TCP_TIMESTAMP) & ~1u;
	assert_int_equal(join(&p), WIRE_JOINED);
	for (int i = 0; i < 2; i++)
		clock[i][1] = (uint32_t)get(p.side[i].proxy, TCP_TIMESTAMP) | 1;
	for (int i = 0; i < 2; i++) {
		const struct connection *other = &p.side[i ^ 1];
		struct wire_tuple to = reversed(&other->leg);

		assert_int_equal(bpf_map_lookup_elem(map_fd(p.b->bpf->maps.wire_flows),
						     &p.side[i].leg, &leg[i]),
				 0);
		assert_memory_equal(&leg[i].to, &to, sizeof(to));
		assert_int_equal(leg[i].seq_delta, n[i ^ 1].snd - n[i].rcv);
		assert_int_equal(leg[i].ack_delta, n[i ^ 1].rcv - n[i].snd);
		assert_int_equal(leg[i].slot, 2 * FLOW + i);
		assert_int_equal(leg[i].wscale_from, n[i].info.tcpi_snd_wscale);
		assert_int_equal(leg[i].wscale_to, n[i ^ 1].info.tcpi_rcv_wscale);
		assert_int_equal(leg[i].is_ipv6, p.family->variant.is_ipv6);
		expect_timestamps(&leg[i], &n[i], clock[i ^ 1][0], clock[i ^ 1][1]);
		expect_record(&p, i, n);
		assert_int_equal(p.request.rx_ifindex[i], LO_IFINDEX);
		assert_int_equal(p.request.tx_ifindex[i], LO_IFINDEX);
		assert_int_equal(p.request.mss_told[i], n[i].info.tcpi_advmss + 12);
		assert_int_equal(p.request.options[i] & ~(uint32_t)TCPI_OPT_ECN,
				 n[i].info.tcpi_options &
					 (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE));
		assert_false(is_in(p.b->bpf->maps.wire_holds, &p.side[i].leg));
	}
	assert_int_equal(leg[0].tsecr_delta, -leg[1].tsval_delta);
	assert_int_equal(leg[1].tsecr_delta, -leg[0].tsval_delta);
	close_pair(&p);
}

/* The unit of timestamps: a millisecond. */
static uint32_t tick(void)
{
	return (uint32_t)(clock_ns() / NSEC_PER_MSEC);
}

/* What the socket adds to the time. TCP_TIMESTAMP has lost its lowest bit: so it is seen in every
 * other tick. */
static uint32_t clock_offset(int fd)
{
	uint32_t offset[2] = { 0 };
	bool known[2] = { false };

	UNTIL(known[0] && known[1]) {
		uint32_t now = tick(), ahead = (uint32_t)get(fd, TCP_TIMESTAMP) - now;

		if (now == tick()) {
			offset[now & 1] = ahead;
			known[now & 1] = true;
		}
	}
	assert_true(known[0] && known[1]);
	return (int32_t)(offset[0] - offset[1]) > 0 ? offset[0] : offset[1];
}

/* The peer sends its first byte, so that the proxy's socket has the timestamp of that. False: not
 * within a tick. */
static bool speak(const struct connection *c, uint32_t *ts_recent)
{
	uint32_t offset = clock_offset(c->peer), now = tick();
	char byte;

	*ts_recent = now + offset;
	assert_int_equal(send(c->peer, "x", 1, 0), 1);
	if (now != tick())
		return false;
	assert_int_equal(recv(c->proxy, &byte, 1, MSG_WAITALL), 1);
	return true;
}

/* False: it has not come to know what the time was. */
static bool join_within_a_tick(struct pair *p)
{
	uint32_t ts_recent[2], offset[2], now;

	for (int i = 0; i < 2; i++) {
		offset[i] = clock_offset(p->side[i].proxy);
		if (!speak(&p->side[i], &ts_recent[i]))
			return false;
	}
	now = tick();
	assert_int_equal(join(p), WIRE_JOINED);
	if (now != tick())
		return false;
	for (int i = 0; i < 2; i++) {
		struct wire_leg leg;

		assert_int_equal(bpf_map_lookup_elem(map_fd(p->b->bpf->maps.wire_flows),
						     &p->side[i].leg, &leg),
				 0);
		assert_int_equal(leg.tsval_delta, now + 1 + offset[i ^ 1] - ts_recent[i]);
	}
	return true;
}

/* The next tick: in this one the socket may yet send. */
static void clocks_are_rounded_up(void **state)
{
	bool is_known = false;

	SKIP_IF_REASON();
	UNTIL(is_known) {
		struct pair p = open_pair(*state);

		is_known = join_within_a_tick(&p);
		close_pair(&p);
	}
	assert_true(is_known);
}

static void a_pair_is_joined_once(void **state)
{
	struct pair p;

	SKIP_IF_REASON();
	p = open_pair(*state);
	assert_int_equal(join(&p), WIRE_JOINED);
	assert_int_equal(join(&p), WIRE_NOT_SEEN); /* it is not held any more */
	close_pair(&p);
}

static void what_holds_bytes_is_not_dry(void **state)
{
	static char many[1 << 20];
	struct pair p;
	char byte;

	SKIP_IF_REASON();
	p = open_pair(*state);
	for (int side = 0; side < 2; side++) {
		assert_int_equal(send(p.side[side].peer, "x", 1, 0), 1); /* not read */
		wait_for(p.side[side].proxy, POLLIN);
		expect_refusal(&p, WIRE_NOT_DRY);
		assert_int_equal(recv(p.side[side].proxy, &byte, 1, 0), 1);
		/* Not acknowledged: the peer's window closes. */
		while (send(p.side[side].proxy, many, sizeof(many), MSG_DONTWAIT) > 0)
			;
		expect_refusal(&p, WIRE_NOT_DRY);
		while (recv(p.side[side].peer, many, sizeof(many), MSG_DONTWAIT) > 0 ||
		       info_of(p.side[side].proxy).tcpi_unacked ||
		       info_of(p.side[side].proxy).tcpi_notsent_bytes)
			;
	}
	assert_int_equal(join(&p), WIRE_JOINED);
	close_pair(&p);
}

/* A segment that nobody has sent, as if the peer's. */
static void inject(struct bench *b, const struct segment *s)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = s->t.daddr[3] };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	bool is_ipv4 = is_v4(&s->t);
	const void *to = is_ipv4 ? (const void *)&v4 : &v6;
	int fd = socket(is_ipv4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	size_t n;

	assert_true(fd >= 0);
	memcpy(&v6.sin6_addr, s->t.daddr, 16);
	frame_make(&b->frame, s);
	n = b->frame.n - ETH_BYTES;
	assert_int_equal(
		sendto(fd, frame_ip(&b->frame), n, 0, to, is_ipv4 ? sizeof(v4) : sizeof(v6)), n);
	close(fd);
}

/* It is in the socket, and no number says so. */
static void what_came_before_its_time_is_not_dry(void **state)
{
	struct pair p;
	char bytes[2];

	SKIP_IF_REASON();
	p = open_pair(*state);
	for (int side = 0; side < 2; side++) {
		const struct connection *c = &p.side[side];
		struct numbers n = exchange(c, 100);
		struct segment second = { .t = c->leg,
					  .seq = n.rcv + 1,
					  .ack = n.snd,
					  .flags = ACK,
					  .window = 500,
					  .payload = 1 };

		inject(p.b, &second);
		UNTIL(info_of(c->proxy).tcpi_rcv_ooopack)
			sched_yield();
		assert_int_equal(info_of(c->proxy).tcpi_rcv_ooopack, 1);
		expect_refusal(&p, WIRE_NOT_DRY);
		/* The first one, and the second again. */
		assert_int_equal(send(c->peer, "xy", 2, 0), 2);
		assert_int_equal(recv(c->proxy, bytes, 2, MSG_WAITALL), 2);
	}
	assert_int_equal(join(&p), WIRE_JOINED);
	close_pair(&p);
}

static void a_leg_without_an_established_socket_is_refused(void **state)
{
	struct pair p;

	SKIP_IF_REASON();
	for (int side = 0; side < 2; side++) {
		p = open_pair(*state);
		p.side[side].leg.sport ^= 0xffff;
		expect_refusal(&p, WIRE_NO_SOCKET);
		p.side[side].leg.sport ^= 0xffff;
		shutdown(p.side[side].peer, SHUT_WR);
		wait_for(p.side[side].proxy, POLLRDHUP);
		expect_refusal(&p, WIRE_NO_SOCKET);
		close_pair(&p);
	}
}

static void legs_of_two_families_are_refused(void **state)
{
	struct pair p;

	(void)state;
	SKIP_IF_REASON();
	p = open_pair(&families[0]);
	close_side(&p, 1);
	p.family = &families[1];
	open_side(&p, 1, 0);
	hold_since(&p, 1, 0, 0, 0);
	expect_refusal(&p, WIRE_FAMILIES);
	close_pair(&p);
}

static bool write_sysctl(const char *name, const char *value)
{
	char path[128];
	bool written;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
	f = fopen(path, "w");
	assert_non_null(f);
	written = fputs(value, f) >= 0;
	return !fclose(f) && written;
}

/* A connection that is made with another setting of the system's. */
static void reopen_with(struct pair *p, int side, const char *name, const char *value,
			const char *usual)
{
	close_side(p, side);
	assert_true(write_sysctl(name, value));
	open_side(p, side, 0);
	assert_true(write_sysctl(name, usual));
	hold_since(p, side, 0, 0, 0);
}

static void options_must_agree(void **state)
{
	static const struct {
		const char *name, *value, *usual;
		enum wire_refusal refusal;
	} cases[] = {
		{ "tcp_timestamps", "0", "1", WIRE_TIMESTAMPS },
		{ "tcp_ecn", "1", "2", WIRE_ECN },
		/* These may differ. */
		{ "tcp_sack", "0", "1", WIRE_JOINED },
		{ "tcp_window_scaling", "0", "1", WIRE_JOINED },
	};
	struct pair p;

	SKIP_IF_REASON();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (int side = 0; side < 2; side++) {
			p = open_pair(*state);
			reopen_with(&p, side, cases[i].name, cases[i].value, cases[i].usual);
			if (cases[i].refusal)
				expect_refusal(&p, cases[i].refusal);
			/* A flow both of whose legs are so can be joined, and without: both as
			 * usual. */
			reopen_with(&p, side ^ 1, cases[i].name, cases[i].value, cases[i].usual);
			assert_int_equal(join(&p), WIRE_JOINED);
			close_pair(&p);
		}
}

static void a_peer_must_take_what_the_other_was_told(void **state)
{
	struct pair p;
	uint32_t told;

	SKIP_IF_REASON();
	p = open_pair(*state);
	told = info_of(p.side[0].proxy).tcpi_advmss + 12;
	for (int side = 0; side < 2; side++) {
		hold_since(&p, side, 0, LO_IFINDEX, told - 1);
		expect_refusal(&p, WIRE_MSS);
		assert_int_equal(p.request.mss_offered[side], told - 1);
		hold_since(&p, side, 0, LO_IFINDEX, told);
	}
	/* A backend to which TCP_MAXSEG was announced, while the client was told more: without what
	 * the hold knows, the backend may have set the limit. */
	close_side(&p, 1);
	open_side(&p, 1, 1000);
	hold_since(&p, 1, 0, LO_IFINDEX, 0);
	expect_refusal(&p, WIRE_MSS);
	assert_int_equal(p.request.mss_told[1], 1000);
	assert_int_equal(p.request.mss_offered[1], 1000);
	hold_since(&p, 1, 0, LO_IFINDEX, told);
	assert_int_equal(join(&p), WIRE_JOINED);
	close_pair(&p);
}

static void set_mtu(int mtu)
{
	struct ifreq device = { .ifr_name = "lo", .ifr_mtu = mtu };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(ioctl(fd, SIOCSIFMTU, &device), 0);
	close(fd);
}

/* A connection that is made with another MTU of the device's. */
static void reopen_at(struct pair *p, int side, int mtu)
{
	close_side(p, side);
	set_mtu(mtu);
	open_side(p, side, 0);
	hold_since(p, side, 0, LO_IFINDEX, 32000);
}

/* Of a way that the sockets know to be narrower; whatever the peers have announced. */
static void what_a_peer_was_told_must_fit_the_other_way(void **state)
{
	const int usual = 65536, wide = 9000, narrow = 1400;
	struct pair p;

	SKIP_IF_REASON();
	p = open_pair(*state);
	for (int side = 0; side < 2; side++) {
		reopen_at(&p, side, wide);
		reopen_at(&p, side ^ 1, narrow);
		set_mtu(wide);
		expect_refusal(&p, WIRE_MTU);
		assert_int_equal(p.request.mtu[side], wide);
		assert_int_equal(p.request.mtu[side ^ 1], narrow);
		reopen_at(&p, side, narrow);
		assert_int_equal(join(&p), WIRE_JOINED);
		assert_int_equal(p.request.mtu[side], narrow);
		assert_int_equal(bpf_map_delete_elem(map_fd(p.b->bpf->maps.wire_flows),
						     &p.side[side].leg),
				 0);
	}
	/* Since the handshakes a device has become narrower. */
	for (int side = 0; side < 2; side++)
		reopen_at(&p, side, narrow);
	set_mtu(narrow - 1);
	expect_refusal(&p, WIRE_MTU);
	set_mtu(narrow);
	assert_int_equal(join(&p), WIRE_JOINED);
	set_mtu(usual);
	close_pair(&p);
}

static void a_socket_without_a_route_is_refused(void **state)
{
	int tos = 0x20;
	struct pair p;

	(void)state;
	SKIP_IF_REASON();
	p = open_pair(&families[0]);
	/* The next packet looks its route up anew. */
	assert_int_equal(setsockopt(p.side[1].proxy, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)), 0);
	expect_refusal(&p, WIRE_NO_ROUTE);
	close_pair(&p);
}

static void both_legs_must_be_held(void **state)
{
	struct pair p;

	SKIP_IF_REASON();
	for (int side = 0; side < 2; side++) {
		p = open_pair(*state);
		hold_since(&p, side, LONG_AGO_NS, LO_IFINDEX, 0);
		expect_refusal(&p, WIRE_NOT_SEEN);
		assert_int_equal(bpf_map_delete_elem(map_fd(p.b->bpf->maps.wire_holds),
						     &p.side[side].leg),
				 0);
		expect_refusal(&p, WIRE_NOT_SEEN);
		hold_since(&p, side, 0, 0, 0);
		hold_since(&p, side ^ 1, 0, LO_IFINDEX, 0);
		assert_int_equal(ask(&p, true, FLOW), WIRE_NOT_SEEN);
		hold_since(&p, side, 0, 4711, 0); /* what the hold knows goes before the socket */
		assert_int_equal(ask(&p, true, FLOW), WIRE_JOINED);
		assert_int_equal(p.request.rx_ifindex[side], 4711);
		close_pair(&p);
	}
}

static void a_leg_that_is_still_in_the_table_is_refused(void **state)
{
	struct wire_leg old = { .slot = 0 };
	struct pair p;

	SKIP_IF_REASON();
	for (int side = 0; side < 2; side++) {
		p = open_pair(*state);
		assert_int_equal(bpf_map_update_elem(map_fd(p.b->bpf->maps.wire_flows),
						     &p.side[side].leg, &old, 0),
				 0);
		assert_int_equal(join(&p), WIRE_TABLE_FULL);
		assert_true(is_in(p.b->bpf->maps.wire_flows, &p.side[side].leg));
		assert_false(is_in(p.b->bpf->maps.wire_flows, &p.side[side ^ 1].leg));
		assert_true(is_in(p.b->bpf->maps.wire_holds, &p.side[0].leg));
		assert_true(is_in(p.b->bpf->maps.wire_holds, &p.side[1].leg));
		assert_int_equal(bpf_map_delete_elem(map_fd(p.b->bpf->maps.wire_flows),
						     &p.side[side].leg),
				 0);
		assert_int_equal(ask(&p, false, BENCH_FLOWS), WIRE_TABLE_FULL); /* no such slot */
		assert_int_equal(join(&p), WIRE_JOINED);
		close_pair(&p);
	}
}

/* Whoever sends it, perhaps blindly: the connection is there, and nothing of it is kept from its
 * socket. */
static void a_late_syn_holds_nothing(void **state)
{
	struct wire_listener l = { 0 };
	struct segment syn = { .flags = SYN, .window = 500 };
	struct segment answer = { .flags = SYN | ACK, .window = 500 };
	struct pair p;
	uint32_t unused = 0;

	SKIP_IF_REASON();
	p = open_pair(*state);
	for (int i = 0; i < 2; i++)
		bpf_map_delete_elem(map_fd(p.b->bpf->maps.wire_holds), &p.side[i].leg);
	memcpy(l.addr, p.side[0].leg.daddr, sizeof(l.addr));
	l.port = p.side[0].leg.dport;
	assert_int_equal(bpf_map_update_elem(map_fd(p.b->bpf->maps.wire_listeners), &l, &unused, 0),
			 0);
	assert_int_equal(bpf_map_update_elem(map_fd(p.b->bpf->maps.wire_expected), &p.side[1].proxy,
					     &unused, 0),
			 0);
	syn.t = p.side[0].leg;
	answer.t = p.side[1].leg;
	assert_int_equal(bench_send(p.b, &syn), TC_PASSED);
	assert_int_equal(bench_send(p.b, &answer), TC_PASSED);
	for (int i = 0; i < 2; i++)
		assert_false(is_in(p.b->bpf->maps.wire_holds, &p.side[i].leg));
	/* But one that begins a connection does. */
	syn.t.sport = htons(1);
	assert_int_equal(bench_send(p.b, &syn), TC_PASSED);
	assert_true(is_in(p.b->bpf->maps.wire_holds, &syn.t));
	close_pair(&p);
}

struct sender {
	struct bench *b;
	int error, verdict;
};

/* To the n-th of those that this thread may use. */
static bool go_to_cpu(int n)
{
	static cpu_set_t all;
	cpu_set_t one;

	if (!CPU_COUNT(&all))
		assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || n--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return !sched_setaffinity(0, sizeof(one), &one);
	}
	return false;
}

/* The packet waits at the gate in the kernel, where nothing takes the CPU from it: the join needs
 * another. */
static void *send_frame(void *arg)
{
	struct sender *s = arg;

	go_to_cpu(1);
	s->error = bench_try_run(s->b, LO_IFINDEX, &s->verdict);
	return NULL;
}

/* A packet with payload has been looked up among the joined legs; then its leg is joined; then it
 * is looked up among the held ones. False: it has not waited for that. */
static bool cross_the_join(struct pair *p)
{
	struct segment in = { .t = p->side[0].leg, .flags = ACK, .payload = 100, .window = 500 };
	struct wire_settings *settings = p->b->settings;
	uint32_t reached = WIRE_GATE_REACHED;
	struct sender sender = { .b = p->b };
	enum wire_refusal refusal;
	pthread_t thread;
	bool has_waited;

	frame_make(&p->b->frame, &in);
	settings->gate = WIRE_GATE_SHUT;
	assert_int_equal(pthread_create(&thread, NULL, send_frame, &sender), 0);
	while (__atomic_load_n(&settings->gate, __ATOMIC_SEQ_CST) == WIRE_GATE_SHUT)
		sched_yield();
	refusal = join(p);
	has_waited = __atomic_compare_exchange_n(&settings->gate, &reached, WIRE_GATE_OPEN, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	assert_int_equal(sender.error, 0);
	if (!has_waited)
		return false;
	assert_int_equal(refusal, WIRE_JOINED);
	assert_int_equal(sender.verdict, TC_REDIRECTED);
	return true;
}

static void a_packet_that_crosses_the_join_goes_on(void **state)
{
	bool has_crossed = false;

	SKIP_IF_REASON();
	if (!go_to_cpu(1) || !go_to_cpu(0)) {
		print_message("skipped: there is but one CPU\n");
		skip();
	}
	for (int i = 0; i < CROSSINGS_MAX && !has_crossed; i++) {
		struct pair p = open_pair(*state);

		has_crossed = cross_the_join(&p);
		close_pair(&p);
	}
	assert_true(has_crossed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_EVERY_FAMILY(the_numbers_are_the_sockets),
		IN_EVERY_FAMILY(clocks_are_rounded_up),
		IN_EVERY_FAMILY(a_pair_is_joined_once),
		IN_EVERY_FAMILY(what_holds_bytes_is_not_dry),
		IN_EVERY_FAMILY(what_came_before_its_time_is_not_dry),
		IN_EVERY_FAMILY(a_leg_without_an_established_socket_is_refused),
		cmocka_unit_test(legs_of_two_families_are_refused),
		IN_EVERY_FAMILY(options_must_agree),
		IN_EVERY_FAMILY(a_peer_must_take_what_the_other_was_told),
		IN_EVERY_FAMILY(what_a_peer_was_told_must_fit_the_other_way),
		cmocka_unit_test(a_socket_without_a_route_is_refused),
		IN_EVERY_FAMILY(both_legs_must_be_held),
		IN_EVERY_FAMILY(a_late_syn_holds_nothing),
		IN_EVERY_FAMILY(a_packet_that_crosses_the_join_goes_on),
		IN_EVERY_FAMILY(a_leg_that_is_still_in_the_table_is_refused),
	};

	return cmocka_run_group_tests(tests, bench_setup, bench_teardown);
}
