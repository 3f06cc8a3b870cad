/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/socket.h>

#include "engine_bypass.h"
#include "probe_ends.h"

#define TRIAL_BYTES (256u << 10)
#define UNREAD_CAP_BYTES (64u << 10)
#define SLOW_READ_BYTES 3000
/* More than one send(2) of a chunk is ever over the cap. */
#define UNREAD_MAX_BYTES (UNREAD_CAP_BYTES + PROBE_CHUNK_BYTES)
#define SMALL_BYTES 5000
/* Of a millisecond each, until a RST has been seen. */
#define RESET_TURNS 200

#define OFF "no app's \"LocalBypass\" has an effect"

struct bypass_probe {
	struct probe_ends ends;
	struct bypass *bypass;
	const char *cgroup;
};

static void end_check(void *trial)
{
	probe_ends_close(&((struct bypass_probe *)trial)->ends);
}

static const struct bypass_direction *record(const struct bypass_probe *p, int from)
{
	return relay_bypass_direction(&p->ends.trial.relay, from);
}

static struct trial_conf conf_of(const struct bypass_probe *p)
{
	return (struct trial_conf){ .engine = &engine_copy, .bypass = p->bypass, .max_buffers = 2 };
}

static int begin(struct bypass_probe *p, struct probe_result *r)
{
	const struct trial_conf conf = conf_of(p);
	int rc = probe_ends_open(&p->ends, r, &conf);

	if (!rc && !record(p, CLIENT))
		rc = probe_found(r, -ENOENT,
				 "this process's own connections were not seen: is it in the "
				 "cgroup?");
	return rc;
}

/* --- checks ---------------------------------------------------------------------------------- */

static int check_load(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = trial;
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
	struct bypass_probe *p = trial;
	int rc = begin(p, r);

	for (int from = 0; !rc && from < 2; from++) {
		rc = probe_ends_relay(&p->ends, from, SMALL_BYTES, PROBE_CHUNK_BYTES);
		if (!rc && record(p, from)->bytes != SMALL_BYTES)
			rc = probe_found(r, -EIO, "they took the proxy's way");
	}
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", SMALL_BYTES);
}

static int check_exact(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = trial;
	int rc = begin(p, r);

	for (int from = 0; !rc && from < 2; from++)
		rc = probe_ends_relay(&p->ends, from, TRIAL_BYTES, SLOW_READ_BYTES);
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static int check_bounded(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = trial;
	int rc = begin(p, r);
	uint64_t unread;

	if (!rc)
		rc = probe_ends_stop(&p->ends);
	if (rc)
		return rc;
	unread = record(p, CLIENT)->bytes;
	if (unread > UNREAD_MAX_BYTES)
		return probe_found(r, -ENOBUFS, "%llu bytes went to it",
				   (unsigned long long)unread);
	return probe_found(r, 0, "the sender stopped after %zu bytes; %llu of them went around",
			   p->ends.sent[CLIENT], (unsigned long long)unread);
}

static int check_half_close(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = trial;
	int rc = 0;

	for (int first = 0; !rc && first < 2; first++) {
		rc = begin(p, r);
		if (rc)
			break;
		probe_ends_send(&p->ends, first, SMALL_BYTES);
		rc = probe_ends_half_close(&p->ends, first, TRIAL_BYTES);
	}
	return rc ? rc
		  : probe_found(r, 0,
				"each end came after the last byte, and the other way went on");
}

/* The end of this side is the only one that it is told of. */
static int try_half(struct bypass_probe *p, struct probe_result *r, int local)
{
	struct trial_conf conf = conf_of(p);
	int rc;

	conf.is_remote[!local] = true;
	rc = probe_ends_open(&p->ends, r, &conf);
	/* The backend says something: only then is it known where it is not. */
	if (!rc)
		rc = probe_ends_relay(&p->ends, BACKEND, SMALL_BYTES, PROBE_CHUNK_BYTES);
	for (int from = 0; !rc && from < 2; from++)
		rc = probe_ends_relay(&p->ends, from, TRIAL_BYTES, SLOW_READ_BYTES);
	if (!rc && (!record(p, local) || !record(p, local)->bytes))
		return probe_found(r, -EIO, "they took the proxy's way");
	return rc ? rc : probe_ends_half_close(&p->ends, local, TRIAL_BYTES + SMALL_BYTES);
}

static int check_half(void *trial, struct probe_result *r)
{
	int rc = 0;

	for (int local = 0; !rc && local < 2; local++)
		rc = try_half(trial, r, local);
	return rc ? rc
		  : probe_found(r, 0, "%u bytes each way and both ends, all right", TRIAL_BYTES);
}

/* A socket that is closed while it has unread bytes, and one that is reset: both are resets. */
static int check_reset(void *trial, struct probe_result *r)
{
	struct bypass_probe *p = trial;
	struct linger at_once = { 1, 0 };

	for (int unread = 0; unread < 2; unread++) {
		int rc = begin(p, r);

		if (rc)
			return rc;
		if (unread)
			probe_ends_send(&p->ends, CLIENT, SMALL_BYTES);
		else if (setsockopt(p->ends.trial.outer[BACKEND], SOL_SOCKET, SO_LINGER, &at_once,
				    sizeof(at_once)))
			return probe_found(r, -errno, "SO_LINGER: %s", strerror(errno));
		if (!probe_ends_see_reset(&p->ends, RESET_TURNS))
			return probe_found(r, -EIO, "%s was not seen as one",
					   unread ? "closing with unread bytes" : "it");
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
	{ "bypass_half", "the same with an end that is not watched, as if it were elsewhere",
	  "one local end is enough to go half of the way", check_half },
	{ "bypass_reset", "a RST, and a socket that is closed with unread bytes",
	  "resets are passed on", check_reset },
};

int probe_bypass(const char *cgroup, struct probe_report *report, char *why, size_t size)
{
	const struct probe_suite suite = { checks, ARRAY_SIZE(checks), OFF, end_check, true };
	struct bypass_probe p = { .cgroup = cgroup };
	int rc;

	probe_ends_init(&p.ends);
	rc = probe_run(report, &suite, &p, why, size);
	bypass_close(p.bypass);
	return rc;
}
