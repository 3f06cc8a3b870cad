/* SPDX-License-Identifier: MIT */
/*
 * The wire between real connections: joined before their first byte or in the middle of a stream,
 * every byte exact, every end passed on and told once, nothing in the proxy's sockets, nothing lost
 * when a join does not come to pass. Needs root, BPF and namespaces; without them every test is
 * skipped, and says why.
 */
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/membarrier.h>
#include <linux/sockios.h>
#include <sys/syscall.h>

#include "wire_lab.h"

#define KIB 1024u
#define MIB (1024u * 1024u)
/* If nothing is lost of that, nothing ever is. */
#define LUCKY_MAX_BYTES (256 * MIB)

static const struct wire_conf as_usual = { 0 };

/*
 * The flow's end, which must be told: in two FINs there are two pieces of news, in RSTs, however
 * many, there is one; or two, if they have come at once.
 */
static const struct wire_event *end_of(struct bench *b, const struct flow *f, size_t news)
{
	const struct wire_event *end;
	uint64_t until_ns;
	size_t n = 0;

	WAIT_FOR(b, (end = told_end(b, f->index)));
	until_ns = clock_ns() + 20 * NSEC_PER_MSEC; /* what might still come */
	WAIT_FOR(b, clock_ns() > until_ns);
	for (size_t i = 0; i < b->n_events; i++) {
		if (b->events[i].flow != f->index)
			continue;
		assert_int_equal(b->events[i].generation,
				 wire_flow(b->wire, (uint32_t)f->index)->generation);
		n++;
	}
	assert_in_range(n, news, news + !!(end->state[0] & end->state[1] & WIRE_RST));
	b->n_events = 0; /* the index may be another flow's next */
	return end;
}

static struct tcp_info info_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	return info;
}

static bool retransmitted(int fd)
{
	return info_of(fd).tcpi_total_retrans > 0;
}

static void assert_figures(struct bench *b, const struct flow *f)
{
	for (int i = 0; i < 2; i++) {
		const struct wire_direction *d = wire_direction(b->wire, (uint32_t)f->index, i);

		assert_int_equal(d->bytes, f->sent[i]);
		assert_true(d->packets > 0);
		assert_int_equal(d->state & (WIRE_FIN | WIRE_FIN_ACKED | WIRE_RST),
				 WIRE_FIN | WIRE_FIN_ACKED);
	}
}

/* A packet may be one of many segments: of a few MiB, each may be lucky. Both ends have sent as
 * much then. */
static void exchange_until_dropped(struct bench *b, struct flow *f)
{
	while (f->sent[CLIENT] < LUCKY_MAX_BYTES && !counter(b, WIRE_DROPPED_FOR_TEST)) {
		const size_t total = f->sent[CLIENT] + MIB;

		WAIT_FOR(b, (transfer_turn(b, f, total),
			     f->received[CLIENT] == total && f->received[BACKEND] == total));
	}
	assert_true(counter(b, WIRE_DROPPED_FOR_TEST) > 0);
}

static void bytes_are_exact(void **state)
{
	const struct variant *v = *state;
	struct bench b;
	struct flow f;

	SKIP_IF_REASON();
	bench_open(&b, v->family, (struct wire_conf){ .drop_per_million = v->drop_per_million });
	flow_open(&b, &f);
	if (v->drop_per_million)
		exchange_until_dropped(&b, &f);
	exchange(&b, &f, 1, f.sent[CLIENT] + v->bytes);
	assert_untouched(&f);
	/* The acknowledgement of a FIN may be lost, too, and comes again after the FIN has. */
	end_of(&b, &f, 2);
	assert_figures(&b, &f);
	assert_int_equal(counter(&b, WIRE_DROPPED_MALFORMED), 0);
	flow_close(&b, &f);
	bench_close(&b);
}

/* --- before the join ------------------------------------------------------------------------- */

/* What a client sends with its handshake's end is in no socket of the proxy, however long that
 * takes. */
