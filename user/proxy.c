/* SPDX-License-Identifier: MIT */
#include "proxy.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "admin.h"
#include "balancer.h"
#include "cutter.h"
#include "health.h"
#include "http.h"
#include "log.h"
#include "names.h"
#include "ports.h"
#include "proxy_engines.h"
#include "workers.h"

/* Names that have no answer by then are taken as down, and accepting begins. */
#define FIRST_ANSWERS_MAX_MS 2500
/* The wire, the bypass and the health checks learn of new apps and addresses so soon. */
#define FOLLOW_MS 100

struct proxy {
	struct config *config; /* in force; its apps are in apps */
	const struct reload_source *source;
	const char *version;
	struct loop loop;
	struct apps apps;
	struct names *names;
	struct reload *reload;
	struct fd_budget fds;
	struct admission admission;
	struct proxy_engines engines;
	struct cutter cutter;
	struct health *health;
	struct workers workers;
	struct ports ports;
	struct admin *admin; /* NULL: none */
	struct http *http;   /* NULL: none */
	struct watch signals, worker_done;
	struct work check_names;
	struct timer first_answers, drain_timeout, follow;
	bool failed;
};

struct config_vocabulary proxy_vocabulary(void)
{
	return (struct config_vocabulary){
		.balancers = balancer_names,
		.n_balancers = n_balancers,
		.engines = engine_names,
		.n_engines = n_engines,
	};
}

/* --- apps ------------------------------------------------------------------------------------ */

static void log_complaint(void *arg, const char *text)
{
	(void)arg;
	log_error("%s", text);
}

static bool engine_runs(void *arg, const struct engine *engine)
{
	const struct proxy *p = arg;

	return proxy_engines_run(&p->engines, engine);
}

/* --- workers --------------------------------------------------------------------------------- */

static size_t count_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (size_t)CPU_COUNT(&set);
}

static int init_workers(struct proxy *p)
{
	size_t n = p->config->workers ? p->config->workers : count_cores();
	struct worker_conf conf = {
		.max_buffers = BUFFERS_PER_WORKER,
		.fds = &p->fds,
		.admission = &p->admission,
		.access_log = p->config->access_log,
		.cut_fd = p->cutter.bell.fd,
	};
	int rc = ports_plan_fds(ports_count(p->config), n, &conf.max_pipes, &p->fds);

	admission_init(&p->admission, p->config->max_connections);
	return rc ? rc : workers_init(&p->workers, n, &conf);
}

static void log_ready(const struct proxy *p)
{
	struct log_record r;

	log_record_begin(&r, LOG_LEVEL_NOTICE, "ready");
	log_record_str(&r, "version", p->version);
	log_record_u64(&r, "workers", p->workers.n);
	log_record_u64(&r, "apps", p->apps.running.n);
	log_record_u64(&r, "listeners", p->ports.n);
	log_record_end(&r);
}

/* --- starting: when the names have had their chance, the workers begin to accept ---------------- */

static bool leaves_wire(const struct proxy *p)
{
	return p->config->wire.at_stop == WIRE_AT_STOP_LEAVE && wiring_can_leave(p->engines.wiring);
}

static void stop_now(struct proxy *p, enum close_reason reason)
{
	if (p->engines.wiring && !leaves_wire(p))
		wire_keeper_kill(wiring_keeper(p->engines.wiring), close_reasons[reason].name);
	workers_stop(&p->workers, reason);
}

static void start_accepting(struct proxy *p)
{
	if (p->workers.running || p->workers.draining)
		return;
	timer_disarm(&p->loop.timers, &p->first_answers);
	if (!workers_start(&p->workers)) {
		log_ready(p);
		return;
	}
	p->failed = true;
	stop_now(p, CLOSE_STOPPED);
}

static void on_follow(struct timer *t)
{
	struct proxy *p = container_of(t, struct proxy, follow);

	if (p->workers.draining)
		return;
	proxy_engines_follow(&p->engines, &p->apps.running);
	health_follow(p->health, &p->apps.running);
}

/* Not for every name by itself: many may have an answer at the same time. */
static void follow_soon(void *arg)
{
	struct proxy *p = arg;

	if (!timer_armed(&p->follow))
		loop_arm_in(&p->loop, &p->follow, FOLLOW_MS * NSEC_PER_MSEC);
}

static void on_check_names(struct work *w)
{
	struct proxy *p = container_of(w, struct proxy, check_names);

	follow_soon(p);
	if (!names_pending(p->names))
		start_accepting(p);
	reload_on_names(p->reload);
}

static void on_first_answers_timeout(struct timer *t)
{
	start_accepting(container_of(t, struct proxy, first_answers));
}

static void on_name_outcome(void *arg)
{
	struct proxy *p = arg;

	loop_again(&p->loop, &p->check_names);
}

static void on_retire(void *arg, struct endpoint_set *set)
{
	struct proxy *p = arg;

	workers_retire(&p->workers, set);
}

/* --- stopping -------------------------------------------------------------------------------- */

