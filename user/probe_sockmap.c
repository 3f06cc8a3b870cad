/* SPDX-License-Identifier: MIT */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine_sockmap.h"
#include "probe_check.h"
#include "probe_cost.h"
#include "trial.h"

#define TRIAL_BYTES (128u << 10)
#define TINY_SNDBUF_BYTES 2048
/* A sender that could not send for so many turns, of a millisecond each, has been stopped. */
#define STOPPED_TURNS 20
/* What a stopped reader can leave in TCP's buffers of both connections, and then some. */
#define STOPPED_MAX_BYTES (64u << 20)

#define OFF "the engine sockmap is not used"

struct sockmap_probe {
	struct trial trial;
	struct sockmap *map;
	uint64_t deadline_ns;
	size_t sent[2], received[2];
	struct probe_result *result; /* of the check that runs */
};

static struct sockmap_probe *begin_check(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = trial;

	p->result = r;
	return p;
}

static void end_check(void *trial)
{
	struct sockmap_probe *p = trial;

	if (p->trial.loop.epoll_fd >= 0)
		trial_close(&p->trial);
	p->trial = (struct trial){ .loop.epoll_fd = -1 };
}

/* --- both ends of a trial ------------------------------------------------------------------- */

static int begin(struct sockmap_probe *p, int sndbuf)
{
	struct trial_conf conf = {
		.engine = &engine_sockmap,
		.sockmap = p->map,
		.sndbuf = sndbuf,
		.max_buffers = 2,
	};
	int rc = trial_open(&p->trial, &conf);

	memset(p->sent, 0, sizeof(p->sent));
	memset(p->received, 0, sizeof(p->received));
	return rc ? probe_found(p->result, rc, "no loopback connections could be made: %s",
				strerror(-rc))
		  : 0;
}

static int turn(struct sockmap_probe *p, int wait_ms)
{
	int rc = trial_turn(&p->trial, wait_ms);

	if (rc)
		return probe_found(p->result, rc, "the relay failed: %s", strerror(-rc));
	if (p->trial.loop.now_ns > p->deadline_ns)
		return probe_found(p->result, -ETIMEDOUT, "nothing moved any more");
	return 0;
}

static size_t send_some(struct sockmap_probe *p, int i, size_t len)
{
	return probe_send(p->trial.outer[i], i, &p->sent[i], len);
}

static int receive_some(struct sockmap_probe *p, int i, size_t len, bool *end)
{
	return probe_receive(p->result, p->trial.outer[i], !i, &p->received[i], len, end);
}

static int wait_for_kernel(struct sockmap_probe *p)
{
	int rc = 0;

	for (int i = 0; !rc && i < 2;) {
		const struct shunt_direction *d = relay_sockmap_direction(&p->trial.relay, i);

		if (d && d->resume_at != SHUNT_RESUME_NEVER && d->resume_at == d->passed)
			i++;
		else
			rc = turn(p, 1);
	}
	return rc;
}

/* Until there is something to relay or to receive, or a moment has passed. */
static void wait_for_bytes(const struct sockmap_probe *p, int receiver)
{
	struct pollfd fds[] = {
		{ .fd = p->trial.loop.epoll_fd, .events = POLLIN },
		{ .fd = p->trial.outer[receiver], .events = POLLIN },
	};

	poll(fds, ARRAY_SIZE(fds), 1);
}

/* Sends till `total`, and lets a reader that takes little at a time have it. */
static int relay_bytes(struct sockmap_probe *p, int from, size_t total, size_t read_size)
{
	bool end = false;
	int rc = 0;

	while (!rc && p->received[!from] < total && !end) {
		if (p->sent[from] < total)
			send_some(p, from, total - p->sent[from]);
		else
			wait_for_bytes(p, !from);
		rc = turn(p, 0);
		if (!rc)
			rc = receive_some(p, !from, read_size, &end);
	}
	return rc || !end ? rc : probe_found(p->result, -EIO, "the end came before the last byte");
}

static int expect_end(struct sockmap_probe *p, int i)
{
	bool end = false;
	int rc = 0;

	while (!rc && !end) {
		rc = turn(p, 1);
		if (!rc)
			rc = receive_some(p, i, PROBE_CHUNK_BYTES, &end);
	}
	return rc;
}

/* --- checks ---------------------------------------------------------------------------------- */

