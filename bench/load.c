/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's load, on both sides of what is measured: an echo server, and clients that send a
 * message and wait for its echo, on lasting connections (rr) or on a new one for each message
 * (churn). Closed loop: each connection has one message under way. Latencies go into log-linear
 * histograms, a thread each; the result is one JSON object on standard output.
 */
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addr.h"
#include "util.h"

#define MESSAGE_MAX_BYTES (1u << 20)
#define CONNECTIONS_MAX 10000
#define THREADS_MAX 64
#define SECONDS_MAX 3600
#define ERRORS_MAX 1000 /* after so many a thread gives up */
#define EVENTS_PER_TURN 64
#define TURN_MAX_MS 50
#define LISTEN_BACKLOG 4096

/* As in HDR histograms: 64 buckets for each power of two, so that a value is known to 1.6 percent. */
#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_SUB (1u << HISTOGRAM_SUB_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB)

struct histogram {
	uint64_t count[HISTOGRAM_BUCKETS];
	uint64_t total, max;
};

struct options {
	struct addr at;
	unsigned int connections, threads, size, seconds, warmup_ms;
	bool churn;
};

struct conn {
	int fd;
	size_t sent, received; /* of the message under way */
	uint64_t started_ns;   /* when it (churn: its connect) began */
};

struct client {
	const struct options *o;
	pthread_t thread;
	int epoll_fd;
	unsigned int n;
	struct conn *conns;
	char *buffer;
	uint64_t measure_ns, end_ns; /* what ends between these two is measured */
	uint64_t all_messages;       /* also those of the warm-up */
	uint64_t errors;
	struct histogram latency;
};

static const char message[MESSAGE_MAX_BYTES];

static void die(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static unsigned int histogram_bucket(uint64_t v)
{
	unsigned int shift;

	if (v < HISTOGRAM_SUB)
		return (unsigned int)v;
	shift = 63u - (unsigned int)__builtin_clzll(v) - HISTOGRAM_SUB_BITS;
	return (shift + 1) * HISTOGRAM_SUB + (unsigned int)((v >> shift) - HISTOGRAM_SUB);
}

/* The highest value that goes into a bucket. */
static uint64_t histogram_value(unsigned int bucket)
{
	unsigned int shift;

	if (bucket < HISTOGRAM_SUB)
		return bucket;
	shift = bucket / HISTOGRAM_SUB - 1;
	return ((uint64_t)(bucket % HISTOGRAM_SUB + HISTOGRAM_SUB + 1) << shift) - 1;
}

static void histogram_add(struct histogram *h, uint64_t v)
{
	h->count[histogram_bucket(v)]++;
	h->total++;
	h->max = MAX(h->max, v);
}

static void histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->count[i] += from->count[i];
	into->total += from->total;
	into->max = MAX(into->max, from->max);
}

static uint64_t histogram_quantile(const struct histogram *h, double q)
{
	uint64_t wanted = (uint64_t)((double)h->total * q), seen = 0;

	for (unsigned int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->count[i];
		if (seen > wanted)
			return MIN(histogram_value(i), h->max);
	}
	return h->max;
}

static void set_nodelay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* Edge-triggered for both directions: one epoll_ctl() in a connection's life. */
static int watch(int epoll_fd, int fd, void *data)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = data };

	return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* 0 or -1. The connect may still be under way. */
