/* SPDX-License-Identifier: MIT */
/*
 * What outlives a daemon: joined flows, in the kernel, through pins. The daemon here is a child
 * that joins flows and is killed, or stops; the ends of its flows are this process's, which then is
 * the next daemon, or the one that clears up. Needs what test_wire.c needs.
 */
#include <dirent.h>
#include <linux/bpf.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "wire_lab.h"

#define KIB 1024u
#define MIB (1024u * 1024u)
#define FLOWS 8
#define TCX_INGRESS 46 /* BPF_TCX_INGRESS, which the headers of Debian 12 don't know */

static const struct wire_conf pinned = { .pin_folder = PIN_FOLDER };

/* --- the daemon ------------------------------------------------------------------------------ */

struct daemon {
	pid_t pid;
	int family;
	int says, hears; /* pipes: a byte each time */
};

static void say(int to)
{
	assert_int_equal(write(to, "", 1), 1);
}

static void hear(int from)
{
	char byte;

	assert_int_equal(read(from, &byte, 1), 1);
}

static void serve(void **state)
{
	const struct daemon *d = *state;
	const struct addr front = front_address(d->family);
	static struct flow flows[FLOWS];
	struct bench b = { .family = d->family, .ring_index = 1 };

	wire_start(&b, pinned);
	b.front = listen_at(LAB_PROXY, &front);
	assert_int_equal(wire_listen(b.wire, &front, true), 0);
	say(d->says);
	for (size_t i = 0; i < FLOWS; i++) {
		flow_init(&flows[i]);
		WAIT_FOR(&b, (flows[i].inner[CLIENT] = try_accept(b.front)) >= 0);
		flow_connect_rear(&b, &flows[i], REAR_PORT);
		WAIT_FOR(&b, is_connected(flows[i].inner[BACKEND]));
		flow_join(&b, &flows[i]);
	}
	say(d->says);
	hear(d->hears);
	wire_stop(&b, true);
}

/* In the child: a test group of its own, or what fails here would go on with this process's tests. */
static void run_daemon(int family, int says, int hears)
{
	struct daemon d = { .family = family, .says = says, .hears = hears };
	const struct CMUnitTest all[] = { cmocka_unit_test_prestate(serve, &d) };

	/* Its success is no test's. */
	if (!freopen("/dev/null", "w", stdout))
		_exit(EXIT_FAILURE);
	_exit(cmocka_run_group_tests_name("daemon", all, NULL, NULL));
}

/* A daemon that joins FLOWS flows, which are open when this returns. When it hears something it
 * stops, and leaves them. */
static struct daemon start_daemon(struct bench *b, struct flow flows[FLOWS])
{
	const struct addr front = front_address(b->family),
			  rear = rear_address(b->family, REAR_PORT);
	struct daemon d = { .family = b->family };
	int out[2], in[2];

	b->rear = listen_at(LAB_BACKEND, &rear);
	assert_int_equal(pipe2(out, O_CLOEXEC) | pipe2(in, O_CLOEXEC), 0);
	d.pid = lab_fork(&lab, LAB_PROXY, false);
	assert_true(d.pid >= 0);
	if (!d.pid) {
		close(out[0]);
		close(in[1]);
		run_daemon(b->family, out[1], in[0]);
	}
	close(out[1]);
	close(in[0]);
	d.says = out[0];
	d.hears = in[1];
	hear(d.says);
	for (size_t i = 0; i < FLOWS; i++) {
		flow_init(&flows[i]);
		flows[i].outer[CLIENT] = start_connect(LAB_CLIENT, &front);
		WAIT_FOR(b, (flows[i].outer[BACKEND] = try_accept(b->rear)) >= 0);
	}
	hear(d.says);
	return d;
}

static void end_daemon(struct daemon *d, bool kill_it)
{
	int status;

	if (kill_it)
		assert_int_equal(kill(d->pid, SIGKILL), 0);
	else
		say(d->hears);
	assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
	assert_int_equal(status, kill_it ? SIGKILL : 0);
	close(d->says);
	close(d->hears);
}