static void first_bytes_are_held(void **state)
{
	const struct variant *v = *state;
	struct wire_hold hold;
	struct wire_tuple leg;
	struct bench b;
	struct flow f;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	flow_connect(&b, &f);
	send_all(&b, &f, CLIENT, 5000);
	send_all(&b, &f, BACKEND, 7000);
	shut(&f, CLIENT);
	WAIT_FOR(&b, park_figures(wire_park(b.wire)).bytes > 5000 + 7000);
	assert_untouched(&f);
	assert_true(wire_leg_of(f.inner[CLIENT], &leg));
	assert_true(wire_is_held(b.wire, &leg, &hold));
	assert_int_equal(hold.mss, v->family == AF_INET6 ? 1440 : 1460);
	flow_join(&b, &f);
	assert_false(wire_is_held(b.wire, &leg, NULL));
	receive_all(&b, &f, CLIENT);
	receive_all(&b, &f, BACKEND);
	WAIT_FOR(&b, (outer_receive(&f, BACKEND, 1), f.has_ended[BACKEND]));
	send_all(&b, &f, BACKEND, 50000);
	receive_all(&b, &f, CLIENT);
	assert_untouched(&f);
	assert_int_equal(park_figures(wire_park(b.wire)).frames, 0);
	flow_close(&b, &f);
	bench_close(&b);
}

static uint16_t own_port(int fd)
{
	struct addr a;
	socklen_t len = sizeof(a);

	assert_int_equal(getsockname(fd, &a.sa, &len), 0);
	return addr_port(&a);
}

static uint16_t peer_port(int fd)
{
	struct addr a;
	socklen_t len = sizeof(a);

	assert_int_equal(getpeername(fd, &a.sa, &len), 0);
	return addr_port(&a);
}

/* They need not come in the order in which they were begun. */
static void accept_clients(struct bench *b, struct flow *flows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;
		int fd;

		WAIT_FOR(b, (fd = try_accept(b->front)) >= 0);
		while (k < n && own_port(flows[k].outer[CLIENT]) != peer_port(fd))
			k++;
		assert_true(k < n);
		flows[k].inner[CLIENT] = fd;
	}
}

static void many_clients_that_send_at_once(void **state)
{
	enum { FLOWS = 64 };
	const struct variant *v = *state;
	const struct addr front = front_address(v->family);
	static struct flow flows[FLOWS];
	struct bench b;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	for (size_t i = 0; i < FLOWS; i++) {
		flow_init(&flows[i]);
		flows[i].outer[CLIENT] = start_connect(LAB_CLIENT, &front);
	}
	for (size_t i = 0; i < FLOWS; i++) {
		WAIT_FOR(&b, is_connected(flows[i].outer[CLIENT]));
		send_all(&b, &flows[i], CLIENT, 20000);
	}
	accept_clients(&b, flows, FLOWS);
	for (size_t i = 0; i < FLOWS; i++) {
		flow_connect_rear(&b, &flows[i], REAR_PORT);
		WAIT_FOR(&b, (flows[i].outer[BACKEND] = try_accept(b.rear)) >= 0);
		flow_join(&b, &flows[i]);
	}
	exchange(&b, flows, FLOWS, 200000);
	for (size_t i = 0; i < FLOWS; i++)
		assert_untouched(&flows[i]);
	for (size_t i = 0; i < FLOWS; i++)
		WAIT_FOR(&b, told_end(&b, flows[i].index));
	for (size_t i = 0; i < FLOWS; i++)
		flow_close(&b, &flows[i]);
	assert_int_equal(counter(&b, WIRE_EVENT_LOST), 0);
	bench_close(&b);
}