static int conn_open(struct client *cl, struct conn *c)
{
	*c = (struct conn){ .started_ns = clock_ns() };
	c->fd = socket(cl->o->at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -1;
	set_nodelay(c->fd);
	if (connect(c->fd, &cl->o->at.sa, addr_len(&cl->o->at)) < 0 && errno != EINPROGRESS)
		return -1;
	return watch(cl->epoll_fd, c->fd, c);
}

/* Moves the message under way on. 1: its echo is complete; 0: to be continued; -1: error or early
 * end. */
static int conn_advance(struct client *cl, struct conn *c)
{
	ssize_t n;

	while (c->sent < cl->o->size) {
		n = send(c->fd, message, cl->o->size - c->sent, MSG_NOSIGNAL);
		if (n < 0)
			break;
		c->sent += (size_t)n;
	}
	if (c->sent < cl->o->size && errno != EAGAIN)
		return -1;
	while (c->received < c->sent) {
		n = recv(c->fd, cl->buffer, c->sent - c->received, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		c->received += (size_t)n;
	}
	return c->received == cl->o->size;
}

static void message_done(struct client *cl, struct conn *c)
{
	uint64_t now = clock_ns();

	cl->all_messages++;
	if (now >= cl->measure_ns && now < cl->end_ns)
		histogram_add(&cl->latency, now - c->started_ns);
	c->sent = c->received = 0;
	c->started_ns = now;
}

static void conn_ready(struct client *cl, struct conn *c)
{
	int r = conn_advance(cl, c);

	if (!r)
		return;
	if (r > 0) {
		message_done(cl, c);
		/* The next echo can't be there yet, and will be an edge when it is. */
		if (!cl->o->churn && conn_advance(cl, c) >= 0)
			return;
	}
	cl->errors += r < 0 || !cl->o->churn;
	conn_close(c);
	if (conn_open(cl, c) < 0) {
		cl->errors++;
		conn_close(c);
	}
}

static void *client_run(void *arg)
{
	struct client *cl = arg;
	struct epoll_event events[EVENTS_PER_TURN];
	uint64_t start = clock_ns();

	cl->measure_ns = start + cl->o->warmup_ms * NSEC_PER_MSEC;
	cl->end_ns = cl->measure_ns + cl->o->seconds * NSEC_PER_SEC;
	for (unsigned int i = 0; i < cl->n; i++) {
		if (conn_open(cl, &cl->conns[i]) < 0)
			die("connect");
	}
	while (clock_ns() < cl->end_ns && cl->errors < ERRORS_MAX) {
		int n = epoll_wait(cl->epoll_fd, events, EVENTS_PER_TURN, TURN_MAX_MS);

		for (int i = 0; i < n; i++)
			conn_ready(cl, events[i].data.ptr);
	}
	for (unsigned int i = 0; i < cl->n; i++)
		conn_close(&cl->conns[i]);
	return NULL;
}

static void client_init(struct client *cl, const struct options *o, unsigned int nth)
{
	cl->o = o;
	cl->n = o->connections / o->threads + (nth < o->connections % o->threads);
	cl->conns = xcalloc(cl->n, sizeof(*cl->conns));
	cl->buffer = xcalloc(1, o->size);
	cl->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (cl->epoll_fd < 0)
		die("epoll_create1");
}

static void print_result(const struct options *o, const struct client *all)
{
	const struct histogram *h = &all->latency;

	printf("{\"connections\": %u, \"size\": %u, \"seconds\": %u, \"messages\": %lu, "
	       "\"all_messages\": %lu, \"errors\": %lu, \"rate\": %.1f, ",
	       o->connections, o->size, o->seconds, h->total, all->all_messages, all->errors,
	       (double)h->total / o->seconds);
	printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
	       (double)histogram_quantile(h, 0.5) / 1e3, (double)histogram_quantile(h, 0.99) / 1e3,
	       (double)histogram_quantile(h, 0.999) / 1e3, (double)h->max / 1e3);
}

static int run_clients(const struct options *o)
{
	struct client *clients = xcalloc(o->threads, sizeof(*clients));
	struct client *all = xcalloc(1, sizeof(*all));

	for (unsigned int i = 0; i < o->threads; i++) {
		client_init(&clients[i], o, i);
		errno = pthread_create(&clients[i].thread, NULL, client_run, &clients[i]);
		if (errno)
			die("pthread_create");
	}
	for (unsigned int i = 0; i < o->threads; i++) {
		struct client *cl = &clients[i];

		pthread_join(cl->thread, NULL);
		histogram_merge(&all->latency, &cl->latency);
		all->all_messages += cl->all_messages;
		all->errors += cl->errors;
		close(cl->epoll_fd);
		free(cl->conns);
		free(cl->buffer);
	}
	print_result(o, all);
	free(clients);
	free(all);
	return EXIT_SUCCESS;
}

/* An echo connection: what was received and could not be sent yet waits in its buffer, and is never
 * added to. */
struct echo {
	int fd;
	size_t from, to;
	char buffer[65536];
};

static struct echo *echo_new(int fd)
{
	struct echo *e = malloc(sizeof(*e));

	if (e) {
		e->fd = fd;
		e->from = e->to = 0;
	}
	return e;
}

/* 0: to be continued; -1: it is over. */
static int echo_advance(struct echo *e)
{
	for (;;) {
		ssize_t n;

		while (e->from < e->to) {
			n = send(e->fd, e->buffer + e->from, e->to - e->from, MSG_NOSIGNAL);
			if (n < 0)
				return errno == EAGAIN ? 0 : -1;
			e->from += (size_t)n;
		}
		n = recv(e->fd, e->buffer, sizeof(e->buffer), 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		e->from = 0;
		e->to = (size_t)n;
	}
}

static void echo_accept(int epoll_fd, int listener)
{
	int fd;

	/* epoll holds what the loop lets go, and hands it back with each event. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct echo *e = echo_new(fd);

		set_nodelay(fd);
		if (!e || watch(epoll_fd, fd, e) < 0) {
			free(e);
			close(fd);
		}
	}
}

static int listen_at(const struct addr *at)
{
	int fd = socket(at->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, &at->sa, addr_len(at)) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		die("listen");
	return fd;
}

/* Serves until the process is killed. */
static void *echo_run(void *arg)
{
	const struct options *o = arg;
	struct epoll_event events[EVENTS_PER_TURN];
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), listener = listen_at(&o->at);

	if (epoll_fd < 0 || watch(epoll_fd, listener, NULL) < 0)
		die("epoll");
	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);

		for (int i = 0; i < n; i++) {
			struct echo *e = events[i].data.ptr;

			if (!e) {
				echo_accept(epoll_fd, listener);
			} else if (echo_advance(e) < 0) {
				close(e->fd);
				free(e);
			}
		}
	}
	return NULL;
}