static void exchange_a_part(struct bench *b, struct flow flows[FLOWS])
{
	for (int turn = 0; turn < 100; turn++)
		for (size_t i = 0; i < FLOWS; i++)
			exchange_turn(b, &flows[i], SIZE_MAX);
}

static size_t total(const struct flow flows[FLOWS])
{
	size_t most = 0;

	for (size_t i = 0; i < FLOWS; i++)
		most = MAX(most, MAX(flows[i].sent[0], flows[i].sent[1]));
	return most + 256 * KIB;
}

static void close_all(struct bench *b, struct flow flows[FLOWS])
{
	for (size_t i = 0; i < FLOWS; i++)
		flow_close(b, &flows[i]);
	close_fd(&b->rear);
}

static void open_without_daemon(struct bench *b, int family)
{
	*b = (struct bench){ .family = family, .rng = SEED, .front = -1, .rear = -1 };
	b->ring_index = WIRE_RING_KEEPER;
	go_to(LAB_PROXY);
}

/* --- what is left ---------------------------------------------------------------------------- */

static uint32_t programs_at(const char *device)
{
	union bpf_attr attr = { .query = { .target_fd = if_nametoindex(device),
					   .attach_type = TCX_INGRESS } };

	/* No such hook, or nothing at it. */
	if (syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)))
		return 0;
	return attr.query.prog_cnt;
}

static size_t count_devices(void)
{
	struct if_nameindex *all = if_nameindex();
	size_t n = 0;

	while (all[n].if_index)
		n++;
	if_freenameindex(all);
	return n;
}

static void assert_nothing_is_left(struct bench *b, size_t devices_before)
{
	assert_int_equal(access(PIN_FOLDER, F_OK), -1);
	/* The kernel lets go of a link, and of a device, in its own time. */
	WAIT_FOR(b, !programs_at("client") && !programs_at("backend"));
	WAIT_FOR(b, count_devices() == devices_before);
	run(LAB_PROXY, "! tc filter show dev client ingress | grep -q .");
	run(LAB_PROXY, "! tc filter show dev backend ingress | grep -q .");
}

/* --- tests ----------------------------------------------------------------------------------- */

static void flows_outlive_a_killed_daemon(void **state)
{
	const struct variant *v = *state;
	static struct flow flows[FLOWS];
	struct daemon d;
	struct bench b;
	size_t devices;

	SKIP_IF_REASON();
	open_without_daemon(&b, v->family);
	devices = count_devices();
	d = start_daemon(&b, flows);
	exchange_a_part(&b, flows);
	end_daemon(&d, true);
	exchange_a_part(&b, flows);
	exchange(&b, flows, FLOWS, total(flows));
	assert_int_equal(wire_clear(PIN_FOLDER), FLOWS);
	assert_nothing_is_left(&b, devices);
	close_all(&b, flows);
}

struct adopted {
	struct bench *b;
	uint32_t flows[FLOWS_MAX];
	size_t n;
};

static void note_adopted(void *arg, uint32_t flow)
{
	struct adopted *a = arg;

	assert_true(a->n < FLOWS_MAX);
	assert_int_equal(wire_flow(a->b->wire, flow)->in_use, 1);
	assert_string_equal(wire_flow(a->b->wire, flow)->app, "test");
	a->flows[a->n++] = flow;
}

static bool is_adopted(const struct adopted *a, int64_t flow)
{
	for (size_t i = 0; i < a->n; i++)
		if (a->flows[i] == flow)
			return true;
	return false;
}

