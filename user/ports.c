/* SPDX-License-Identifier: MIT */
#include "ports.h"

#include <string.h>
#include <unistd.h>

#include "log.h"
#include "net.h"

/* Open files that are neither listeners, sessions nor pipes: stdio, epoll, events, name servers'
 * sockets, log, the admin socket, HTTP and their clients, BPF maps. */
#define FDS_RESERVED 104
/* Its epoll and its mailbox; the ring of the sockmap engine, which has two. */
#define FDS_PER_WORKER 4
/* Pipes are worth less than sessions: all of them together take at most this share of the open
 * files. */
#define FDS_PIPE_SHARE 8

size_t ports_count(const struct config *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_apps; i++)
		n += c->apps[i].n_ports * c->apps[i].n_listen;
	return n;
}

int ports_plan_fds(size_t listeners, size_t n_workers, size_t *pipes_per_worker,
		   struct fd_budget *fds)
{
	uint64_t limit = net_raise_fd_limit();
	uint64_t pipes = MIN(limit / FDS_PIPE_SHARE / 2, PIPES_PER_WORKER * n_workers);
	uint64_t fixed = (listeners + FDS_PER_WORKER) * n_workers + FDS_RESERVED + 2 * pipes;

	if (fixed + SESSION_FDS > limit) {
		log_error(
			"too few open files: %zu listening sockets for each of %zu workers, pipes and "
			"some others make %llu, but the limit is %llu: raise it (LimitNOFILE, ulimit "
			"-n), or use fewer ports or \"Workers\"",
			listeners, n_workers, (unsigned long long)fixed, (unsigned long long)limit);
		return -EMFILE;
	}
	*pipes_per_worker = pipes / n_workers;
	atomic_store(&fds->left, (int64_t)(limit - fixed));
	log_debug("%llu open files: room for %llu connections at once", (unsigned long long)limit,
		  (unsigned long long)(limit - fixed) / SESSION_FDS);
	return 0;
}

/* IPv6 may be missing on a host; nobody asked for it in so many words, then. */
static bool may_be_missing(const struct app_conf *conf, const struct addr *a, int error)
{
	return conf->listen_is_default && a->sa.sa_family == AF_INET6 &&
	       (error == EAFNOSUPPORT || error == EADDRNOTAVAIL);
}

static const char *bind_advice(int error)
{
	switch (error) {
	case EADDRINUSE:
		return "another program (or another shunt) has it; `ss -ltnp` tells which";
	case EACCES:
		return "a port below 1024 needs CAP_NET_BIND_SERVICE";
	case EADDRNOTAVAIL:
		return "this host does not have this address";
	case EMFILE:
		return "raise the limit of open files";
	default:
		return "see bind(2)";
	}
}

/* One socket a worker. 0 (opened, or rightly left out) or -errno, logged. */
static int open_listener(struct workers *ws, struct app *app, const struct addr *at,
			 const char *text)
{
	for (size_t i = 0; i < ws->n; i++) {
		int fd = net_bind(at, app->conf->keepalive_ms, i > 0), rc = fd;

		if (i == 0 && fd < 0 && may_be_missing(app->conf, at, -fd))
			return 0;
		if (fd >= 0)
			rc = net_listen(fd);
		if (!rc)
			rc = listener_set_add(&ws->list[i].listeners, fd, app, text);
		if (!rc)
			continue;
		log_error("app \"%s\": can't listen on %s: %s: %s", app->conf->name, text,
			  strerror(-rc), bind_advice(-rc));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	return 0;
}

static int open_app(struct ports *ports, struct app *app, struct workers *ws)
{
	const struct app_conf *conf = app->conf;
	int result = 0;

	for (size_t a = 0; a < conf->n_listen; a++) {
		for (size_t i = 0; i < conf->n_ports; i++) {
			char *text = ports->texts[ports->n++];
			struct addr at = conf->listen[a];
			int rc;

			addr_set_port(&at, conf->ports[i]);
			rc = open_listener(ws, app, &at, addr_format(&at, text));
			result = result ? result : rc;
		}
	}
	return result;
}

int ports_open(struct ports *ports, struct app *apps, size_t n_apps, struct workers *ws)
{
	size_t total = 0;
	int result = 0;

	for (size_t i = 0; i < n_apps; i++)
		total += apps[i].conf->n_ports * apps[i].conf->n_listen;
	*ports = (struct ports){ .texts = xcalloc(total, sizeof(*ports->texts)) };
	for (size_t i = 0; i < n_apps; i++) {
		int rc = open_app(ports, &apps[i], ws);

		result = result ? result : rc;
	}
	return result;
}

void ports_free(struct ports *ports)
{
	free(ports->texts);
	*ports = (struct ports){ 0 };
}
