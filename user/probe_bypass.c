/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_bypass.h"
#include "probe_check.h"
#include "trial.h"

#define TRIAL_BYTES (256u << 10)
#define UNREAD_CAP_BYTES (64u << 10)
#define SLOW_READ_BYTES 3000
/* More than one send(2) of a chunk is ever over the cap. */
#define UNREAD_MAX_BYTES (UNREAD_CAP_BYTES + PROBE_CHUNK_BYTES)
#define SMALL_BYTES 5000
/* A sender that could not send for so many turns, of a millisecond each, has been stopped. */
#define STOPPED_TURNS 20
/* What a stopped reader can leave in TCP's buffers of both connections, and then some. */
#define STOPPED_MAX_BYTES (64u << 20)
#define PATIENCE_TURNS 200

#define OFF "no app's \"LocalBypass\" has an effect"

struct bypass_probe {
	struct trial trial;
	struct bypass *bypass;
	const char *cgroup;
	uint64_t deadline_ns;
	size_t sent[2], received[2];
	struct probe_result *result; /* of the check that runs */
};

static struct bypass_probe *begin_check(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = trial;

	p->result = r;
	return p;
}

static void end_check(void *trial)
{
	struct bypass_probe *p = trial;

	if (p->trial.loop.epoll_fd >= 0)
		trial_close(&p->trial);
	p->trial = (struct trial){ .loop.epoll_fd = -1 };
}

/* --- both ends of a trial ------------------------------------------------------------------- */

static int begin(struct bypass_probe *p)
{
	struct trial_conf conf = {
		.engine = &engine_copy,
		.bypass = p->bypass,
		.max_buffers = 2,
	};
	int rc = trial_open(&p->trial, &conf);

	memset(p->sent, 0, sizeof(p->sent));
	memset(p->received, 0, sizeof(p->received));
	if (rc)
		return probe_found(p->result, rc, "no loopback connections could be made: %s",
				   strerror(-rc));
	if (!relay_bypass_direction(&p->trial.relay, CLIENT))
		return probe_found(p->result, -ENOENT,
				   "this process's own connections were not seen: is it in the "
				   "cgroup?");
	return 0;
}

static int turn(struct bypass_probe *p, int wait_ms)
{
	int rc = trial_turn(&p->trial, wait_ms);

	if (rc)
		return probe_found(p->result, rc, "the relay failed: %s", strerror(-rc));
	if (p->trial.loop.now_ns > p->deadline_ns)
		return probe_found(p->result, -ETIMEDOUT, "nothing moved any more");
	return 0;
}

static size_t send_some(struct bypass_probe *p, int i, size_t len)
{
	return probe_send(p->trial.outer[i], i, &p->sent[i], len);
}

static int receive_some(struct bypass_probe *p, int i, size_t len, bool *end)
{
	return probe_receive(p->result, p->trial.outer[i], !i, &p->received[i], len, end);
}

/* Sends till `total`, and lets a reader that takes little at a time have it. */
static int relay_bytes(struct bypass_probe *p, int from, size_t total, size_t read_size)
{
	bool end = false;
	int rc = 0;

	while (!rc && p->received[!from] < total && !end) {
		if (p->sent[from] < total)
			send_some(p, from, total - p->sent[from]);
		rc = turn(p, 0);
		if (!rc)
			rc = receive_some(p, !from, read_size, &end);
	}
	return rc || !end ? rc : probe_found(p->result, -EIO, "the end came before the last byte");
}

static int expect_end(struct bypass_probe *p, int i)
{
	bool end = false;
	int rc = 0;

	while (!rc && !end) {
		rc = turn(p, 1);
		if (!rc)
			rc = receive_some(p, i, PROBE_CHUNK_BYTES, &end);
	}
	if (!rc && p->received[i] != p->sent[!i])
		rc = probe_found(p->result, -EIO, "the end came before the last byte");
	return rc;
}

/* --- checks ---------------------------------------------------------------------------------- */

static int check_load(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = begin_check(trial, r);
	struct bypass_conf conf = {
		.workers = 1,
		.flows_per_worker = 64,
		.unread_cap_bytes = UNREAD_CAP_BYTES,
		.cgroup = p->cgroup,
	};
	int rc = bypass_open(&conf, &p->bypass, r->outcome, sizeof(r->outcome));

	return rc ? rc : probe_found(r, 0, "loaded and attached");
}