/* Can a connection be begun from the local port that a flow has to its backend? */
static bool port_is_free(const struct wire_flow *f)
{
	const struct wire_tuple *leg = &f->leg[BACKEND];
	const bool is_ipv4 = leg->saddr[2] == htonl(0xffff);
	struct addr own = { 0 }, peer = rear_address(is_ipv4 ? AF_INET : AF_INET6, REAR_PORT);
	int fd = new_socket(LAB_PROXY, peer.sa.sa_family), on = 1;
	bool is_free;

	own.sa.sa_family = peer.sa.sa_family;
	addr_set_port(&own, ntohs(leg->dport));
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
	is_free = !bind(fd, &own.sa, addr_len(&own)) &&
		  (!connect(fd, &peer.sa, addr_len(&peer)) || errno == EINPROGRESS);
	close(fd);
	return is_free;
}

/* None of the flows that a new daemon takes is one of those that it has found. */
static void assert_not_taken_twice(struct bench *b, const struct adopted *a)
{
	uint32_t taken[FLOWS_MAX];
	size_t n = 0;
	int64_t flow;

	while ((flow = wire_take(b->wire, clock_ns())) >= 0) {
		assert_false(is_adopted(a, flow));
		taken[n++] = (uint32_t)flow;
	}
	assert_int_equal(n, FLOWS_MAX - a->n);
	while (n)
		wire_give(b->wire, taken[--n], clock_ns());
}

/* The daemon before listened there, and its connections were held. */
static void assert_nobody_listens(struct bench *b)
{
	const struct addr front = front_address(b->family);
	struct wire_tuple leg;
	struct flow f;

	b->front = listen_at(LAB_PROXY, &front);
	flow_init(&f);
	f.outer[CLIENT] = start_connect(LAB_CLIENT, &front);
	WAIT_FOR(b, (f.inner[CLIENT] = try_accept(b->front)) >= 0);
	assert_true(wire_leg_of(f.inner[CLIENT], &leg));
	assert_false(wire_is_held(b->wire, &leg, NULL));
	flow_close(b, &f);
	close_fd(&b->front);
}

static void the_next_daemon_adopts_them(void **state)
{
	const struct variant *v = *state;
	static struct flow flows[FLOWS];
	struct adopted a = { 0 };
	struct wire_flow first;
	struct daemon d;
	struct bench b;

	SKIP_IF_REASON();
	open_without_daemon(&b, v->family);
	d = start_daemon(&b, flows);
	exchange_a_part(&b, flows);
	end_daemon(&d, true);
	exchange_a_part(&b, flows);
	/* With another idea of how many flows there should be: the table that there is stays. */
	wire_start(&b, (struct wire_conf){ .flows = 1, .pin_folder = PIN_FOLDER });
	assert_int_equal(wire_capacity(b.wire), FLOWS_MAX);
	exchange_a_part(&b, flows);
	a.b = &b;
	assert_int_equal(wire_adopt(b.wire, WIRE_RING_KEEPER, note_adopted, &a), FLOWS);
	assert_int_equal(a.n, FLOWS);
	assert_nobody_listens(&b);
	assert_not_taken_twice(&b, &a);
	for (size_t i = 0; i < FLOWS; i++)
		assert_false(port_is_free(wire_flow(b.wire, a.flows[i])));
	exchange(&b, flows, FLOWS, total(flows));
	for (size_t i = 0; i < FLOWS; i++)
		WAIT_FOR(&b, told_end(&b, a.flows[i]));
	assert_int_equal(b.n_events, 2 * FLOWS);
	first = *wire_flow(b.wire, a.flows[0]);
	for (size_t i = 0; i < FLOWS; i++) {
		wire_end(b.wire, a.flows[i], clock_ns());
		wire_give(b.wire, a.flows[i], clock_ns());
	}
	assert_true(port_is_free(&first));
	close_all(&b, flows);
	wire_stop(&b, false);
	assert_int_equal(access(PIN_FOLDER, F_OK), -1);
}