/* The next backend is tried while the client's bytes are still parked. */
static void a_refused_connect_loses_nothing(void **state)
{
	const struct variant *v = *state;
	const struct addr front = front_address(v->family);
	struct bench b;
	struct flow f;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	flow_init(&f);
	f.outer[CLIENT] = start_connect(LAB_CLIENT, &front);
	WAIT_FOR(&b, (f.inner[CLIENT] = try_accept(b.front)) >= 0);
	send_all(&b, &f, CLIENT, 3000);
	flow_connect_rear(&b, &f, REAR_PORT + 1);
	WAIT_FOR(&b, option(f.inner[BACKEND], SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
	close_fd(&f.inner[BACKEND]);
	flow_connect_rear(&b, &f, REAR_PORT);
	WAIT_FOR(&b, (f.outer[BACKEND] = try_accept(b.rear)) >= 0);
	flow_join(&b, &f);
	exchange(&b, &f, 1, 50000);
	assert_untouched(&f);
	flow_close(&b, &f);
	bench_close(&b);
}

/* No backend at all: the client's bytes come to the socket after all, in order, and so do those
 * after them. */
static void a_released_leg_is_the_sockets(void **state)
{
	const struct variant *v = *state;
	struct wire_tuple leg;
	struct flow f, direct;
	struct bench b;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	flow_connect(&b, &f);
	direct = f;
	direct.outer[BACKEND] = f.inner[CLIENT]; /* the proxy answers by itself */
	send_all(&b, &direct, CLIENT, 10000);
	WAIT_FOR(&b, park_figures(wire_park(b.wire)).frames > 0);
	assert_true(wire_leg_of(f.inner[CLIENT], &leg));
	wire_release(b.wire, &leg);
	assert_false(wire_is_held(b.wire, &leg, NULL));
	send_all(&b, &direct, CLIENT, 20000);
	receive_all(&b, &direct, BACKEND);
	shut(&direct, CLIENT);
	WAIT_FOR(&b, (outer_receive(&direct, BACKEND, 1), direct.has_ended[BACKEND]));
	send_all(&b, &direct, BACKEND, 5000);
	receive_all(&b, &direct, CLIENT);
	assert_int_equal(park_figures(wire_park(b.wire)).frames, 0);
	flow_close(&b, &f);
	bench_close(&b);
}

static void what_nobody_listens_for_is_not_held(void **state)
{
	const struct addr front = front_address(AF_INET);
	struct wire_tuple leg;
	struct bench b;
	struct flow f;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, AF_INET, as_usual);
	assert_int_equal(wire_listen(b.wire, &front, false), 0);
	assert_int_equal(wire_listen(b.wire, &front, false), 0);
	flow_connect(&b, &f);
	assert_true(wire_leg_of(f.inner[CLIENT], &leg));
	assert_false(wire_is_held(b.wire, &leg, NULL));
	flow_take(&b, &f);
	assert_int_equal(flow_try_join(&b, &f, true), WIRE_NOT_SEEN);
	flow_close(&b, &f);
	bench_close(&b);
}

static void a_late_listener_holds_nothing(void **state)
{
	const struct addr front = front_address(AF_INET);
	struct wire_tuple leg;
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, AF_INET, as_usual);
	for (int late = 1; late >= 0; late--) {
		struct flow f;

		assert_int_equal(wire_listen_late(b.wire, &front, late), 0);
		flow_connect(&b, &f);
		assert_true(wire_leg_of(f.inner[CLIENT], &leg));
		assert_int_equal(wire_is_held(b.wire, &leg, NULL), !late);
		flow_close(&b, &f);
	}
	assert_int_equal(wire_listen(b.wire, &front, false), 0);
	assert_int_equal(wire_listen_late(b.wire, &front, false), -ENOENT);
	bench_close(&b);
}

static void a_wildcard_listens_for_its_family(void **state)
{
	const struct variant *v = *state;
	struct addr front = front_address(v->family), any;
	struct wire_tuple leg;
	struct bench b;
	struct flow f;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	assert_int_equal(wire_listen(b.wire, &front, false), 0);
	any = address(v->family, "0.0.0.0", "::", FRONT_PORT);
	assert_int_equal(wire_listen(b.wire, &any, true), 0);
	flow_connect(&b, &f);
	assert_true(wire_leg_of(f.inner[CLIENT], &leg));
	assert_true(wire_is_held(b.wire, &leg, NULL));
	flow_close(&b, &f);
	bench_close(&b);
}

/* --- joining --------------------------------------------------------------------------------- */

static void joined_sockets_are_silent(void **state)
{
	struct bench b;
	struct flow f;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, AF_INET, as_usual);
	flow_connect(&b, &f);
	for (int side = 0; side < 2; side++)
		set_option(f.inner[side], SOL_SOCKET, SO_KEEPALIVE, 1);
	flow_join(&b, &f);
	for (int side = 0; side < 2; side++) {
		assert_int_equal(option(f.inner[side], IPPROTO_TCP, TCP_REPAIR), 1);
		assert_int_equal(option(f.inner[side], SOL_SOCKET, SO_KEEPALIVE), 0);
	}
	/* Closing them says nothing to anybody; but an entry is needed for what they were. */
	close_fd(&f.inner[CLIENT]);
	close_fd(&f.inner[BACKEND]);
	exchange(&b, &f, 1, 100000);
	flow_close(&b, &f);
	bench_close(&b);
}

/* What does not come by the program is lost, and comes again: a socket that took it would have its
 * sender believe that it has arrived. */