static int check_around(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = begin_check(trial, r);
	int rc = begin(p);

	for (int from = 0; !rc && from < 2; from++) {
		rc = relay_bytes(p, from, SMALL_BYTES, PROBE_CHUNK_BYTES);
		if (!rc && relay_bypass_direction(&p->trial.relay, from)->bytes != SMALL_BYTES)
			rc = probe_found(r, -EIO, "they took the proxy's way");
	}
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", SMALL_BYTES);
}

static int check_exact(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = begin_check(trial, r);
	int rc = begin(p);

	for (int from = 0; !rc && from < 2; from++)
		rc = relay_bytes(p, from, TRIAL_BYTES, SLOW_READ_BYTES);
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static int check_bounded(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = begin_check(trial, r);
	int rc = begin(p);
	uint64_t unread;

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
	unread = relay_bypass_direction(&p->trial.relay, CLIENT)->bytes;
	if (unread > UNREAD_MAX_BYTES)
		return probe_found(r, -ENOBUFS, "%llu bytes went to it",
				   (unsigned long long)unread);
	return probe_found(r, 0, "the sender stopped after %zu bytes; %llu of them went around",
			   p->sent[CLIENT], (unsigned long long)unread);
}

static int check_half_close(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = begin_check(trial, r);

	for (int first = 0; first < 2; first++) {
		int rc = begin(p);

		if (rc)
			return rc;
		send_some(p, first, SMALL_BYTES);
		if (shutdown(p->trial.outer[first], SHUT_WR))
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
	return probe_found(r, 0, "each end came after the last byte, and the other way went on");
}

/* A socket that is closed while it has unread bytes, and one that is reset: both are resets. */
static int check_reset(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = begin_check(trial, r);
	struct linger at_once = { 1, 0 };

	for (int unread = 0; unread < 2; unread++) {
		int rc = begin(p), failure = 0;

		if (rc)
			return rc;
		if (unread)
			send_some(p, CLIENT, SMALL_BYTES);
		else if (setsockopt(p->trial.outer[BACKEND], SOL_SOCKET, SO_LINGER, &at_once,
				    sizeof(at_once)))
			return probe_found(r, -errno, "SO_LINGER: %s", strerror(errno));
		close(p->trial.outer[BACKEND]);
		p->trial.outer[BACKEND] = -1;
		for (int k = 0; k < PATIENCE_TURNS && !failure; k++)
			failure = trial_turn(&p->trial, 1);
		if (failure != -ECONNRESET || p->trial.relay.failed_side != BACKEND)
			return probe_found(r, -EIO, "%s was not seen as one",
					   unread ? "closing with unread bytes" : "it");
		if (!unread)
			trial_close(&p->trial);
	}
	return probe_found(r, 0, "seen as resets by the backend");
}

static const struct probe_check checks[] = {
	{ "bypass_load", "load the programs, and watch the connections of a cgroup",
	  "what they do is tried", check_load },
	{ "bypass_around", "bytes both ways between two sockets of this host",
	  "local peers are joined from their first bytes on", check_around },
	{ "bypass_exact", "more bytes than the bound, and a slow reader",
	  "the way through the proxy and back keeps the order", check_exact },
	{ "bypass_bounded", "a reader that has stopped, and a sender that has not",
	  "a slow reader costs a bounded amount of memory", check_bounded },
	{ "bypass_half_close", "bytes and a FIN from each side, then bytes the other way",
	  "half-closed connections work", check_half_close },
	{ "bypass_reset", "a RST, and a socket that is closed with unread bytes",
	  "resets are passed on", check_reset },
};

int probe_bypass(const char *cgroup, struct probe_report *report, char *why, size_t size)
{
	const struct probe_suite suite = { checks, ARRAY_SIZE(checks), OFF, end_check };
	struct bypass_probe p = {
		.trial.loop.epoll_fd = -1,
		.cgroup = cgroup,
		.deadline_ns = clock_ns() + PROBE_MAX_MS * NSEC_PER_MSEC,
	};
	int rc = probe_run(report, &suite, &p, why, size);

	bypass_close(p.bypass);
	return rc;
}
