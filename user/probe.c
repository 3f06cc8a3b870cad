/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine_sockmap.h"
#include "probe_cost.h"
#include "trial.h"

#define TRIAL_BYTES (256u << 10)
#define CHUNK_BYTES (64u << 10)
#define TINY_SNDBUF_BYTES 2048
/* A sender that could not send for so many turns, of a millisecond each, has been stopped. */
#define STOPPED_TURNS 20
/* What a stopped reader can leave in TCP's buffers of both connections, and then some. */
#define STOPPED_MAX_BYTES (64u << 20)

struct probe {
	struct trial trial;
	struct sockmap *map;
	uint64_t deadline_ns;
	size_t sent[2], received[2];
	char *outcome; /* where a check says what it found */
	size_t size;
};

/* A check opens, tries and closes: 0 or -errno, with what it found as a phrase. */
struct check {
	const char *name, *tried, *follows;
	int (*run)(struct probe *p);
};

#define OFF "the engine sockmap is not used"

static int found(struct probe *p, int rc, const char *fmt, ...) printf_like(3, 4);
static int found(struct probe *p, int rc, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(p->outcome, p->size, fmt, args);
	va_end(args);
	return rc;
}

/* --- both ends of a trial ------------------------------------------------------------------- */

static uint8_t byte_at(int stream, size_t offset)
{
	return (uint8_t)((offset * 2654435761u) >> 13) ^ (uint8_t)(offset >> 8) ^ (uint8_t)stream;
}

static int begin(struct probe *p, int sndbuf)
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
	return rc ? found(p, rc, "no loopback connections could be made: %s", strerror(-rc)) : 0;
}

static int turn(struct probe *p, int wait_ms)
{
	int rc = trial_turn(&p->trial, wait_ms);

	if (rc)
		return found(p, rc, "the relay failed: %s", strerror(-rc));
	if (p->trial.loop.now_ns > p->deadline_ns)
		return found(p, -ETIMEDOUT, "nothing moved any more");
	return 0;
}

