/* SPDX-License-Identifier: MIT */
#include "probe_ends.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A sender that could not send for so many turns, of a millisecond each, has been stopped. */
#define STOPPED_TURNS 20
/* What a stopped reader can leave in TCP's buffers of both connections, and then some. */
#define STOPPED_MAX_BYTES (64u << 20)

void probe_ends_init(struct probe_ends *e)
{
	*e = (struct probe_ends){ .trial.loop.epoll_fd = -1 };
	probe_patience_begin(&e->patience);
}

void probe_ends_close(struct probe_ends *e)
{
	if (e->trial.loop.epoll_fd >= 0)
		trial_close(&e->trial);
	e->trial = (struct trial){ .loop.epoll_fd = -1 };
}

int probe_ends_open(struct probe_ends *e, struct probe_result *r, const struct trial_conf *conf)
{
	int rc;

	probe_ends_close(e);
	e->result = r;
	memset(e->sent, 0, sizeof(e->sent));
	memset(e->received, 0, sizeof(e->received));
	rc = trial_open(&e->trial, conf);
	return rc ? probe_found(r, rc, "no loopback connections could be made: %s", strerror(-rc))
		  : 0;
}

int probe_ends_turn(struct probe_ends *e, int wait_ms)
{
	int rc = trial_turn(&e->trial, wait_ms);

	if (rc)
		return probe_found(e->result, rc, "the relay failed: %s", strerror(-rc));
	return probe_patience_ends(&e->patience, e->result, e->trial.loop.now_ns,
				   e->sent[0] + e->sent[1] + e->received[0] + e->received[1]);
}

size_t probe_ends_send(struct probe_ends *e, int from, size_t len)
{
	return probe_send(e->trial.outer[from], from, &e->sent[from], len);
}

static int receive(struct probe_ends *e, int i, size_t len, bool *end)
{
	return probe_receive(e->result, e->trial.outer[i], !i, &e->received[i], len, end);
}

/* Until there is something to relay or to receive, or a moment has passed. */
static void wait_for_bytes(const struct probe_ends *e, int receiver)
{
	struct pollfd fds[] = {
		{ .fd = e->trial.loop.epoll_fd, .events = POLLIN },
		{ .fd = e->trial.outer[receiver], .events = POLLIN },
	};

	poll(fds, ARRAY_SIZE(fds), 1);
}

static int end_too_early(struct probe_ends *e)
{
	return probe_found(e->result, -EIO, "the end came before the last byte");
}

int probe_ends_relay(struct probe_ends *e, int from, size_t total, size_t read_size)
{
	bool end = false;
	int rc = 0;

	while (!rc && e->received[!from] < total && !end) {
		if (e->sent[from] < total)
			probe_ends_send(e, from, total - e->sent[from]);
		else
			wait_for_bytes(e, !from);
		rc = probe_ends_turn(e, 0);
		if (!rc)
			rc = receive(e, !from, read_size, &end);
	}
	return rc || !end ? rc : end_too_early(e);
}

static int expect_end(struct probe_ends *e, int i)
{
	bool end = false;
	int rc = 0;

	while (!rc && !end) {
		rc = probe_ends_turn(e, 1);
		if (!rc)
			rc = receive(e, i, PROBE_CHUNK_BYTES, &end);
	}
	return rc || e->received[i] == e->sent[!i] ? rc : end_too_early(e);
}

static int end_stream(struct probe_ends *e, int from)
{
	if (shutdown(e->trial.outer[from], SHUT_WR))
		return probe_found(e->result, -errno, "shutdown: %s", strerror(errno));
	return expect_end(e, !from);
}

int probe_ends_half_close(struct probe_ends *e, int first, size_t total)
{
	int rc = end_stream(e, first);

	if (!rc)
		rc = probe_ends_relay(e, !first, total, PROBE_CHUNK_BYTES);
	return rc ? rc : end_stream(e, !first);
}

int probe_ends_stop(struct probe_ends *e)
{
	int rc = 0;

	for (int stopped = 0; !rc && stopped < STOPPED_TURNS; stopped++) {
		while (probe_ends_send(e, CLIENT, PROBE_CHUNK_BYTES) &&
		       e->sent[CLIENT] < STOPPED_MAX_BYTES)
			stopped = 0;
		if (e->sent[CLIENT] >= STOPPED_MAX_BYTES)
			rc = probe_found(e->result, -ENOBUFS,
					 "a sender was not stopped: %zu bytes and more",
					 e->sent[CLIENT]);
		else
			rc = probe_ends_turn(e, 1);
	}
	return rc;
}

bool probe_ends_see_reset(struct probe_ends *e, int turns)
{
	int failure = 0;

	close(e->trial.outer[BACKEND]);
	e->trial.outer[BACKEND] = -1;
	while (turns-- > 0 && !failure)
		failure = trial_turn(&e->trial, 1);
	return failure == -ECONNRESET && e->trial.relay.failed_side == BACKEND;
}