static void joined_sockets_are_deaf(void **state)
{
	const struct variant *v = *state;
	struct bench b;
	struct flow f;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	flow_open(&b, &f); /* so the first byte has the number that the sockets expect */
	wire_devices_close(b.devices, false);
	b.devices = NULL;
	send_all(&b, &f, CLIENT, 1000);
	send_all(&b, &f, BACKEND, 1000);
	for (int side = 0; side < 2; side++)
		WAIT_FOR(&b, retransmitted(f.outer[side]));
	assert_untouched(&f);
	devices_start(&b);
	receive_all(&b, &f, BACKEND);
	receive_all(&b, &f, CLIENT);
	exchange(&b, &f, 1, 100000);
	assert_untouched(&f);
	flow_close(&b, &f);
	bench_close(&b);
}

/* Moves what has come on the proxy's sockets to the other ones, as an engine before the wire does. */
static void relay(struct flow *f, size_t moved[2])
{
	static uint8_t chunk[CHUNK_MAX];

	for (int from = 0; from < 2; from++) {
		ssize_t n = recv(f->inner[from], chunk, 16 * KIB, 0), out;

		if (n <= 0)
			continue;
		out = send(f->inner[!from], chunk, (size_t)n, MSG_NOSIGNAL);
		assert_int_equal(out, n); /* send buffers are larger than what is under way */
		moved[from] += (size_t)n;
	}
}

static void hold_both(struct bench *b, struct flow *f)
{
	for (int side = 0; side < 2; side++) {
		struct wire_tuple leg;

		assert_true(wire_leg_of(f->inner[side], &leg));
		assert_int_equal(wire_hold(b->wire, &leg), 0);
	}
}

static void release_both(struct bench *b, struct flow *f)
{
	for (int side = 0; side < 2; side++) {
		struct wire_tuple leg;

		assert_true(wire_leg_of(f->inner[side], &leg));
		wire_release(b->wire, &leg);
	}
}

static void a_refusal_leaves_all_as_it_was(void **state)
{
	size_t moved[2] = { 0 };
	struct wire_tuple leg;
	struct bench b;
	struct flow f;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, AF_INET, as_usual);
	flow_connect(&b, &f);
	for (int side = 0; side < 2; side++)
		set_option(f.inner[side], SOL_SOCKET, SO_KEEPALIVE, 1);
	release_both(&b, &f);
	flow_take(&b, &f);
	assert_int_equal(flow_try_join(&b, &f, false), WIRE_NOT_SEEN);
	send_all(&b, &f, CLIENT, 1000);
	WAIT_FOR(&b, ioctl(f.inner[CLIENT], FIONREAD, &moved[0]) == 0 && moved[0] == 1000);
	hold_both(&b, &f);
	assert_int_equal(flow_try_join(&b, &f, false), WIRE_NOT_DRY);
	assert_int_equal(wire_flow(b.wire, (uint32_t)f.index)->in_use, 0);
	for (int side = 0; side < 2; side++) {
		assert_int_equal(option(f.inner[side], IPPROTO_TCP, TCP_REPAIR), 0);
		assert_int_equal(option(f.inner[side], SOL_SOCKET, SO_KEEPALIVE), 1);
		assert_int_equal(option(f.inner[side], SOL_SOCKET, SO_REUSEADDR), side == CLIENT);
		assert_true(wire_leg_of(f.inner[side], &leg));
		assert_true(wire_is_held(b.wire, &leg, NULL));
	}
	release_both(&b, &f);
	send_all(&b, &f, BACKEND, 1000);
	moved[0] = 0;
	WAIT_FOR(&b, (relay(&f, moved), moved[0] == 1000 && moved[1] == 1000));
	receive_all(&b, &f, CLIENT);
	receive_all(&b, &f, BACKEND);
	flow_close(&b, &f);
	bench_close(&b);
}

/* Relays by the sockets what they still hold, till they can be joined. Tries. */
static size_t promote(struct bench *b, struct flow *f, size_t moved[2])
{
	const uint64_t deadline_ns = clock_ns() + STEP_MAX_NS;
	enum wire_refusal refusal = WIRE_NOT_DRY;
	size_t tries = 0;

	flow_take(b, f);
	hold_both(b, f);
	/* What is on its way to a socket gets there: see settler.h. */
	assert_int_equal(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0), 0);
	while (refusal == WIRE_NOT_DRY && clock_ns() < deadline_ns) {
		exchange_turn(b, f, SIZE_MAX);
		relay(f, moved);
		bench_pump(b);
		refusal = flow_try_join(b, f, false);
		tries++;
	}
	assert_int_equal(refusal, WIRE_JOINED);
	return tries;
}