/* Bytes sent; 0: the socket is full. */
static size_t send_some(struct probe *p, int i, size_t len)
{
	uint8_t chunk[CHUNK_BYTES];
	ssize_t n;

	len = MIN(len, sizeof(chunk));
	for (size_t k = 0; k < len; k++)
		chunk[k] = byte_at(i, p->sent[i] + k);
	n = send(p->trial.outer[i], chunk, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		p->sent[i] += (size_t)n;
	return n > 0 ? (size_t)n : 0;
}

/* 0, or -errno: a byte was wrong. Sets *end at the end of the stream. */
static int receive_some(struct probe *p, int i, size_t len, bool *end)
{
	uint8_t chunk[CHUNK_BYTES];
	ssize_t n = recv(p->trial.outer[i], chunk, MIN(len, sizeof(chunk)), MSG_DONTWAIT);

	*end = n == 0;
	for (ssize_t k = 0; k < n; k++)
		if (chunk[k] != byte_at(!i, p->received[i] + (size_t)k))
			return found(p, -EIO,
				     "byte %zu was wrong: bytes are lost, doubled or moved",
				     p->received[i] + (size_t)k);
	if (n > 0)
		p->received[i] += (size_t)n;
	return 0;
}

static int wait_for_kernel(struct probe *p)
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

/* Sends till `total`, and lets a reader that takes little at a time have it. */
static int relay_bytes(struct probe *p, int from, size_t total, size_t read_size)
{
	bool end = false;
	int rc = 0;

	while (!rc && p->received[!from] < total && !end) {
		if (p->sent[from] < total)
			send_some(p, from, total - p->sent[from]);
		rc = turn(p, p->sent[from] < total ? 0 : 1);
		if (!rc)
			rc = receive_some(p, !from, read_size, &end);
	}
	return rc || !end ? rc : found(p, -EIO, "the end came before the last byte");
}

static int expect_end(struct probe *p, int i)
{
	bool end = false;
	int rc = 0;

	while (!rc && !end) {
		rc = turn(p, 1);
		if (!rc)
			rc = receive_some(p, i, CHUNK_BYTES, &end);
	}
	return rc;
}

/* --- checks ---------------------------------------------------------------------------------- */

static int check_kernel(struct probe *p)
{
	char signature[128] = "";
	struct utsname u;
	const char *why;
	FILE *f = fopen("/proc/version_signature", "re");

	if (f && !fgets(signature, sizeof(signature), f))
		signature[0] = '\0';
	if (f)
		fclose(f);
	if (uname(&u))
		return found(p, -errno, "uname: %s", strerror(errno));
	why = probe_known_bad(u.release, u.version, signature);
	if (why)
		return found(p, -EOPNOTSUPP, "Linux %s: %s", u.release, why);
	return found(p, 0, "Linux %s is not among them", u.release);
}

static int check_load(struct probe *p)
{
	struct sockmap_conf conf = {
		.workers = 1,
		.flows_per_worker = 64,
		.backlog_cap_bytes = SOCKMAP_BACKLOG_CAP_DEFAULT_BYTES,
	};
	int rc = sockmap_open(&conf, &p->map, p->outcome, p->size);

	return rc ? rc : found(p, 0, "loaded and attached");
}

static int check_exact_in_kernel(struct probe *p)
{
	int rc = begin(p, 0);

	if (!rc)
		rc = wait_for_kernel(p);
	for (int from = 0; !rc && from < 2; from++)
		rc = relay_bytes(p, from, TRIAL_BYTES, 10000);
	for (int from = 0; !rc && from < 2; from++)
		if (!relay_sockmap_direction(&p->trial.relay, from)->redirected)
			rc = found(p, -EIO, "the kernel did not redirect anything");
	return rc ? rc : found(p, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static int check_exact_tiny_buffer(struct probe *p)
{
	int rc = begin(p, TINY_SNDBUF_BYTES);

	for (int from = 0; !rc && from < 2; from++)
		rc = relay_bytes(p, from, TRIAL_BYTES, 3000);
	return rc ? rc : found(p, 0, "%u bytes each way, all right", TRIAL_BYTES);
}

static int check_queued(struct probe *p)
{
	int rc = begin(p, 0);

	if (rc)
		return rc;
	send_some(p, CLIENT, 5000);
	rc = relay_join(&p->trial.relay, &engine_sockmap, ENGINE_FORCED);
	if (rc)
		return found(p, rc, "the sockets were not taken: %s", strerror(-rc));
	rc = relay_bytes(p, CLIENT, 5000, CHUNK_BYTES);
	return rc ? rc : found(p, 0, "it arrived");
}

static int check_half_close(struct probe *p)
{
	for (int first = 0; first < 2; first++) {
		int rc = begin(p, 0);

		if (!rc)
			rc = wait_for_kernel(p);
		if (!rc && shutdown(p->trial.outer[first], SHUT_WR))
			rc = found(p, -errno, "shutdown: %s", strerror(errno));
		if (!rc)
			rc = expect_end(p, !first);
		if (!rc)
			rc = relay_bytes(p, !first, TRIAL_BYTES, CHUNK_BYTES);
		if (!rc && shutdown(p->trial.outer[!first], SHUT_WR))
			rc = found(p, -errno, "shutdown: %s", strerror(errno));
		if (!rc)
			rc = expect_end(p, first);
		if (rc)
			return rc;
		if (!first)
			trial_close(&p->trial);
	}
	return found(p, 0, "each end came alone, and what followed the other way arrived");
}

static int check_bounded(struct probe *p)
{
	int rc = begin(p, 0);
	uint32_t backlog;

	if (!rc)
		rc = wait_for_kernel(p);
	for (int stopped = 0; !rc && stopped < STOPPED_TURNS; stopped++) {
		while (send_some(p, CLIENT, CHUNK_BYTES) && p->sent[CLIENT] < STOPPED_MAX_BYTES)
			stopped = 0;
		if (p->sent[CLIENT] >= STOPPED_MAX_BYTES)
			rc = found(p, -ENOBUFS, "a sender was not stopped: %zu bytes and more",
				   p->sent[CLIENT]);
		else
			rc = turn(p, 1);
	}
	if (rc)
		return rc;
	backlog = relay_sockmap_direction(&p->trial.relay, CLIENT)->backlog_max;
	if (backlog > SOCKMAP_BACKLOG_CAP_DEFAULT_BYTES)
		return found(p, -ENOBUFS, "the backlog rose to %u bytes", backlog);
	return found(p, 0, "the sender stopped after %zu bytes; the highest backlog was %u",
		     p->sent[CLIENT], backlog);
}

static int check_reset(struct probe *p)
{
	struct linger at_once = { 1, 0 };
	int rc = begin(p, 0), failure = 0;

	if (!rc)
		rc = wait_for_kernel(p);
	if (rc)
		return rc;
	if (setsockopt(p->trial.outer[BACKEND], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)))
		return found(p, -errno, "SO_LINGER: %s", strerror(errno));
	close(p->trial.outer[BACKEND]);
	p->trial.outer[BACKEND] = -1;
	for (int k = 0; k < STOPPED_TURNS && !failure; k++)
		failure = trial_turn(&p->trial, 1);
	if (failure != -ECONNRESET || p->trial.relay.failed_side != BACKEND)
		return found(p, -EIO, "it was not seen as one");
	return found(p, 0, "seen as a reset by the backend");
}

static const struct check checks[] = {
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

static struct probe_result *add(struct probe_report *report, const char *name, const char *tried)
{
	struct probe_result *r = &report->list[report->n++];

	_Static_assert(ARRAY_SIZE(checks) + 3 <= PROBE_RESULTS_MAX, "with engines and cost");
	*r = (struct probe_result){ .name = name, .tried = tried, .follows = OFF };
	return r;
}

static int run(struct probe *p, const struct check *c, struct probe_result *r)
{
	int rc;

	p->outcome = r->outcome;
	p->size = sizeof(r->outcome);
	p->trial = (struct trial){ .loop.epoll_fd = -1 };
	rc = c->run(p);
	if (p->trial.loop.epoll_fd >= 0)
		trial_close(&p->trial);
	r->status = rc ? PROBE_FAILS : PROBE_WORKS;
	r->follows = rc ? OFF : c->follows;
	return rc;
}

/* Not a condition: what is slower, or can't be measured, may still be forced. */
static void weigh(struct probe_report *report, struct sockmap *map)
{
	struct probe_result *r = add(report, "sockmap_pays",
				     "64-byte round trips, through copy and through sockmap");
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
		snprintf(r->outcome, sizeof(r->outcome),
			 "one alone: copy %.1f us, sockmap %.1f us; %d at once: copy %.1f us, "
			 "sockmap %.1f us",
			 (double)cost.alone.copy_ns / 1e3, (double)cost.alone.sockmap_ns / 1e3,
			 PROBE_COST_CROWD, (double)cost.crowd.copy_ns / 1e3,
			 (double)cost.crowd.sockmap_ns / 1e3);
}

int probe_sockmap(struct probe_report *report, char *why, size_t size)
{
	struct probe p = { .deadline_ns = clock_ns() + PROBE_MAX_MS * NSEC_PER_MSEC };
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		struct probe_result *r = add(report, checks[i].name, checks[i].tried);

		if (rc)
			continue;
		rc = run(&p, &checks[i], r);
		if (rc)
			snprintf(why, size, "%s", r->outcome);
	}
	weigh(report, rc ? NULL : p.map);
	sockmap_close(p.map);
	return rc;
}

int probe_engine(const struct engine *e, char *why, size_t size)
{
	struct probe_report report = { 0 };

	return e->probe ? e->probe(why, size) : probe_sockmap(&report, why, size);
}

void probe_all(struct probe_report *report)
{
	char why[sizeof(report->list[0].outcome)];

	for (size_t i = 0; engines[i]; i++) {
		struct probe_result *r;

		if (!engines[i]->probe)
			continue;
		r = add(report, engines[i]->name, engines[i]->summary);
		r->status = engines[i]->probe(r->outcome, sizeof(r->outcome)) ? PROBE_FAILS
									      : PROBE_WORKS;
		r->follows = r->status == PROBE_WORKS ? "the engine is used"
						      : "the engine is not used";
	}
	/* The report says it all. */
	(void)!probe_sockmap(report, why, sizeof(why));
}
