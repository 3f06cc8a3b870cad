/* SPDX-License-Identifier: MIT */
#include "probe_flow.h"

#include <linux/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"

#define PORT 7000
#define SOCKET_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* --- turns ----------------------------------------------------------------------------------- */

/* Nothing but a reason to look again. */
static void on_outer(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
}

static void on_wake(struct relay *r)
{
	container_of(r, struct probe_flow, relay)->is_woken = true;
}

static void on_client(struct watch *w, uint32_t events)
{
	struct probe_flow *f = container_of(w, struct probe_flow, relay.side[CLIENT].watch);

	side_note_events(&f->relay.side[CLIENT], events);
}

static void on_backend(struct watch *w, uint32_t events)
{
	struct probe_flow *f = container_of(w, struct probe_flow, relay.side[BACKEND].watch);

	side_note_events(&f->relay.side[BACKEND], events);
}

/* The relay is only looked at when it was woken, so that a check finds out whether it is. */
static int turn(struct probe_flow *f, int wait_ms)
{
	int rc = loop_turn(&f->loop, wait_ms);

	if (rc)
		return probe_found(f->result, rc, "epoll: %s", strerror(-rc));
	for (int from = 0; f->is_woken && !f->failure && from < 2; from++)
		f->failure = MIN(relay_pump(&f->relay, from), 0);
	f->is_woken = false;
	return probe_patience_ends(&f->patience, f->result, f->loop.now_ns,
				   f->sent[0] + f->sent[1] + f->received[0] + f->received[1]);
}

/* --- both connections ------------------------------------------------------------------------ */

/* A socket that is made in a place: listening there, or to connect from there. */
static int socket_in(struct probe_flow *f, int place, const struct addr *a, bool listens)
{
	int rc = probe_net_enter(f->net, place), fd = -1;

	if (!rc)
		fd = listens ? net_bind(a, 0, false) : net_open(a);
	if (fd >= 0 && listens)
		rc = net_listen(fd, NET_BACKLOG);
	if (!rc)
		rc = probe_net_enter(f->net, PROXY);
	if (rc && fd >= 0)
		close(fd);
	return rc ? rc : fd;
}

/* Takes the fd. */
static int watch_socket(struct probe_flow *f, struct watch *w, int fd)
{
	int rc = loop_add(&f->loop, w, fd, SOCKET_EVENTS);

	if (rc)
		close(fd);
	return rc;
}

/* Accepts what connects meanwhile, and sends as soon as it can. */
static int accept_leg(struct probe_flow *f, int leg, int listener)
{
	struct addr peer;
	int fd = -EAGAIN, rc = 0;

	while (!rc && fd == -EAGAIN) {
		if (leg == CLIENT && f->sent[CLIENT] < PROBE_FLOW_AT_ONCE_BYTES)
			probe_send(f->outer[CLIENT].fd, CLIENT, &f->sent[CLIENT],
				   PROBE_FLOW_AT_ONCE_BYTES - f->sent[CLIENT]);
		fd = net_accept(listener, &peer);
		if (fd == -EAGAIN)
			rc = turn(f, 1);
	}
	if (rc)
		return rc;
	if (fd < 0)
		return probe_found(f->result, fd, "accept: %s", strerror(-fd));
	if (leg == CLIENT)
		return watch_socket(f, &f->relay.side[CLIENT].watch, fd);
	probe_send(fd, BACKEND, &f->sent[BACKEND], PROBE_FLOW_AT_ONCE_BYTES);
	return watch_socket(f, &f->outer[BACKEND], fd);
}

static int connect_to(struct probe_flow *f, int leg, const struct addr *to)
{
	int fd = socket_in(f, leg == CLIENT ? CLIENT : PROXY, to, false), rc;

	if (fd < 0)
		return fd;
	if (leg == BACKEND)
		relay_prepare(&f->relay, fd);
	rc = net_start(fd, to);
	if (rc) {
		close(fd);
		return rc;
	}
	return watch_socket(f, leg == CLIENT ? &f->outer[CLIENT] : &f->relay.side[BACKEND].watch,
			    fd);
}

/* One of a flow's two connections: client to proxy, or proxy to backend. */
static int connect_leg(struct probe_flow *f, int leg, int family)
{
	struct addr to = probe_net_address(leg, leg == CLIENT, family);
	int listener, rc = 0;

	addr_set_port(&to, PORT);
	listener = socket_in(f, leg == CLIENT ? PROXY : BACKEND, &to, true);
	if (listener < 0)
		return probe_found(f->result, listener, "listen: %s", strerror(-listener));
	if (leg == CLIENT)
		rc = wire_listen(f->wire, &to, true);
	if (!rc)
		rc = connect_to(f, leg, &to);
	if (rc)
		probe_found(f->result, rc, "connect: %s", strerror(-rc));
	else
		rc = accept_leg(f, leg, listener);
	close(listener);
	return rc;
}

static void close_watched(struct probe_flow *f, struct watch *w)
{
	int fd = w->fd;

	if (fd < 0)
		return;
	loop_remove(&f->loop, w);
	close(fd);
}

void probe_flow_leave(struct probe_flow *f)
{
	if (!f->has_relay)
		return;
	for (int i = 0; i < 2; i++)
		close_watched(f, &f->relay.side[i].watch);
	relay_release(&f->relay);
	f->has_relay = false;
}

void probe_flow_close(struct probe_flow *f)
{
	probe_flow_leave(f);
	for (int i = 0; i < 2; i++)
		close_watched(f, &f->outer[i]);
}