/* A flow that sockets relay, and whose both ends send all the time, changes over to the wire. */
static void a_busy_flow_is_promoted(void **state)
{
	const struct variant *v = *state;
	size_t moved[2] = { 0 }, tries;
	struct bench b;
	struct flow f;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	flow_connect(&b, &f);
	/* What is under way when they are held has to find room in the park. */
	for (int side = 0; side < 2; side++)
		set_option(f.inner[side], SOL_SOCKET, SO_RCVBUF, 32 * KIB);
	release_both(&b, &f);
	while (moved[0] < MIB || moved[1] < MIB) {
		exchange_turn(&b, &f, SIZE_MAX);
		relay(&f, moved);
	}
	tries = promote(&b, &f, moved);
	print_message("             %zu and %zu bytes by sockets, joined at try %zu\n", moved[0],
		      moved[1], tries);
	exchange(&b, &f, 1, MAX(f.sent[0], f.sent[1]) + 4 * MIB);
	for (int i = 0; i < 2; i++)
		assert_int_equal(wire_direction(b.wire, (uint32_t)f.index, i)->bytes,
				 f.sent[i] - moved[i]);
	assert_int_equal(park_figures(wire_park(b.wire)).overflowed, 0);
	flow_close(&b, &f);
	bench_close(&b);
}

static void a_full_table_says_so(void **state)
{
	uint32_t generation;
	struct bench b;
	int64_t flow;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, AF_INET, (struct wire_conf){ .flows = 1 });
	assert_int_equal(wire_capacity(b.wire), 1);
	assert_true(wire_memory(b.wire) > 0);
	flow = wire_take(b.wire, clock_ns());
	assert_int_equal(flow, 0);
	generation = wire_flow(b.wire, 0)->generation;
	assert_int_equal(wire_direction(b.wire, 0, 1)->generation, generation);
	assert_int_equal(wire_take(b.wire, clock_ns()), -ENOSPC);
	wire_give(b.wire, 0, clock_ns());
	WAIT_FOR(&b, (flow = wire_take(b.wire, clock_ns())) >= 0);
	assert_int_not_equal(wire_flow(b.wire, 0)->generation, generation);
	bench_close(&b);
}

/* --- ends ------------------------------------------------------------------------------------ */