static int run_echo(struct options *o)
{
	pthread_t thread;

	for (unsigned int i = 1; i < o->threads; i++) {
		errno = pthread_create(&thread, NULL, echo_run, o);
		if (errno)
			die("pthread_create");
	}
	echo_run(o);
	return EXIT_SUCCESS;
}

static int usage(void)
{
	fputs("Usage: shunt-load echo  ADDRESS:PORT [-t THREADS]\n"
	      "       shunt-load rr    ADDRESS:PORT [-c CONNECTIONS] [-s BYTES] [-d SECONDS]\n"
	      "                        [-w WARMUP_MS] [-t THREADS]\n"
	      "       shunt-load churn ADDRESS:PORT, with the same options\n",
	      stderr);
	return 2;
}

static bool parse_number(const char *text, unsigned int min, unsigned int max, unsigned int *out)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	*out = (unsigned int)n;
	return *text >= '0' && *text <= '9' && !*end && n >= min && n <= max;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
	int option;
	bool ok = true;

	while (ok && (option = getopt(argc, argv, "c:s:d:w:t:")) != -1) {
		if (option == 'c')
			ok = parse_number(optarg, 1, CONNECTIONS_MAX, &o->connections);
		else if (option == 's')
			ok = parse_number(optarg, 1, MESSAGE_MAX_BYTES, &o->size);
		else if (option == 'd')
			ok = parse_number(optarg, 1, SECONDS_MAX, &o->seconds);
		else if (option == 'w')
			ok = parse_number(optarg, 0, SECONDS_MAX * 1000, &o->warmup_ms);
		else if (option == 't')
			ok = parse_number(optarg, 1, THREADS_MAX, &o->threads);
		else
			ok = false;
	}
	return ok;
}

int main(int argc, char **argv)
{
	struct options o = { .connections = 1, .threads = 1, .size = 64, .seconds = 5 };
	struct host_port at;
	const char *why;

	if (!parse_options(argc, argv, &o) || argc - optind != 2)
		return usage();
	if (host_port_parse(argv[optind + 1], &at, &why) < 0 || addr_parse_host(at.host, &o.at) < 0)
		return usage();
	addr_set_port(&o.at, at.port);
	if (!strcmp(argv[optind], "echo"))
		return run_echo(&o);
	o.churn = !strcmp(argv[optind], "churn");
	if (!o.churn && strcmp(argv[optind], "rr"))
		return usage();
	o.threads = MIN(o.threads, o.connections);
	return run_clients(&o);
}