static void stop_if_done(struct proxy *p)
{
	bool waits = !leaves_wire(p) && wire_keeper_count(wiring_keeper(p->engines.wiring));

	if (p->workers.draining && !waits && workers_all_done(&p->workers))
		loop_stop(&p->loop);
}

static void on_adopted_gone(void *arg)
{
	stop_if_done(arg);
}

static void on_drain_timeout(struct timer *t)
{
	struct proxy *p = container_of(t, struct proxy, drain_timeout);

	log_warning("DrainTimeout has passed: closing the connections that are left");
	stop_now(p, CLOSE_DRAIN_TIMEOUT);
}

static void drain(struct proxy *p)
{
	uint32_t limit_ms = p->config->drain_timeout_ms;

	log_notice("draining: no new connections; established ones run to their end");
	wiring_drain(p->engines.wiring);
	ports_hide(&p->ports);
	if (leaves_wire(p))
		workers_leave(&p->workers);
	else
		workers_drain(&p->workers);
	if (limit_ms)
		loop_arm_in(&p->loop, &p->drain_timeout, limit_ms * NSEC_PER_MSEC);
}

static void stop_all(struct proxy *p)
{
	log_notice("stopping: closing all connections");
	stop_now(p, CLOSE_STOPPED);
}

/* What rotates logs has moved the file away, and wants no more written to it. */
static void reopen_log(const struct proxy *p)
{
	int rc = log_reopen();

	if (rc)
		log_error("the log file %s can't be opened anew: %s: lines still go to the old one",
			  p->config->log.file, strerror(-rc));
	else
		log_notice("SIGUSR1: the log goes on");
}

static void on_signal(struct watch *w, uint32_t events)
{
	struct proxy *p = container_of(w, struct proxy, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(w->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		log_notice("SIGHUP: reloading %s", p->source->path);
		reload_ask(p->reload, NULL);
	} else if (info.ssi_signo == SIGUSR1) {
		reopen_log(p);
	} else if (info.ssi_signo == SIGTERM && !p->workers.draining) {
		drain(p);
	} else {
		stop_all(p);
	}
	stop_if_done(p);
}

static void on_worker_done(struct watch *w, uint32_t events)
{
	struct proxy *p = container_of(w, struct proxy, worker_done);
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) < 0)
		return;
	workers_run_orphans(&p->workers);
	if (!p->workers.draining) { /* a worker ended by itself: it has said why */
		p->failed = true;
		stop_now(p, CLOSE_INTERNAL);
	}
	stop_if_done(p);
}

/* Signals are blocked before there are threads, which inherit that, and are read from an fd. */
static int watch_signals(struct proxy *p)
{
	sigset_t set;
	int fd, rc;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN); /* splice(2) has no MSG_NOSIGNAL */
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = loop_add(&p->loop, &p->signals, fd, EPOLLIN);
	if (rc)
		close(fd);
	return rc;
}

/* --- admin ----------------------------------------------------------------------------------- */

static int open_socket(struct proxy *p, const struct admin_context *context)
{
	const struct config *c = p->config;
	char why[256];
	int rc;

	if (!*c->admin_socket)
		return 0;
	rc = admin_open(&p->loop, c->admin_socket, context, &p->admin, why, sizeof(why));
	if (rc && !c->admin_socket_is_default) {
		log_error("the admin socket %s can't be made: %s", c->admin_socket, why);
		return rc;
	}
	if (rc)
		log_notice("no admin socket at %s: %s; `shunt status` and the like can't ask this "
			   "daemon",
			   c->admin_socket, why);
	else
		log_info("admin socket: %s", c->admin_socket);
	return 0;
}

static int open_http(struct proxy *p, const struct admin_context *context)
{
	const struct addr *at = &p->config->admin_http;
	char text[ADDR_TEXT_MAX], why[256];
	int rc;

	if (at->sa.sa_family == AF_UNSPEC)
		return 0;
	addr_format(at, text);
	rc = http_open(&p->loop, at, context, &p->http, why, sizeof(why));
	if (rc)
		log_error("Admin.Http: can't listen on %s: %s", text, why);
	else
		log_info("metrics: http://%s/metrics", text);
	return rc;
}

static void on_drain_order(void *daemon)
{
	struct proxy *p = daemon;

	if (!p->workers.draining)
		drain(p);
	stop_if_done(p);
}

static void on_stop_order(void *daemon)
{
	struct proxy *p = daemon;

	stop_all(p);
	stop_if_done(p);
}

static int open_admin(struct proxy *p)
{
	const struct admin_context context = {
		.version = p->version,
		.config = p->config,
		.apps = &p->apps,
		.names = p->names,
		.reload = p->reload,
		.workers = &p->workers,
		.fds = &p->fds,
		.admission = &p->admission,
		.sockmap = p->engines.sockmap,
		.wiring = p->engines.wiring,
		.bypassing = p->engines.bypassing,
		.health = p->health,
		.cutter = &p->cutter,
		.control = { p, on_drain_order, on_stop_order },
	};
	int rc = open_socket(p, &context);

	return rc ? rc : open_http(p, &context);
}

/* --- life ------------------------------------------------------------------------------------ */