static int check_kernel(void *trial, struct probe_result *r)
{
	char signature[128] = "";
	struct utsname u;
	const char *why;
	FILE *f = fopen("/proc/version_signature", "re");

	(void)trial;
	if (f && !fgets(signature, sizeof(signature), f))
		signature[0] = '\0';
	if (f)
		fclose(f);
	if (uname(&u))
		return probe_found(r, -errno, "uname: %s", strerror(errno));
	why = probe_known_bad(u.release, u.version, signature);
	if (why)
		return probe_found(r, -EOPNOTSUPP, "Linux %s: %s", u.release, why);
	return probe_found(r, 0, "Linux %s is not among them", u.release);
}

static int check_load(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = begin_check(trial, r);
	struct sockmap_conf conf = {
		.workers = 1,
		.flows_per_worker = 64,
		.backlog_cap_bytes = SOCKMAP_BACKLOG_CAP_DEFAULT_BYTES,
	};
	int rc = sockmap_open(&conf, &p->map, r->outcome, sizeof(r->outcome));

	return rc ? rc : probe_found(r, 0, "loaded and attached");
}

static int check_exact_in_kernel(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = begin_check(trial, r);
	int rc = begin(p, 0);

	if (!rc)
		rc = wait_for_kernel(p);
	for (int from = 0; !rc && from < 2; from++)
		rc = relay_bytes(p, from, TRIAL_BYTES, 10000);
	for (int from = 0; !rc && from < 2; from++)
		if (!relay_sockmap_direction(&p->trial.relay, from)->redirected)
			rc = probe_found(r, -EIO, "the kernel did not redirect anything");
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static int check_exact_tiny_buffer(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = begin_check(trial, r);
	int rc = begin(p, TINY_SNDBUF_BYTES);

	for (int from = 0; !rc && from < 2; from++)
		rc = relay_bytes(p, from, TRIAL_BYTES, 3000);
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static int check_queued(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = begin_check(trial, r);
	int rc = begin(p, 0);

	if (rc)
		return rc;
	send_some(p, CLIENT, 5000);
	rc = relay_join(&p->trial.relay, &engine_sockmap, ENGINE_FORCED);
	if (rc)
		return probe_found(r, rc, "the sockets were not taken: %s", strerror(-rc));
	rc = relay_bytes(p, CLIENT, 5000, PROBE_CHUNK_BYTES);
	return rc ? rc : probe_found(r, 0, "it arrived");
}

static int check_half_close(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = begin_check(trial, r);

	for (int first = 0; first < 2; first++) {
		int rc = begin(p, 0);

		if (!rc)
			rc = wait_for_kernel(p);
		if (!rc && shutdown(p->trial.outer[first], SHUT_WR))
			rc = probe_found(r, -errno, "shutdown: %s", strerror(errno));
		if (!rc)
			rc = expect_end(p, !first);
		if (!rc)
			rc = relay_bytes(p, !first, TRIAL_BYTES, PROBE_CHUNK_BYTES);
		if (!rc && shutdown(p->trial.outer[!first], SHUT_WR))
			rc = probe_found(r, -errno, "shutdown: %s", strerror(errno));
		if (!rc)
			rc = expect_end(p, first);
		if (rc)
			return rc;
		if (!first)
			trial_close(&p->trial);
	}
	return probe_found(r, 0, "each end came alone, and what followed the other way arrived");
}

static int check_bounded(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = begin_check(trial, r);
	int rc = begin(p, 0);
	uint32_t backlog;

	if (!rc)
		rc = wait_for_kernel(p);
	for (int stopped = 0; !rc && stopped < STOPPED_TURNS; stopped++) {
		while (send_some(p, CLIENT, PROBE_CHUNK_BYTES) &&
		       p->sent[CLIENT] < STOPPED_MAX_BYTES)
			stopped = 0;
		if (p->sent[CLIENT] >= STOPPED_MAX_BYTES)
			rc = probe_found(r, -ENOBUFS,
					 "a sender was not stopped: %zu bytes and more",
					 p->sent[CLIENT]);
		else
			rc = turn(p, 1);
	}
	if (rc)
		return rc;
	backlog = relay_sockmap_direction(&p->trial.relay, CLIENT)->backlog_max;
	if (backlog > SOCKMAP_BACKLOG_CAP_DEFAULT_BYTES)
		return probe_found(r, -ENOBUFS, "the backlog rose to %u bytes", backlog);
	return probe_found(r, 0, "the sender stopped after %zu bytes; the highest backlog was %u",
			   p->sent[CLIENT], backlog);
}

static int check_reset(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = begin_check(trial, r);
	struct linger at_once = { 1, 0 };
	int rc = begin(p, 0), failure = 0;

	if (!rc)
		rc = wait_for_kernel(p);
	if (rc)
		return rc;
	if (setsockopt(p->trial.outer[BACKEND], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)))
		return probe_found(r, -errno, "SO_LINGER: %s", strerror(errno));
	close(p->trial.outer[BACKEND]);
	p->trial.outer[BACKEND] = -1;
	for (int k = 0; k < STOPPED_TURNS && !failure; k++)
		failure = trial_turn(&p->trial, 1);
	if (failure != -ECONNRESET || p->trial.relay.failed_side != BACKEND)
		return probe_found(r, -EIO, "it was not seen as one");
	return probe_found(r, 0, "seen as a reset by the backend");
}

static const struct probe_check checks[] = {
	{ "sockmap_kernel", "is this kernel among those known to be wrong?", "it is tried",
	  check_kernel },
	{ "sockmap_load", "load the verdict program and attach it to a map of sockets",
	  "what it does is tried", check_load },
	{ "sockmap_exact", "bytes both ways through the kernel",
	  "what the kernel relays arrives as it was", check_exact_in_kernel },
	{ "sockmap_exact_when_full", "bytes both ways, a tiny send buffer, a slow reader",
	  "the way over userspace and back keeps the order", check_exact_tiny_buffer },
	{ "sockmap_queued_data", "bytes that are queued before the sockets are joined",
	  "a flow may be joined at any time", check_queued },
	{ "sockmap_half_close", "a FIN without bytes from each side, then bytes the other way",
	  "half-closed connections work", check_half_close },
	{ "sockmap_bounded", "a reader that has stopped, and a sender that has not",
	  "a slow reader costs a bounded amount of memory", check_bounded },
	{ "sockmap_reset", "a RST", "resets are passed on", check_reset },
};

/* --- all --------------------------------------------------------------------------------------- */

static void describe(struct probe_result *r, const struct probe_cost *cost)
{
	int n = snprintf(r->outcome, sizeof(r->outcome), "one alone: copy %.1f us, sockmap %.1f us",
			 (double)cost->alone.copy_ns / 1e3, (double)cost->alone.sockmap_ns / 1e3);

	if (cost->crowd.copy_ns)
		snprintf(r->outcome + n, sizeof(r->outcome) - (size_t)n,
			 "; %d at once: copy %.1f us, sockmap %.1f us", PROBE_COST_CROWD,
			 (double)cost->crowd.copy_ns / 1e3, (double)cost->crowd.sockmap_ns / 1e3);
}

/* Not a condition: what is slower, or can't be measured, may still be forced. */
static void weigh(struct probe_report *report, struct sockmap *map)
{
	struct probe_result *r = probe_add(report, "sockmap_pays",
					   "64-byte round trips, through copy and through sockmap",
					   OFF);
	struct probe_cost cost;
	int rc;

	if (!map)
		return;
	rc = probe_cost_measure(map, &cost);
	report->sockmap_pays = !rc && cost.pays;
	r->status = rc ? PROBE_FAILS : PROBE_WORKS;
	r->follows = report->sockmap_pays
			     ? "auto hands long-lived flows of small messages over"
			     : "only an \"Engine\": \"sockmap\" uses it, auto does not";
	if (rc)
		snprintf(r->outcome, sizeof(r->outcome), "%s", strerror(-rc));
	else
		describe(r, &cost);
}

int probe_sockmap(struct probe_report *report, char *why, size_t size)
{
	const struct probe_suite suite = { checks, ARRAY_SIZE(checks), OFF, end_check };
	struct sockmap_probe p = {
		.trial.loop.epoll_fd = -1,
		.deadline_ns = clock_ns() + PROBE_MAX_MS * NSEC_PER_MSEC,
	};
	int rc = probe_run(report, &suite, &p, why, size);

	weigh(report, rc ? NULL : p.map);
	sockmap_close(p.map);
	return rc;
}