/* It stops, and leaves them; the next one does likewise, and the one after it ends them. */
static void flows_are_left_and_killed_later(void **state)
{
	const struct variant *v = *state;
	static struct flow flows[FLOWS];
	struct adopted a = { 0 };
	struct daemon d;
	struct bench b;

	SKIP_IF_REASON();
	open_without_daemon(&b, v->family);
	d = start_daemon(&b, flows);
	exchange_a_part(&b, flows);
	end_daemon(&d, false);
	exchange_a_part(&b, flows);
	wire_start(&b, pinned);
	a.b = &b;
	assert_int_equal(wire_adopt(b.wire, WIRE_RING_KEEPER, note_adopted, &a), FLOWS);
	wire_stop(&b, true);
	exchange_a_part(&b, flows);
	wire_start(&b, pinned);
	a.n = 0;
	assert_int_equal(wire_adopt(b.wire, WIRE_RING_KEEPER, note_adopted, &a), FLOWS);
	for (size_t i = 0; i < FLOWS; i++)
		wire_kill(b.wire, a.flows[i]);
	for (size_t i = 0; i < FLOWS; i++)
		for (int side = 0; side < 2; side++)
			WAIT_FOR(&b, reset_error(&flows[i], side) == ECONNRESET);
	close_all(&b, flows);
	wire_stop(&b, false);
}

static void clearing_ends_flows(void **state)
{
	static struct flow flows[FLOWS];
	struct daemon d;
	struct bench b;
	size_t devices;

	(void)state;
	SKIP_IF_REASON();
	open_without_daemon(&b, AF_INET);
	devices = count_devices();
	d = start_daemon(&b, flows);
	exchange_a_part(&b, flows);
	assert_int_equal(wire_clear(PIN_FOLDER), -EBUSY);
	end_daemon(&d, true);
	assert_int_equal(wire_clear(PIN_FOLDER), FLOWS);
	assert_nothing_is_left(&b, devices);
	/* Whoever sends hears that there is nobody any more. */
	for (size_t i = 0; i < FLOWS; i++)
		for (int side = 0; side < 2; side++)
			WAIT_FOR(&b, send(flows[i].outer[side], "", 1, MSG_NOSIGNAL) < 0 &&
					     (errno == ECONNRESET || errno == EPIPE));
	close_all(&b, flows);
	assert_int_equal(wire_clear(PIN_FOLDER), 0);
}

static bool has_filter(const char *device)
{
	char command[96];

	snprintf(command, sizeof(command), "tc filter show dev %s ingress | grep -q wire_forward",
		 device);
	return !system(command); /* NOLINT(cert-env33-c) */
}

/* Before Linux 6.6 what is attached is a filter, which no pin keeps and no unlinking removes. */
static void clearing_removes_filters(void **state)
{
	struct bench b;
	size_t devices;

	(void)state;
	SKIP_IF_REASON();
	open_without_daemon(&b, AF_INET);
	devices = count_devices();
	b.no_tcx = true;
	wire_start(&b, pinned);
	wire_stop(&b, true);
	assert_true(has_filter("client") && has_filter("backend"));
	assert_int_equal(wire_clear(PIN_FOLDER), 0);
	assert_nothing_is_left(&b, devices);
}

static void one_process_has_the_pins(void **state)
{
	struct wire *second = NULL;
	struct bench b;
	char why[256];

	(void)state;
	SKIP_IF_REASON();
	open_without_daemon(&b, AF_INET);
	wire_start(&b, pinned);
	assert_int_equal(wire_open(&(struct wire_conf){ .flows = 1, .pin_folder = PIN_FOLDER },
				   &second, why, sizeof(why)),
			 -EBUSY);
	assert_non_null(strstr(why, "another process"));
	wire_stop(&b, false);
}

static int open_pin(const char *name)
{
	char path[128];
	union bpf_attr attr = { .pathname = (uintptr_t)path };

	snprintf(path, sizeof(path), PIN_FOLDER "/%s", name);
	return (int)syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
}