static void a_reset_is_passed_on(void **state)
{
	const struct variant *v = *state;
	const struct linger at_once = { 1, 0 };
	struct bench b;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	for (int side = 0; side < 2; side++) {
		struct flow f;

		flow_open(&b, &f);
		send_all(&b, &f, !side, 100000);
		setsockopt(f.outer[side], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		close_fd(&f.outer[side]);
		WAIT_FOR(&b, reset_error(&f, !side) == ECONNRESET);
		assert_true(end_of(&b, &f, 1)->state[side] & WIRE_RST);
		flow_close(&b, &f);
	}
	bench_close(&b);
}

enum killed_when { IDLE, BUSY, UNREAD, HALF_CLOSED, N_KILLED_WHEN };

static void prepare_kill(struct bench *b, struct flow *f, enum killed_when when)
{
	if (when == UNREAD) /* till the backend's window is shut */
		for (int idle = 0; idle < 50; usleep(1000))
			idle = outer_send(f, CLIENT, CHUNK_MAX) ? 0 : idle + 1;
	for (int i = 0; when == BUSY && i < 200; i++)
		exchange_turn(b, f, SIZE_MAX);
	if (when == HALF_CLOSED) {
		shut(f, CLIENT);
		WAIT_FOR(b, (outer_receive(f, BACKEND, 1), f->has_ended[BACKEND]));
		WAIT_FOR(b, wire_direction(b->wire, (uint32_t)f->index, CLIENT)->state &
				    WIRE_FIN_ACKED);
	}
}

/* Both ends hear of it, whatever is under way, and without having to send. */
static void a_killed_flow_is_reset(void **state)
{
	const struct variant *v = *state;
	struct bench b;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	for (enum killed_when when = 0; when < N_KILLED_WHEN; when++) {
		struct flow f;

		flow_open(&b, &f);
		prepare_kill(&b, &f, when);
		wire_kill(b.wire, (uint32_t)f.index);
		for (int i = 0; i < 2; i++) {
			/* One that has got a FIN is told that its pipe is broken. */
			int error = f.has_ended[i] ? EPIPE : ECONNRESET;

			WAIT_FOR(&b, reset_error(&f, i) == error);
		}
		end_of(&b, &f, 1 + f.has_ended[BACKEND]);
		for (int i = 0; i < 2; i++)
			assert_true(wire_direction(b.wire, (uint32_t)f.index, i)->state & WIRE_RST);
		flow_close(&b, &f);
	}
	bench_close(&b);
}

/* A RST that is lost is sent again, for whatever an end sends. */
static void a_killed_flow_answers(void **state)
{
	const struct variant *v = *state;
	struct bench b;
	struct flow f;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	flow_open(&b, &f);
	for (int i = 0; i < 2; i++)
		wire_direction(b.wire, (uint32_t)f.index, i)->killed = 1;
	for (int i = 0; i < 2; i++) {
		outer_send(&f, i, 100);
		WAIT_FOR(&b, reset_error(&f, i) == ECONNRESET);
	}
	assert_true(counter(&b, WIRE_RST_ANSWERED) >= 2);
	flow_close(&b, &f);
	bench_close(&b);
}

/* The client comes again from its port while the flow before still lingers there; and when that
 * goes, it takes nothing with it that is the new one's. */
static void an_ended_flow_makes_way(void **state)
{
	const struct variant *v = *state;
	const struct addr front = front_address(v->family);
	struct flow old, new;
	struct addr source;
	socklen_t len = sizeof(source);
	struct bench b;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	flow_open(&b, &old);
	assert_int_equal(getsockname(old.outer[CLIENT], &source.sa, &len), 0);
	shut(&old, BACKEND); /* first: so it has the TIME_WAIT */
	WAIT_FOR(&b, (outer_receive(&old, CLIENT, 1), old.has_ended[CLIENT]));
	shut(&old, CLIENT);
	end_of(&b, &old, 2);
	wire_end(b.wire, (uint32_t)old.index, clock_ns());
	/* The program has seen the last ACK before the client, whose port it is until then. */
	WAIT_FOR(&b, info_of(old.outer[CLIENT]).tcpi_state == BPF_TCP_CLOSE);
	close_fd(&old.outer[CLIENT]);
	close_fd(&old.inner[CLIENT]);
	flow_init(&new);
	new.outer[CLIENT] = new_socket(LAB_CLIENT, v->family);
	set_option(new.outer[CLIENT], SOL_SOCKET, SO_REUSEADDR, 1);
	assert_int_equal(bind(new.outer[CLIENT], &source.sa, len), 0);
	assert_int_equal(connect(new.outer[CLIENT], &front.sa, addr_len(&front)), -1);
	assert_int_equal(errno, EINPROGRESS);
	WAIT_FOR(&b, (new.inner[CLIENT] = try_accept(b.front)) >= 0);
	assert_int_equal(counter(&b, WIRE_TO_STACK_REUSED), 1);
	flow_connect_rear(&b, &new, REAR_PORT);
	WAIT_FOR(&b, (new.outer[BACKEND] = try_accept(b.rear)) >= 0);
	flow_join(&b, &new);
	flow_close(&b, &old);
	exchange(&b, &new, 1, 100000);
	flow_close(&b, &new);
	bench_close(&b);
}

/* The proxy's local port is free when the flow has ended, and a connection that gets it hears what
 * is for it, also that nobody listens any more. */
static void a_local_port_may_be_used_again(void **state)
{
	const struct variant *v = *state;
	const struct addr rear = rear_address(v->family, REAR_PORT);
	struct addr own;
	socklen_t len = sizeof(own);
	struct bench b;
	struct flow f;
	int again;

	SKIP_IF_REASON();
	bench_open(&b, v->family, as_usual);
	flow_open(&b, &f);
	assert_int_equal(getsockname(f.inner[BACKEND], &own.sa, &len), 0);
	shut(&f, CLIENT); /* first: so it has the TIME_WAIT, and not the backend */
	WAIT_FOR(&b, (outer_receive(&f, BACKEND, 1), f.has_ended[BACKEND]));
	shut(&f, BACKEND);
	end_of(&b, &f, 2);
	wire_end(b.wire, (uint32_t)f.index, clock_ns());
	WAIT_FOR(&b, info_of(f.outer[BACKEND]).tcpi_state == BPF_TCP_CLOSE);
	for (int side = 0; side < 2; side++)
		close_fd(&f.inner[side]);
	close_fd(&b.rear);
	again = new_socket(LAB_PROXY, v->family);
	set_option(again, SOL_SOCKET, SO_REUSEADDR, 1);
	assert_int_equal(bind(again, &own.sa, len), 0);
	if (connect(again, &rear.sa, addr_len(&rear)))
		assert_int_equal(errno, EINPROGRESS);
	WAIT_FOR(&b, option(again, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
	assert_int_equal(counter(&b, WIRE_TO_STACK_REUSED), 1);
	close(again);
	flow_close(&b, &f);
	bench_close(&b);
}

/* --- routes ---------------------------------------------------------------------------------- */

static uint32_t leaves_by(struct bench *b, const struct flow *f)
{
	return wire_direction(b->wire, (uint32_t)f->index, CLIENT)->ifindex;
}

static void a_flow_follows_its_route(void **state)
{
	uint32_t before;
	char add[128];
	struct bench b;
	struct flow f;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, AF_INET, as_usual);
	flow_open(&b, &f);
	before = leaves_by(&b, &f);
	assert_int_equal(before, if_nametoindex("backend"));
	snprintf(add, sizeof(add),
		 "ip link add second type veth peer name second netns /proc/%d/fd/%d",
		 (int)getpid(), lab.netns[LAB_BACKEND]);
	run(LAB_PROXY, add);
	run(LAB_PROXY, "ip link set second up");
	run(LAB_BACKEND, "ip link set second up");
	assert_int_equal(wire_reroute(b.wire), 0);
	run(LAB_PROXY, "ip route add 10.231.2.2/32 dev second");
	assert_int_equal(wire_reroute(b.wire), 1);
	assert_int_equal(leaves_by(&b, &f), if_nametoindex("second"));
	send_all(&b, &f, CLIENT, 100000);
	receive_all(&b, &f, BACKEND);
	run(LAB_PROXY, "ip route delete 10.231.2.2/32 dev second");
	assert_int_equal(wire_reroute(b.wire), 1);
	assert_int_equal(leaves_by(&b, &f), before);
	/* A rule for packets that have the proxy's address there. */
	run(LAB_PROXY, "ip route add 10.231.2.2/32 dev second table 7");
	run(LAB_PROXY, "ip rule add from 10.231.2.1 table 7");
	assert_int_equal(wire_reroute(b.wire), 1);
	assert_int_equal(leaves_by(&b, &f), if_nametoindex("second"));
	run(LAB_PROXY, "ip rule delete from 10.231.2.1 table 7");
	run(LAB_PROXY, "ip link delete second");
	assert_int_equal(wire_reroute(b.wire), 1);
	assert_int_equal(leaves_by(&b, &f), before);
	exchange(&b, &f, 1, 200000);
	flow_close(&b, &f);
	bench_close(&b);
}

static void set_device_mtu(enum lab_place place, const char *device, int mtu)
{
	char command[128];

	snprintf(command, sizeof(command), "ip link set %s mtu %d", device, mtu);
	run(place, command);
}

static void set_segments(unsigned int most)
{
	char command[128];

	for (int place = 0; place < N_LAB_PLACES; place++) {
		if (place == LAB_PROXY)
			continue;
		snprintf(command, sizeof(command), "ip link set proxy gso_max_segs %u", most);
		run((enum lab_place)place, command);
	}
}

/* Whether a device of the proxy's leaves it to the one that receives to compute checksums. */
static void set_checksums(const char *device, bool are_left)
{
	struct ethtool_value value = { .cmd = ETHTOOL_STXCSUM, .data = are_left };
	struct ifreq request = { .ifr_data = (char *)&value };
	int fd = new_socket(LAB_PROXY, AF_INET);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &request), 0);
	close(fd);
}

