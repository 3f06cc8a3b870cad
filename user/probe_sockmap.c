/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "engine_sockmap.h"
#include "probe_cost.h"
#include "probe_ends.h"

#define TRIAL_BYTES (128u << 10)
#define TINY_SNDBUF_BYTES 2048
/* Of a millisecond each, until a RST has been seen. */
#define RESET_TURNS 20

#define OFF "the engine sockmap is not used"

struct sockmap_probe {
	struct probe_ends ends;
	struct sockmap *map;
};

static void end_check(void *trial)
{
	probe_ends_close(&((struct sockmap_probe *)trial)->ends);
}

static int begin(struct sockmap_probe *p, struct probe_result *r, int sndbuf)
{
	const struct trial_conf conf = {
		.engine = &engine_sockmap,
		.sockmap = p->map,
		.sndbuf = sndbuf,
		.max_buffers = 2,
	};

	return probe_ends_open(&p->ends, r, &conf);
}

static const struct shunt_direction *record(const struct sockmap_probe *p, int from)
{
	return relay_sockmap_direction(&p->ends.trial.relay, from);
}

static int wait_for_kernel(struct sockmap_probe *p)
{
	int rc = 0;

	for (int i = 0; !rc && i < 2;) {
		const struct shunt_direction *d = record(p, i);

		if (d && d->resume_at != SHUNT_RESUME_NEVER && d->resume_at == d->passed)
			i++;
		else
			rc = probe_ends_turn(&p->ends, 1);
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
	struct sockmap_probe *p = trial;
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
	struct sockmap_probe *p = trial;
	int rc = begin(p, r, 0);

	if (!rc)
		rc = wait_for_kernel(p);
	for (int from = 0; !rc && from < 2; from++)
		rc = probe_ends_relay(&p->ends, from, TRIAL_BYTES, 10000);
	for (int from = 0; !rc && from < 2; from++)
		if (!record(p, from)->redirected)
			rc = probe_found(r, -EIO, "the kernel did not redirect anything");
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static int check_exact_tiny_buffer(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = trial;
	int rc = begin(p, r, TINY_SNDBUF_BYTES);

	for (int from = 0; !rc && from < 2; from++)
		rc = probe_ends_relay(&p->ends, from, TRIAL_BYTES, 3000);
	return rc ? rc : probe_found(r, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static int check_queued(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = trial;
	int rc = begin(p, r, 0);

	if (rc)
		return rc;
	probe_ends_send(&p->ends, CLIENT, 5000);
	rc = relay_join(&p->ends.trial.relay, &engine_sockmap, ENGINE_FORCED);
	if (rc)
		return probe_found(r, rc, "the sockets were not taken: %s", strerror(-rc));
	rc = probe_ends_relay(&p->ends, CLIENT, 5000, PROBE_CHUNK_BYTES);
	return rc ? rc : probe_found(r, 0, "it arrived");
}

static int check_half_close(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = trial;
	int rc = 0;

	for (int first = 0; !rc && first < 2; first++) {
		rc = begin(p, r, 0);
		if (!rc)
			rc = wait_for_kernel(p);
		if (!rc)
			rc = probe_ends_half_close(&p->ends, first, TRIAL_BYTES);
	}
	return rc ? rc
		  : probe_found(r, 0,
				"each end came alone, and what followed the other way arrived");
}

static int check_bounded(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = trial;
	int rc = begin(p, r, 0);
	uint32_t backlog;

	if (!rc)
		rc = wait_for_kernel(p);
	if (!rc)
		rc = probe_ends_stop(&p->ends);
	if (rc)
		return rc;
	backlog = record(p, CLIENT)->backlog_max;
	if (backlog > SOCKMAP_BACKLOG_CAP_DEFAULT_BYTES)
		return probe_found(r, -ENOBUFS, "the backlog rose to %u bytes", backlog);
	return probe_found(r, 0, "the sender stopped after %zu bytes; the highest backlog was %u",
			   p->ends.sent[CLIENT], backlog);
}

static int check_reset(void *trial, struct probe_result *r)
{
	struct sockmap_probe *p = trial;
	struct linger at_once = { 1, 0 };
	int rc = begin(p, r, 0);

	if (!rc)
		rc = wait_for_kernel(p);
	if (rc)
		return rc;
	if (setsockopt(p->ends.trial.outer[BACKEND], SOL_SOCKET, SO_LINGER, &at_once,
		       sizeof(at_once)))
		return probe_found(r, -errno, "SO_LINGER: %s", strerror(errno));
	if (!probe_ends_see_reset(&p->ends, RESET_TURNS))
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
	const struct probe_suite suite = { checks, ARRAY_SIZE(checks), OFF, end_check, true };
	struct sockmap_probe p = { 0 };
	int rc;

	probe_ends_init(&p.ends);
	rc = probe_run(report, &suite, &p, why, size);
	weigh(report, rc ? NULL : p.map);
	sockmap_close(p.map);
	return rc;
}