static void another_version_is_refused(void **state)
{
	struct wire_conf conf = { .flows = 1, .pin_folder = PIN_FOLDER };
	struct wire_settings settings = { .version = WIRE_ABI_VERSION + 1 };
	struct wire *w = NULL;
	uint32_t key = 0;
	union bpf_attr attr = { .key = (uintptr_t)&key, .value = (uintptr_t)&settings };
	struct bench b;
	char why[256];

	(void)state;
	SKIP_IF_REASON();
	open_without_daemon(&b, AF_INET);
	wire_start(&b, pinned);
	wire_stop(&b, true);
	attr.map_fd = (uint32_t)open_pin("wire_settings");
	assert_int_equal(syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)), 0);
	close((int)attr.map_fd);
	assert_int_equal(wire_open(&conf, &w, why, sizeof(why)), -EPROTO);
	assert_non_null(strstr(why, "shunt wire clear"));
	/* It may be another shunt's: all of it is still there. */
	assert_int_equal(access(PIN_FOLDER "/wire_flows", F_OK), 0);
	assert_int_equal(wire_clear(PIN_FOLDER), 0);
	assert_int_equal(wire_open(&conf, &w, why, sizeof(why)), 0);
	wire_close(w, false);
}

/* A daemon that was killed between two steps of making its pins. */
static void half_of_the_pins_are_in_nobodys_way(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	open_without_daemon(&b, AF_INET);
	wire_start(&b, pinned);
	wire_stop(&b, true);
	assert_int_equal(unlink(PIN_FOLDER "/wire_flows"), 0);
	wire_start(&b, (struct wire_conf){ .flows = 5, .pin_folder = PIN_FOLDER });
	assert_int_equal(wire_capacity(b.wire), 5);
	wire_stop(&b, false);
	assert_int_equal(access(PIN_FOLDER, F_OK), -1);
}

/* A daemon that was killed between two steps of a join, or of giving a flow. */
static void half_a_flow_is_cleaned_up(void **state)
{
	struct adopted a = { 0 };
	uint32_t generation;
	struct bench b;
	int64_t flow;

	(void)state;
	SKIP_IF_REASON();
	open_without_daemon(&b, AF_INET);
	wire_start(&b, (struct wire_conf){ .flows = 1, .pin_folder = PIN_FOLDER });
	flow = wire_take(b.wire, clock_ns());
	assert_int_equal(flow, 0);
	wire_flow(b.wire, 0)->in_use = 1;
	generation = wire_flow(b.wire, 0)->generation;
	wire_stop(&b, true);
	wire_start(&b, pinned);
	a.b = &b;
	assert_int_equal(wire_adopt(b.wire, WIRE_RING_KEEPER, note_adopted, &a), 0);
	assert_int_equal(wire_take(b.wire, clock_ns()), 0);
	assert_int_not_equal(wire_flow(b.wire, 0)->generation, generation);
	wire_stop(&b, false);
}

static void without_a_bpffs_it_goes_without_pins(void **state)
{
	struct bench b;

	(void)state;
	SKIP_IF_REASON();
	open_without_daemon(&b, AF_INET);
	log_configure(&(struct log_conf){ .level = LOG_LEVEL_ERROR });
	wire_start(&b, (struct wire_conf){ .flows = 1, .pin_folder = "/proc/shunt/wire" });
	log_configure(&(struct log_conf){ .level = LOG_LEVEL_WARNING });
	assert_null(wire_pin_folder(b.wire));
	wire_stop(&b, true);
	WAIT_FOR(&b, !programs_at("client") && !programs_at("backend"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_FAMILIES(flows_outlive_a_killed_daemon),
		BOTH_FAMILIES(the_next_daemon_adopts_them),
		BOTH_FAMILIES(flows_are_left_and_killed_later),
		cmocka_unit_test(clearing_ends_flows),
		cmocka_unit_test(clearing_removes_filters),
		cmocka_unit_test(one_process_has_the_pins),
		cmocka_unit_test(another_version_is_refused),
		cmocka_unit_test(half_of_the_pins_are_in_nobodys_way),
		cmocka_unit_test(half_a_flow_is_cleaned_up),
		cmocka_unit_test(without_a_bpffs_it_goes_without_pins),
	};

	open_lab();
	return cmocka_run_group_tests_name("wire restart", tests, NULL, NULL);
}