static int read_info(struct probe_flow *f, int fd, struct tcp_info *info)
{
	socklen_t len = sizeof(*info);

	memset(info, 0, sizeof(*info));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len))
		return probe_found(f->result, -errno, "TCP_INFO: %s", strerror(errno));
	return 0;
}

static int note_segments(struct probe_flow *f)
{
	int rc = 0;

	for (int i = 0; !rc && i < 2; i++) {
		struct tcp_info info;

		rc = read_info(f, f->relay.side[i].watch.fd, &info);
		f->segments[i] = info.tcpi_segs_out;
	}
	return rc;
}

int probe_flow_open(struct probe_flow *f, int family)
{
	int rc;

	relay_init(&f->relay, &f->pools, &engine_wire, false);
	f->relay.side[CLIENT].watch.ready = on_client;
	f->relay.side[BACKEND].watch.ready = on_backend;
	for (int i = 0; i < 2; i++)
		f->sent[i] = f->received[i] = 0;
	f->has_relay = true;
	f->is_woken = false;
	f->failure = 0;
	rc = connect_leg(f, CLIENT, family);
	if (!rc)
		rc = connect_leg(f, BACKEND, family);
	if (rc)
		return rc;
	relay_begin(&f->relay);
	if (relay_wire_flow(&f->relay) < 0)
		return probe_found(f->result, -EOPNOTSUPP, "%s",
				   engine_reason_text(f->relay.dir[CLIENT].reason));
	return note_segments(f);
}

/* --- what goes through it -------------------------------------------------------------------- */

static int receive_some(struct probe_flow *f, int from, bool *end)
{
	return probe_receive(f->result, f->outer[!from].fd, from, &f->received[from],
			     PROBE_CHUNK_BYTES, end);
}

static int too_early(struct probe_flow *f)
{
	return probe_found(f->result, -EIO, "the end came before the last byte");
}

int probe_flow_relay(struct probe_flow *f, int from, size_t total, size_t chunk)
{
	bool end = false;
	int rc = 0;

	while (!rc && !end && f->received[from] < total) {
		size_t before = f->received[from], n = 0;

		if (f->sent[from] < total)
			n = probe_send(f->outer[from].fd, from, &f->sent[from],
				       MIN(chunk, total - f->sent[from]));
		rc = receive_some(f, from, &end);
		if (!rc)
			rc = turn(f, n || f->received[from] > before ? 0 : 1);
	}
	return rc || !end ? rc : too_early(f);
}

int probe_flow_end(struct probe_flow *f, int from)
{
	bool end = false;
	int rc = 0;

	if (shutdown(f->outer[from].fd, SHUT_WR))
		return probe_found(f->result, -errno, "shutdown: %s", strerror(errno));
	while (!rc && !end) {
		rc = receive_some(f, from, &end);
		if (!rc && !end)
			rc = turn(f, 1);
	}
	if (!rc && f->received[from] != f->sent[from])
		rc = too_early(f);
	return rc;
}

static int expect_reset(struct probe_flow *f, int i)
{
	char byte;

	for (;;) {
		ssize_t n = recv(f->outer[i].fd, &byte, 1, MSG_DONTWAIT);
		int rc;

		if (n < 0 && errno == ECONNRESET)
			return 0;
		if (n >= 0 || errno != EAGAIN)
			return probe_found(f->result, -EIO, "it did not arrive as one");
		rc = turn(f, 1);
		if (rc)
			return rc;
	}
}

int probe_flow_reset(struct probe_flow *f, int from)
{
	struct linger at_once = { 1, 0 };
	int rc;

	if (setsockopt(f->outer[from].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)))
		return probe_found(f->result, -errno, "SO_LINGER: %s", strerror(errno));
	close_watched(f, &f->outer[from]);
	rc = expect_reset(f, !from);
	while (!rc && !f->failure)
		rc = turn(f, 1);
	if (!rc && (f->failure != -ECONNRESET || f->relay.failed_side != from))
		rc = probe_found(f->result, -EIO, "the engine did not take it for one");
	return rc;
}

int probe_flow_expect_done(struct probe_flow *f)
{
	int rc = 0;

	while (!rc && !f->failure && !relay_is_done(&f->relay))
		rc = turn(f, 1);
	return rc || !f->failure
		       ? rc
		       : probe_found(f->result, f->failure, "the end came as a failure: %s",
				     strerror(-f->failure));
}

int probe_flow_expect_silence(struct probe_flow *f)
{
	for (int i = 0; i < 2; i++) {
		struct tcp_info info;
		int rc = read_info(f, f->relay.side[i].watch.fd, &info);

		if (rc)
			return rc;
		if (info.tcpi_bytes_received || info.tcpi_bytes_sent)
			return probe_found(f->result, -EIO,
					   "bytes went through a socket of the proxy");
		if (info.tcpi_segs_out != f->segments[i])
			return probe_found(f->result, -EIO, "a socket of the proxy was not silent");
	}
	return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

int probe_flow_init(struct probe_flow *f)
{
	const struct wire_share_conf conf = { .wire = f->wire };
	int rc = loop_init(&f->loop);

	probe_patience_begin(&f->patience);
	for (int i = 0; i < 2; i++)
		f->outer[i] = (struct watch){ .fd = -1, .ready = on_outer };
	if (!rc)
		rc = relay_pools_init(&f->pools, 2, 0);
	f->pools.loop = &f->loop;
	f->pools.wake = on_wake;
	return rc ? rc : wire_share_open(&conf, 0, &f->pools);
}

void probe_flow_fini(struct probe_flow *f)
{
	wire_share_close(&f->pools);
	relay_pools_close(&f->pools);
	loop_close(&f->loop);
}