/* The proxy's own devices are the narrow place: no router says so, and the program has to. */
static void a_way_that_gets_narrow_is_told_to_the_senders(void **state)
{
	const struct variant *v = *state;
	static const struct {
		unsigned int segments; /* that are sent as one packet */
		bool checksums;
	} cases[] = { { 1, true }, { 64, true }, { 1, false }, { 64, false } };
	const int usual = 1500, narrow = 1300;
	struct bench b;
	struct flow f;

	SKIP_IF_REASON();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		set_segments(cases[i].segments);
		set_checksums("backend", cases[i].checksums);
		bench_open(&b, v->family, as_usual);
		flow_open(&b, &f);
		for (int end = 0; end < 2; end++) {
			send_all(&b, &f, end, 100000);
			receive_all(&b, &f, !end);
		}
		assert_int_equal(counter(&b, WIRE_TOO_BIG_ANSWERED), 0);
		set_device_mtu(LAB_PROXY, "client", narrow);
		set_device_mtu(LAB_CLIENT, "proxy", narrow);
		exchange(&b, &f, 1, 1000000);
		assert_true(counter(&b, WIRE_TOO_BIG_ANSWERED) > 0);
		flow_close(&b, &f);
		bench_close(&b);
		set_device_mtu(LAB_PROXY, "client", usual);
		set_device_mtu(LAB_CLIENT, "proxy", usual);
		run(LAB_BACKEND, "ip route flush cache");
		run(LAB_BACKEND, "ip -6 route flush cache");
	}
	set_checksums("backend", true);
}

