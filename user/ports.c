/* SPDX-License-Identifier: MIT */
#include "ports.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "net.h"
#include "session_queue.h"

/* Open files that are neither listeners, sessions nor pipes: stdio, epoll, events, name servers'
 * sockets, log, the admin socket, HTTP and their clients, a configuration, BPF maps and links. */
#define FDS_RESERVED 145
/* Its epoll, its mailbox and its desk; the rings of sockmap and of the wire, which have two each;
 * the answers of the settler. */
#define FDS_PER_WORKER 8
/* Pipes are worth less than sessions: all of them together take at most this share of the open
 * files. */
#define FDS_PIPE_SHARE 8

size_t ports_count(const struct config *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_apps; i++)
		n += app_conf_listeners(&c->apps[i]);
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
	atomic_store(&fds->left, (int64_t)(limit - fixed + listeners * n_workers));
	log_debug("%llu open files: room for %llu connections at once", (unsigned long long)limit,
		  (unsigned long long)(limit - fixed) / SESSION_FDS);
	return 0;
}

/* --- plans ----------------------------------------------------------------------------------- */

/* What is to be done with the listeners of a port. */
struct port_op {
	struct listener **listeners;
	struct app *app; /* a reference; NULL: close them */
	bool opens;
	struct addr at; /* the app's; a path of another app's may be gone before its listeners */
	struct unix_socket *place;
};

struct ports_plan {
	struct errand errand;
	struct ports_context context;
	struct ports next;
	struct app_list apps; /* that are to run */
	struct port_op *ops;
	size_t n_ops;
	uint64_t listened[2][(UINT16_MAX + 1) / 64]; /* ports that are open now, IPv4 and IPv6 */
	void (*done)(void *arg);
	void *arg;
};

static int compare_ports(const void *va, const void *vb)
{
	const struct port *a = va, *b = vb;

	return addr_compare(&a->at, &b->at);
}

static struct ports wanted_by(const struct app_list *apps)
{
	struct ports ports = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < apps->n; i++)
		n += app_conf_listeners(apps->list[i]->conf);
	ports.list = xcalloc(n, sizeof(*ports.list));
	for (size_t i = 0; i < apps->n; i++) {
		const struct app_conf *conf = apps->list[i]->conf;

		for (size_t k = 0; k < app_conf_listeners(conf); k++)
			ports.list[ports.n++] = (struct port){
				.app = apps->list[i],
				.at = app_conf_listener(conf, k),
			};
	}
	if (ports.n)
		qsort(ports.list, ports.n, sizeof(*ports.list), compare_ports);
	return ports;
}

static uint64_t *port_word(struct ports_plan *plan, const struct addr *at)
{
	return &plan->listened[at->sa.sa_family == AF_INET6][addr_port(at) / 64];
}

static uint64_t bit_of(const struct addr *at)
{
	return 1ull << (addr_port(at) % 64);
}

static void add_op(struct ports_plan *plan, struct port_op op)
{
	if (op.app)
		app_get(op.app);
	plan->ops[plan->n_ops++] = op;
}

/* Both are sorted. What is in neither list of listeners yet is left to be opened. */
static void compare_with(struct ports_plan *plan, const struct ports *now)
{
	size_t i = 0, k = 0;

	plan->ops = xcalloc(now->n + plan->next.n, sizeof(*plan->ops));
	for (size_t p = 0; p < now->n; p++)
		*port_word(plan, &now->list[p].at) |= bit_of(&now->list[p].at);
	while (i < now->n || k < plan->next.n) {
		struct port *was = &now->list[i], *next = &plan->next.list[k];
		int order = i == now->n ? 1 : k == plan->next.n ? -1 : compare_ports(was, next);

		i += order <= 0;
		k += order >= 0;
		if (order > 0)
			continue;
		if (order < 0) {
			add_op(plan, (struct port_op){ .listeners = was->listeners,
						       .place = was->place });
			continue;
		}
		next->listeners = was->listeners;
		next->place = was->place;
		if (was->app != next->app)
			add_op(plan, (struct port_op){ was->listeners, next->app, false, next->at,
						       next->place });
	}
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
		return "raise the limit of open files (LimitNOFILE, ulimit -n)";
	default:
		return "see bind(2)";
	}
}

