/* SPDX-License-Identifier: MIT */
/*
 * The wire's probe. It runs on a thread that is made for it and ends with it, for the thread moves
 * into a network namespace of its own: so nobody else's network changes, and whatever fails, no way
 * back is needed.
 */
#include <net/if.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "probe_flow.h"
#include "wire_devices.h"

#define OFF "the engine wire is not used"
#define FLOWS 64
#define TRIAL_BYTES (256u << 10)

/* The check under loss goes on until so many packets have been lost, but not for more bytes. */
#define LOST_PER_MILLION 10000
#define LOST_MIN 25
#define BULK_STEP_BYTES (256u << 10)
#define BULK_MAX_BYTES (16u << 20)
#define BULK_CHUNK_BYTES 3000

/* What a connection has, unless the host has switched it off. */
static const struct {
	const char *name, *path;
	uint8_t bit; /* of tcpi_options */
} options[] = {
	{ "timestamps", "/proc/sys/net/ipv4/tcp_timestamps", TCPI_OPT_TIMESTAMPS },
	{ "SACK", "/proc/sys/net/ipv4/tcp_sack", TCPI_OPT_SACK },
};

struct wire_probe {
	struct probe_net net;
	struct wire *wire;
	struct wire_devices *devices;
	struct probe_flow flow;
	bool host_has[ARRAY_SIZE(options)];
};

static struct wire_probe *begin_check(void *trial, struct probe_result *r)
{
	struct wire_probe *p = trial;

	p->flow.result = r;
	return p;
}

static void end_check(void *trial)
{
	struct wire_probe *p = trial;

	probe_flow_close(&p->flow);
}

/* --- checks ---------------------------------------------------------------------------------- */

static int check_net(void *trial, struct probe_result *r)
{
	struct wire_probe *p = begin_check(trial, r);
	int rc = probe_net_open(&p->net, r->outcome, sizeof(r->outcome));

	return rc ? rc : probe_found(r, 0, "%s", p->net.has_ipv6 ? "IPv4 and IPv6" : "IPv4 only");
}

static int attach(struct wire_probe *p, struct probe_result *r)
{
	char client[] = PROBE_DEVICE_CLIENT, backend[] = PROBE_DEVICE_BACKEND;
	char *names[] = { client, backend };
	const struct wire_devices_conf conf = {
		.program_fd = wire_program_fd(p->wire),
		.names = names,
		.n_names = ARRAY_SIZE(names),
		.always = park_ifindex(wire_park(p->wire)),
		.is_trial = true,
	};
	int rc = wire_devices_open(&conf, &p->devices, r->outcome, sizeof(r->outcome));

	if (rc)
		return rc;
	wire_devices_update(p->devices);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!wire_devices_has(p->devices, if_nametoindex(names[i])))
			return probe_found(r, -EOPNOTSUPP, "a device can't have the TC program");
	return 0;
}

static int check_load(void *trial, struct probe_result *r)
{
	struct wire_probe *p = begin_check(trial, r);
	const struct wire_conf conf = { .flows = FLOWS };
	int rc = wire_open(&conf, &p->wire, r->outcome, sizeof(r->outcome));

	if (!rc)
		rc = attach(p, r);
	if (rc)
		return rc;
	p->flow.wire = p->wire;
	rc = probe_flow_init(&p->flow);
	return rc ? probe_found(r, rc, "no ring for what it tells: %s", strerror(-rc))
		  : probe_found(r, 0, "loaded and attached");
}