static void a_route_that_gets_narrow_is_followed(void **state)
{
	const uint32_t narrow = 1300;
	struct bench b;
	struct flow f;

	(void)state;
	SKIP_IF_REASON();
	bench_open(&b, AF_INET, as_usual);
	flow_open(&b, &f);
	run(LAB_PROXY, "ip route add 10.231.2.2/32 dev backend mtu 1300");
	assert_int_equal(wire_reroute(b.wire), 1);
	assert_int_equal(wire_direction(b.wire, (uint32_t)f.index, CLIENT)->mtu, narrow);
	assert_int_equal(wire_reroute(b.wire), 0);
	send_all(&b, &f, CLIENT, 100000);
	receive_all(&b, &f, BACKEND);
	assert_true(counter(&b, WIRE_TOO_BIG_ANSWERED) > 0);
	run(LAB_PROXY, "ip route delete 10.231.2.2/32 dev backend");
	assert_int_equal(wire_reroute(b.wire), 1);
	assert_int_equal(wire_direction(b.wire, (uint32_t)f.index, CLIENT)->mtu, 0);
	run(LAB_CLIENT, "ip route flush cache");
	flow_close(&b, &f);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VARIANT(bytes_are_exact, "IPv4", .family = AF_INET, .bytes = 16 * MIB),
		VARIANT(bytes_are_exact, "IPv6", .family = AF_INET6, .bytes = 16 * MIB),
		VARIANT(bytes_are_exact, "IPv4, one of a hundred packets lost", .family = AF_INET,
			.bytes = 2 * MIB, .drop_per_million = 10000),
		VARIANT(bytes_are_exact, "IPv6, one of a hundred packets lost", .family = AF_INET6,
			.bytes = 2 * MIB, .drop_per_million = 10000),
		BOTH_FAMILIES(first_bytes_are_held),
		BOTH_FAMILIES(many_clients_that_send_at_once),
		BOTH_FAMILIES(a_refused_connect_loses_nothing),
		BOTH_FAMILIES(a_released_leg_is_the_sockets),
		cmocka_unit_test(what_nobody_listens_for_is_not_held),
		cmocka_unit_test(a_late_listener_holds_nothing),
		BOTH_FAMILIES(a_wildcard_listens_for_its_family),
		cmocka_unit_test(joined_sockets_are_silent),
		BOTH_FAMILIES(joined_sockets_are_deaf),
		cmocka_unit_test(a_refusal_leaves_all_as_it_was),
		BOTH_FAMILIES(a_busy_flow_is_promoted),
		cmocka_unit_test(a_full_table_says_so),
		BOTH_FAMILIES(a_reset_is_passed_on),
		BOTH_FAMILIES(a_killed_flow_is_reset),
		BOTH_FAMILIES(a_killed_flow_answers),
		BOTH_FAMILIES(an_ended_flow_makes_way),
		BOTH_FAMILIES(a_local_port_may_be_used_again),
		cmocka_unit_test(a_flow_follows_its_route),
		BOTH_FAMILIES(a_way_that_gets_narrow_is_told_to_the_senders),
		cmocka_unit_test(a_route_that_gets_narrow_is_followed),
	};

	open_lab();
	return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