/* why: "": what bind(2) means by it. */
static void complain(const struct ports_plan *plan, const struct app *app, const struct addr *a,
		     int error, const char *why)
{
	char at[ADDR_TEXT_MAX], text[512];

	if (*why)
		snprintf(text, sizeof(text), "app \"%s\": can't listen on %s: %s", app->conf->name,
			 addr_format(a, at), why);
	else
		snprintf(text, sizeof(text), "app \"%s\": can't listen on %s: %s: %s",
			 app->conf->name, addr_format(a, at), strerror(error), bind_advice(error));
	plan->context.complain(plan->context.arg, text);
}

/* The socket of worker i: for the first one it is made, the others have duplicates. The fd or
 * -errno. */
static int bind_unix(struct port *port, struct listener *const *listeners, size_t i, char *why,
		     size_t size)
{
	int fd, rc;

	if (i > 0) {
		fd = fcntl(listeners[0]->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? -errno : fd;
	}
	port->place = xcalloc(1, sizeof(*port->place));
	rc = unix_socket_open(port->place, port->at.un.path, port->app->conf->listen_mode,
			      NET_BACKLOG, why, size);
	if (rc)
		return rc;
	fd = port->place->fd;
	port->place->fd = -1;
	return fd;
}

static void free_place(struct unix_socket *place)
{
	if (place)
		unix_socket_close(place);
	free(place);
}

/* One socket a worker, bound. 0 (also if it is rightly left out: no listeners) or -errno. */
static int bind_port(struct ports_plan *plan, struct port *port, char *why, size_t size)
{
	/* One of ours that listens on this port of another address, such as the wildcard, would be
	 * in the way of a socket that does not share. */
	bool overlaps = *port_word(plan, &port->at) & bit_of(&port->at);
	struct fd_budget *fds = plan->context.fds;
	uint32_t keepalive_ms = port->app->conf->keepalive_ms;
	size_t n = plan->context.workers->n;
	struct listener **listeners = xcalloc(n, sizeof(struct listener *));
	int rc = 0;

	for (size_t i = 0; !rc && i < n; i++) {
		int fd = -EMFILE;

		if (fd_budget_take(fds, 1)) {
			fd = addr_is_ip(&port->at)
				     ? net_bind(&port->at, keepalive_ms, i > 0 || overlaps)
				     : bind_unix(port, listeners, i, why, size);
			if (fd < 0)
				fd_budget_give(fds, 1);
		}
		if (fd < 0)
			rc = fd;
		else
			listeners[i] = listener_new(fd, &port->at, keepalive_ms, fds);
	}
	if (!rc) {
		port->listeners = listeners;
		add_op(plan, (struct port_op){ listeners, port->app, true, port->at, port->place });
		return 0;
	}
	for (size_t i = 0; i < n && listeners[i]; i++)
		listener_close(listeners[i]);
	free(listeners);
	free_place(port->place);
	port->place = NULL;
	return may_be_missing(port->app->conf, &port->at, -rc) ? 0 : rc;
}

/* First all are bound and then all listen: what fails, mostly fails before a client could connect. */
static int open_missing(struct ports_plan *plan)
{
	size_t first_new = plan->n_ops, n = plan->context.workers->n;
	int result = 0;

	for (size_t i = 0; i < plan->next.n; i++) {
		struct port *port = &plan->next.list[i];
		char why[256] = "";
		int rc = port->listeners ? 0 : bind_port(plan, port, why, sizeof(why));

		if (rc)
			complain(plan, port->app, &port->at, -rc, why);
		result = result ? result : rc;
	}
	for (size_t k = n * first_new; !result && k < n * plan->n_ops; k++) {
		const struct port_op *op = &plan->ops[k / n];

		result = listener_listen(op->listeners[k % n], op->app->conf->backlog);
		if (result)
			complain(plan, op->app, &op->listeners[k % n]->at, -result, "");
	}
	return result;
}

/* Ports that were left out are none. */
static void remove_missing(struct ports *ports)
{
	size_t n = 0;

	for (size_t i = 0; i < ports->n; i++)
		if (ports->list[i].listeners)
			ports->list[n++] = ports->list[i];
	ports->n = n;
}

int ports_plan(const struct ports *now, const struct app_list *apps,
	       const struct ports_context *context, struct ports_plan **out)
{
	struct ports_plan *plan = xcalloc(1, sizeof(*plan));
	int rc;

	plan->context = *context;
	plan->apps = app_list_copy(apps);
	plan->next = wanted_by(apps);
	compare_with(plan, now);
	rc = open_missing(plan);
	if (rc) {
		ports_abandon(plan);
		return rc;
	}
	remove_missing(&plan->next);
	*out = plan;
	return 0;
}

static void plan_free(struct ports_plan *plan)
{
	for (size_t i = 0; i < plan->n_ops; i++)
		app_put(plan->ops[i].app);
	free(plan->ops);
	free(plan->next.list);
	app_list_free(&plan->apps);
	free(plan);
}

void ports_abandon(struct ports_plan *plan)
{
	for (size_t i = 0; i < plan->n_ops; i++) {
		struct port_op *op = &plan->ops[i];

		if (!op->opens)
			continue;
		for (size_t w = 0; w < plan->context.workers->n; w++)
			listener_close(op->listeners[w]);
		free(op->listeners);
		free_place(op->place);
	}
	plan_free(plan);
}

/* On the worker's thread. */
static void run_op(const struct port_op *op, struct worker *w, size_t index)
{
	struct listener **l = &op->listeners[index];
	char at[ADDR_TEXT_MAX];
	int rc = 0;

	if (!*l)
		return;
	if (op->opens)
		rc = listener_open(*l, &w->listeners, op->app);
	else if (op->app)
		listener_change_app(*l, op->app, &op->at);
	else
		listener_empty(*l);
	if (rc) /* no memory, or too many watches: the other workers have the port as well */
		log_error("worker %zu can't watch %s: %s", index, addr_format(&(*l)->at, at),
			  strerror(-rc));
	if (!rc && op->app)
		return;
	listener_close(*l);
	*l = NULL;
}

static void run_plan(struct errand *e, struct worker *w, size_t index)
{
	struct ports_plan *plan = container_of(e, struct ports_plan, errand);

	for (size_t i = 0; i < plan->n_ops; i++)
		run_op(&plan->ops[i], w, index);
	for (size_t i = 0; i < plan->apps.n; i++)
		session_queue_follow(&w->sessions, plan->apps.list[i]);
}

static void end_plan(struct errand *e)
{
	struct ports_plan *plan = container_of(e, struct ports_plan, errand);
	void (*done)(void *arg) = plan->done;
	void *arg = plan->arg;

	for (size_t i = 0; i < plan->n_ops; i++)
		if (!plan->ops[i].app)
			free(plan->ops[i].listeners);
	plan_free(plan);
	done(arg);
}

/* At once, on the main thread: who comes from now on finds the place as the new config has it. */
static void update_place(struct port_op *op)
{
	char at[ADDR_TEXT_MAX];
	int rc;

	if (!op->place)
		return;
	if (!op->app) {
		free_place(op->place);
		op->place = NULL;
		return;
	}
	rc = unix_socket_change_mode(op->place, op->app->conf->listen_mode);
	if (rc)
		log_warning("%s keeps its mode: %s", addr_format(&op->at, at), strerror(-rc));
}

void ports_commit(struct ports *ports, struct ports_plan *plan, void (*done)(void *arg), void *arg)
{
	free(ports->list);
	*ports = plan->next;
	plan->next = (struct ports){ 0 };
	for (size_t i = 0; i < plan->n_ops; i++)
		update_place(&plan->ops[i]);
	plan->done = done;
	plan->arg = arg;
	plan->errand.run = run_plan;
	plan->errand.done = end_plan;
	workers_send(plan->context.workers, &plan->errand);
}

void ports_hide(const struct ports *ports)
{
	for (size_t i = 0; i < ports->n; i++)
		if (ports->list[i].place)
			unix_socket_unlink(ports->list[i].place);
}

void ports_free(struct ports *ports)
{
	for (size_t i = 0; i < ports->n; i++) {
		free(ports->list[i].listeners);
		free_place(ports->list[i].place);
	}
	free(ports->list);
	*ports = (struct ports){ 0 };
}