/* What the kernel's defaults made of the connections, and what this host has switched off. */
static void name_options(const struct wire_probe *p, char *buf, size_t size)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	size_t n = 0;

	if (getsockopt(p->flow.outer[CLIENT].fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(options) && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, ", with%s %s",
				      info.tcpi_options & options[i].bit ? "" : "out",
				      options[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(options) && n < size; i++)
		if (!p->host_has[i])
			n += (size_t)snprintf(buf + n, size - n, "; this host has %s off",
					      options[i].name);
}

static int exchange(struct probe_flow *f, int family)
{
	int rc = probe_flow_open(f, family);

	for (int from = 0; !rc && from < 2; from++)
		rc = probe_flow_relay(f, from, TRIAL_BYTES, PROBE_CHUNK_BYTES);
	if (!rc)
		rc = probe_flow_expect_silence(f);
	if (rc)
		return rc;
	relay_refresh(&f->relay);
	for (int from = 0; from < 2; from++)
		if (f->relay.dir[from].bytes != TRIAL_BYTES)
			return probe_found(f->result, -EIO, "%llu bytes were counted instead of %u",
					   (unsigned long long)f->relay.dir[from].bytes,
					   TRIAL_BYTES);
	return 0;
}

static int check_exact(struct wire_probe *p, int family)
{
	int rc = exchange(&p->flow, family);
	char text[128] = "";

	if (rc)
		return rc;
	name_options(p, text, sizeof(text));
	return probe_found(p->flow.result, 0, "%u bytes each way, all right%s", TRIAL_BYTES, text);
}

static int check_ipv4(void *trial, struct probe_result *r)
{
	return check_exact(begin_check(trial, r), AF_INET);
}

static int check_ipv6(void *trial, struct probe_result *r)
{
	struct wire_probe *p = begin_check(trial, r);

	return p->net.has_ipv6 ? check_exact(p, AF_INET6)
			       : probe_found(r, PROBE_NEEDLESS, "this host has no IPv6");
}

/* Once from either side, over each family that there is. */
static int try_each_way(struct wire_probe *p,
			int (*try)(struct probe_flow *f, int family, int from))
{
	int n = p->net.has_ipv6 ? 4 : 2, rc = 0;

	for (int i = 0; !rc && i < n; i++) {
		probe_flow_close(&p->flow);
		rc = try(&p->flow, i < 2 ? AF_INET : AF_INET6, i % 2);
	}
	return rc;
}

static int try_half_close(struct probe_flow *f, int family, int first)
{
	int rc = probe_flow_open(f, family);

	if (!rc)
		rc = probe_flow_end(f, first);
	if (!rc)
		rc = probe_flow_relay(f, !first, TRIAL_BYTES, PROBE_CHUNK_BYTES);
	if (!rc)
		rc = probe_flow_end(f, !first);
	return rc ? rc : probe_flow_expect_done(f);
}

static int check_half_close(void *trial, struct probe_result *r)
{
	int rc = try_each_way(begin_check(trial, r), try_half_close);

	return rc ? rc
		  : probe_found(r, 0,
				"each end came alone, what followed the other way arrived, "
				"and the engine was told");
}

static int try_reset(struct probe_flow *f, int family, int from)
{
	int rc = probe_flow_open(f, family);

	for (int i = 0; !rc && i < 2; i++)
		rc = probe_flow_relay(f, i, PROBE_FLOW_AT_ONCE_BYTES, PROBE_CHUNK_BYTES);
	return rc ? rc : probe_flow_reset(f, from);
}

static int check_reset(void *trial, struct probe_result *r)
{
	int rc = try_each_way(begin_check(trial, r), try_reset);

	return rc ? rc : probe_found(r, 0, "it arrived as a RST, and the engine was told");
}

static uint64_t lost(const struct wire_probe *p)
{
	uint64_t counters[N_WIRE_COUNTERS];

	return wire_counters(p->wire, counters) ? 0 : counters[WIRE_DROPPED_FOR_TEST];
}

static int check_loss(void *trial, struct probe_result *r)
{
	struct wire_probe *p = begin_check(trial, r);
	size_t total = 0;
	int rc = probe_flow_open(&p->flow, AF_INET);

	wire_lose(p->wire, LOST_PER_MILLION);
	while (!rc && lost(p) < LOST_MIN && total < BULK_MAX_BYTES) {
		total += BULK_STEP_BYTES;
		for (int from = 0; !rc && from < 2; from++)
			rc = probe_flow_relay(&p->flow, from, total, BULK_CHUNK_BYTES);
	}
	for (int from = 0; !rc && from < 2; from++)
		rc = probe_flow_end(&p->flow, from);
	if (!rc)
		rc = probe_flow_expect_done(&p->flow);
	wire_lose(p->wire, 0);
	if (!rc && lost(p) < LOST_MIN)
		rc = probe_found(r, -EIO, "hardly a packet was lost, where 1 %% should have been");
	return rc ? rc
		  : probe_found(r, 0, "%zu bytes each way, all right; %llu packets were lost",
				total, (unsigned long long)lost(p));
}

/* The last one: from then on what the proxy closes is left behind. */
static int check_outlives(void *trial, struct probe_result *r)
{
	struct wire_probe *p = begin_check(trial, r);
	int rc = probe_flow_open(&p->flow, AF_INET);

	for (int from = 0; !rc && from < 2; from++)
		rc = probe_flow_relay(&p->flow, from, PROBE_FLOW_AT_ONCE_BYTES, PROBE_CHUNK_BYTES);
	if (rc)
		return rc;
	wire_share_leave_behind(&p->flow.pools);
	probe_flow_leave(&p->flow);
	for (int from = 0; !rc && from < 2; from++)
		rc = probe_flow_relay(&p->flow, from, TRIAL_BYTES, PROBE_CHUNK_BYTES);
	for (int from = 0; !rc && from < 2; from++)
		rc = probe_flow_end(&p->flow, from);
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static const struct probe_check checks[] = {
	{ "wire_net", "network namespaces for client, proxy and backend, joined by veth devices",
	  "the wire is tried there", check_net },
	{ "wire_load", "load the TC program and attach it to the proxy's devices",
	  "what it does is tried", check_load },
	{ "wire_exact", "both ends send at once, then bytes both ways",
	  "connections are joined before their first byte", check_ipv4 },
	{ "wire_exact_ipv6", "the same over IPv6", "connections over IPv6 are, too", check_ipv6 },
	{ "wire_half_close", "each side ends first, then bytes the other way",
	  "half-closed connections work", check_half_close },
	{ "wire_reset", "a RST from each side", "resets are passed on", check_reset },
	{ "wire_loss", "bulk, while the program itself loses 1 % of the packets",
	  "the ends repair what the network loses", check_loss },
	{ "wire_outlives", "bytes both ways after the proxy has closed its sockets",
	  "connections can outlive the daemon", check_outlives },
};

/* --- all --------------------------------------------------------------------------------------- */

/* In a new namespace they are as the kernel's defaults have them. */
static void read_host_options(struct wire_probe *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		FILE *f = fopen(options[i].path, "re");

		p->host_has[i] = !f || fgetc(f) != '0';
		if (f)
			fclose(f);
	}
}

struct task {
	struct probe_report *report;
	char *why;
	size_t size;
	int rc;
};

static void *run_task(void *arg)
{
	const struct probe_suite suite = { checks, ARRAY_SIZE(checks), OFF, end_check, false };
	struct task *task = arg;
	struct wire_probe p = {
		.net.netns = { -1, -1, -1 },
		.flow = { .net = &p.net,
			  .loop.epoll_fd = -1,
			  .outer = { { .fd = -1 }, { .fd = -1 } } },
	};

	read_host_options(&p);
	task->rc = probe_run(task->report, &suite, &p, task->why, task->size);
	probe_flow_fini(&p.flow);
	wire_devices_close(p.devices, false);
	wire_close(p.wire, false);
	probe_net_close(&p.net);
	return NULL;
}

int probe_wire(struct probe_report *report, char *why, size_t size)
{
	struct task task = { .report = report, .why = why, .size = size };
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, run_task, &task);

	if (rc) {
		struct probe_result *r = probe_add(report, "wire", engine_wire.summary, OFF);

		r->status = PROBE_FAILS;
		probe_found(r, 0, "no thread to try it in: %s", strerror(rc));
		snprintf(why, size, "%s", r->outcome);
		return -rc;
	}
	pthread_join(thread, NULL);
	return task.rc;
}