static void on_ports_open(void *arg)
{
	(void)arg; /* nobody waits: no worker has begun */
}

static int open_ports(struct proxy *p)
{
	const struct ports_context context = {
		.workers = &p->workers,
		.fds = &p->fds,
		.complain = log_complaint,
	};
	struct ports_plan *plan;
	int rc = apps_check_transparent(&p->apps.running, log_complaint, NULL);

	if (rc)
		return rc;
	rc = ports_plan(&p->ports, &p->apps.running, &context, &plan);
	if (!rc)
		ports_commit(&p->ports, plan, on_ports_open, NULL);
	return rc;
}

static int watch_names(struct proxy *p)
{
	struct names_callbacks cb = { on_retire, on_name_outcome, p };
	int rc;

	p->names = names_new(&p->loop, &cb);
	rc = names_want(p->names, &p->apps.running);
	if (rc) {
		log_error("names can't be resolved: %s", strerror(-rc));
		return rc;
	}
	names_use(p->names, &p->apps.running);
	loop_again(&p->loop, &p->check_names);
	loop_arm_in(&p->loop, &p->first_answers, FIRST_ANSWERS_MAX_MS * NSEC_PER_MSEC);
	return 0;
}

static int open_reload(struct proxy *p)
{
	const struct reload_context context = {
		.loop = &p->loop,
		.source = p->source,
		.config = p->config,
		.apps = &p->apps,
		.names = p->names,
		.ports = &p->ports,
		.workers = &p->workers,
		.fds = &p->fds,
		.admission = &p->admission,
		.engine_runs = engine_runs,
		.switched = follow_soon,
		.arg = p,
	};

	return reload_open(&context, &p->reload);
}

static void start_engines(struct proxy *p)
{
	const struct proxy_engines_context context = {
		.config = p->config,
		.apps = &p->apps.running,
		.loop = &p->loop,
		.workers = &p->workers,
		.on_adopted_gone = on_adopted_gone,
		.arg = p,
	};

	proxy_engines_start(&p->engines, &context);
}

static void start_health(struct proxy *p)
{
	const struct health_context context = {
		.loop = &p->loop,
		.fds = &p->fds,
		.cutter = &p->cutter,
	};

	p->cutter.wiring = p->engines.wiring;
	p->health = health_new(&context);
	health_follow(p->health, &p->apps.running);
}

static int start(struct proxy *p)
{
	int rc = loop_init(&p->loop);

	if (!rc)
		rc = watch_signals(p);
	if (!rc)
		rc = log_start();
	if (rc) {
		log_error("can't start: %s", strerror(-rc));
		return rc;
	}
	rc = cutter_open(&p->cutter, &p->loop, &p->workers, &p->apps);
	if (!rc)
		rc = init_workers(p);
	if (rc)
		return rc;
	p->apps.running = apps_make(p->config, NULL, NULL);
	rc = proxy_engines_probe(&p->apps.running, log_complaint, NULL);
	if (rc)
		return rc;
	/* Before the probe, which takes its time: clients may queue meanwhile. */
	rc = open_ports(p);
	if (rc)
		return rc;
	start_engines(p);
	loop_look_at_clock(&p->loop);
	start_health(p);
	for (size_t i = 0; i < p->apps.running.n; i++)
		app_log(p->apps.running.list[i]);
	rc = watch_names(p);
	if (!rc)
		rc = open_reload(p);
	if (!rc)
		rc = open_admin(p);
	return rc ? rc : loop_add(&p->loop, &p->worker_done, p->workers.done_fd, EPOLLIN);
}

static void finish(struct proxy *p)
{
	/* Whoever ends without having been told to leaves what can go on without him. */
	bool leave = !p->workers.draining || leaves_wire(p);

	names_free(p->names);
	health_free(p->health);
	workers_close(&p->workers);
	cutter_close(&p->cutter);
	admission_destroy(&p->admission);
	admin_close(p->admin);
	http_close(p->http);
	proxy_engines_close(&p->engines, leave);
	reload_close(p->reload);
	ports_free(&p->ports);
	apps_free(&p->apps);
	if (p->signals.fd >= 0)
		close(p->signals.fd);
	loop_close(&p->loop);
	config_free(p->config);
}

int proxy_run(struct config *config, const struct reload_source *source, const char *version)
{
	struct proxy p = {
		.config = config,
		.source = source,
		.version = version,
		.loop.epoll_fd = -1,
		.workers.done_fd = -1,
		.signals = { .fd = -1, .ready = on_signal },
		.worker_done = { .fd = -1, .ready = on_worker_done },
	};
	int rc;

	work_init(&p.check_names, on_check_names);
	timer_init(&p.first_answers, on_first_answers_timeout);
	timer_init(&p.drain_timeout, on_drain_timeout);
	timer_init(&p.follow, on_follow);
	rc = start(&p);
	if (!rc)
		rc = loop_run(&p.loop);
	if (!rc && p.failed)
		rc = -EIO;
	finish(&p);
	if (!rc)
		log_notice("stopped");
	log_stop();
	return rc;
}
