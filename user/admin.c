/* SPDX-License-Identifier: MIT */
/*
 * A client is in one of three phases: reading a request, waiting for the workers to tell of their
 * sessions, answering. serve() takes it as far as it goes without waiting, and one buffer's worth
 * of an answer a turn, so that a client that reads fast holds up nobody. While a request is under
 * way no other is read; epoll is level-triggered, and asked only for what the phase can use.
 */
#include "admin.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "admin_command.h"
#include "log.h"
#include "unix_socket.h"

#define OUT_HIGH_BYTES (64u << 10) /* rows are made while less than this waits to be read */
#define OUT_FIRST_BYTES 4096u

enum phase { PHASE_READING, PHASE_WAITING, PHASE_ANSWERING };

struct client {
	struct admin *admin;
	struct list link;
	struct watch watch;
	struct timer timer;
	struct work destroy;
	enum phase phase;
	bool eof;    /* it will ask nothing more */
	bool broken; /* nothing can be sent to it any more */
	struct admin_request request;
	struct reload_waiter reload;
	uint64_t rows; /* of this answer */
	size_t out_at, out_len, out_size;
	char *out;                            /* what waits: out[out_at .. out_len) */
	size_t in_at, in_len;                 /* what has been received: in[in_at .. in_len) */
	char in[ADMIN_REQUEST_MAX_BYTES + 1]; /* and a NUL */
};

struct admin {
	struct loop *loop;
	struct admin_context context;
	struct unix_socket socket;
	struct watch listener;
	struct flows_desk desk;
	uint64_t started_ns;
	struct list clients;
	size_t n_clients;
};

/* --- out ------------------------------------------------------------------------------------- */

static size_t waiting(const struct client *c)
{
	return c->out_len - c->out_at;
}

static void put_bytes(struct client *c, const char *bytes, size_t n)
{
	if (c->out_size - c->out_len < n) {
		c->out_size = MAX(MAX(OUT_FIRST_BYTES, 2 * c->out_size), c->out_len + n);
		c->out = xreallocarray(c->out, c->out_size, 1);
	}
	memcpy(c->out + c->out_len, bytes, n);
	c->out_len += n;
}

static void put_line(struct client *c, const cJSON *line)
{
	char *text = cJSON_PrintUnformatted(line);

	if (!text) { /* half an answer must not look like a whole one */
		c->broken = true;
		return;
	}
	put_bytes(c, text, strlen(text));
	put_bytes(c, "\n", 1);
	free(text);
}

static void put_error(struct client *c, const char *error)
{
	cJSON *line = cJSON_CreateObject();

	cJSON_AddStringToObject(line, "error", error);
	put_line(c, line);
	cJSON_Delete(line);
}

static void flush(struct client *c)
{
	while (waiting(c) && !c->broken) {
		ssize_t n = send(c->watch.fd, c->out + c->out_at, waiting(c),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n >= 0)
			c->out_at += (size_t)n;
		else if (errno != EINTR)
			c->broken = true;
	}
	if (!c->out_at)
		return;
	c->out_len -= c->out_at;
	memmove(c->out, c->out + c->out_at, c->out_len);
	c->out_at = 0;
}

/* --- in -------------------------------------------------------------------------------------- */

static void receive(struct client *c)
{
	ssize_t n = recv(c->watch.fd, c->in + c->in_len, ADMIN_REQUEST_MAX_BYTES - c->in_len,
			 MSG_DONTWAIT);

	if (n > 0)
		c->in_len += (size_t)n;
	else if (n == 0)
		c->eof = true;
	else if (errno != EAGAIN && errno != EINTR)
		c->broken = true;
}

/* The length of the next line, its end included; the last one may lack that. 0: there is none. */
static size_t line_length(const struct client *c)
{
	const char *start = c->in + c->in_at, *end = memchr(start, '\n', c->in_len - c->in_at);

	if (end)
		return (size_t)(end - start) + 1;
	return c->eof ? c->in_len - c->in_at : 0;
}

static bool is_blank(const char *line)
{
	return !line[strspn(line, " \t\r\n")];
}

/* --- the way of a request -------------------------------------------------------------------- */

static void serve(struct client *c);

static void end_request(struct client *c, const char *error)
{
	cJSON *line;

	c->phase = PHASE_READING;
	if (error) {
		put_error(c, error);
	} else {
		line = cJSON_CreateObject();
		cJSON_AddTrueToObject(line, "end");
		cJSON_AddNumberToObject(line, "rows", (double)c->rows);
		put_line(c, line);
		cJSON_Delete(line);
	}
	admin_request_end(&c->request);
}

static void on_flows(struct flows *f, void *arg)
{
	struct client *c = arg;

	c->phase = PHASE_ANSWERING;
	if (atomic_load(&f->failed))
		end_request(c, "a worker had no memory to tell of its sessions: ask again later");
	serve(c);
}

static void on_reload(struct reload_waiter *w, struct reload_answer *answer)
{
	struct client *c = container_of(w, struct client, reload);

	c->request.reloaded = answer;
	c->phase = PHASE_ANSWERING;
	serve(c);
}

static void ask_for_reload(struct client *c)
{
	struct reload *reload = c->admin->context.reload;

	if (!reload) {
		end_request(c, "this daemon's configuration can't be read again");
		return;
	}
	c->phase = PHASE_WAITING;
	reload_ask(reload, &c->reload);
}

static void begin_request(struct client *c, const char *line)
{
	struct admin *a = c->admin;
	char error[ADMIN_ERROR_MAX];

	if (is_blank(line))
		return;
	if (admin_request_parse(&c->request, &a->context, line, error)) {
		end_request(c, error);
		return;
	}
	c->request.started_ns = a->started_ns;
	c->rows = 0;
	c->phase = PHASE_ANSWERING;
	if (c->request.command->wants_reload) {
		ask_for_reload(c);
	} else if (c->request.command->wants_flows) {
		c->phase = PHASE_WAITING;
		c->request.flows = flows_ask(&a->desk, on_flows, c);
	}
}

static void take_requests(struct client *c)
{
	size_t n;

	while (c->phase == PHASE_READING && waiting(c) < OUT_HIGH_BYTES &&
	       (n = line_length(c)) != 0) {
		char *line = c->in + c->in_at, after = line[n];

		line[n] = '\0';
		begin_request(c, line);
		line[n] = after;
		c->in_at += n;
	}
	c->in_len -= c->in_at;
	memmove(c->in, c->in + c->in_at, c->in_len);
	c->in_at = 0;
	if (c->phase != PHASE_READING || c->in_len < ADMIN_REQUEST_MAX_BYTES || line_length(c))
		return;
	/* Where the next request begins can't be known. */
	put_error(c, "a request must be one line of at most 64 KiB");
	c->in_len = 0;
	c->eof = true;
}

static void make_rows(struct client *c)
{
	while (c->phase == PHASE_ANSWERING && waiting(c) < OUT_HIGH_BYTES && !c->broken) {
		cJSON *row = cJSON_CreateObject();

		if (c->request.command->run(&c->request, row)) {
			put_line(c, row);
			c->rows++;
		} else {
			end_request(c, c->request.error);
		}
		cJSON_Delete(row);
	}
}

/* --- clients --------------------------------------------------------------------------------- */

static void client_free(struct client *c)
{
	free(c->out);
	free(c);
}

static void on_destroy(struct work *w)
{
	client_free(container_of(w, struct client, destroy));
}

static void client_close(struct client *c)
{
	struct admin *a = c->admin;
	int fd = c->watch.fd;

	if (c->phase == PHASE_WAITING) {
		flows_forget(c->request.flows);
		c->request.flows = NULL;
	}
	reload_forget(&c->reload);
	admin_request_end(&c->request);
	loop_remove(a->loop, &c->watch);
	close(fd);
	timer_disarm(&a->loop->timers, &c->timer);
	list_del(&c->link);
	a->n_clients--;
	loop_defer(a->loop, &c->destroy);
}

/*
 * Is it the client's turn to read? Also with nothing in the buffer: the socket takes all of it, and
 * is writable again only when much of that has been read.
 */
static bool must_read(const struct client *c)
{
	if (waiting(c))
		return true;
	return c->phase == PHASE_READING ? line_length(c) != 0 : c->phase == PHASE_ANSWERING;
}

/* Waits for what the phase can use; and not for ever. */
static void wait_for_events(struct client *c)
{
	uint32_t events = 0;

	if (must_read(c))
		events = EPOLLOUT;
	else if (c->phase == PHASE_READING && !c->eof)
		events = EPOLLIN;
	if (loop_change(c->admin->loop, &c->watch, events)) {
		client_close(c);
		return;
	}
	loop_arm_in(c->admin->loop, &c->timer,
		    (must_read(c) ? ADMIN_STALL_MAX_MS : ADMIN_IDLE_MAX_MS) * NSEC_PER_MSEC);
}

static void serve(struct client *c)
{
	take_requests(c);
	make_rows(c);
	flush(c);
	if (c->broken || (c->eof && c->phase == PHASE_READING && !c->in_len && !waiting(c)))
		client_close(c);
	else
		wait_for_events(c);
}

static void on_client(struct watch *w, uint32_t events)
{
	struct client *c = container_of(w, struct client, watch);

	if (events & EPOLLIN)
		receive(c);
	else if (events & (EPOLLERR | EPOLLHUP))
		c->broken = true;
	serve(c);
}

static void on_timeout(struct timer *t)
{
	struct client *c = container_of(t, struct client, timer);

	if (must_read(c))
		log_notice("a client of the admin socket has not read its answer for %d s: closed",
			   ADMIN_STALL_MAX_MS / 1000);
	client_close(c);
}

/* 0 or -errno, and then the fd is still the caller's. */
static int client_open(struct admin *a, int fd)
{
	struct client *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->admin = a;
	c->watch = (struct watch){ .fd = -1, .ready = on_client };
	c->reload.done = on_reload;
	list_init(&c->reload.link);
	timer_init(&c->timer, on_timeout);
	work_init(&c->destroy, on_destroy);
	rc = loop_add(a->loop, &c->watch, fd, EPOLLIN);
	if (rc) {
		client_free(c);
		return rc;
	}
	list_append(&a->clients, &c->link);
	a->n_clients++;
	loop_arm_in(a->loop, &c->timer, ADMIN_IDLE_MAX_MS * NSEC_PER_MSEC);
	return 0;
}

static void refuse(int fd)
{
	static const char error[] = "{\"error\":\"too many clients at the admin socket: close "
				    "another one first\"}\n";

	/* A fresh socket has room for it. */
	if (send(fd, error, strlen(error), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("a client of the admin socket could not be told that there are too many");
	close(fd);
}

/* Edge-triggered: when there is no fd left, the next client's arrival is the next try. */
static void on_listener(struct watch *w, uint32_t events)
{
	struct admin *a = container_of(w, struct admin, listener);
	int fd;

	(void)events;
	while ((fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0 ||
	       errno == ECONNABORTED || errno == EINTR) {
		if (fd < 0)
			continue;
		if (a->n_clients >= ADMIN_CLIENTS_MAX || client_open(a, fd))
			refuse(fd);
	}
	if (errno != EAGAIN)
		log_warning("a client of the admin socket can't be accepted: %m");
}

/* --- life ------------------------------------------------------------------------------------ */

int admin_open(struct loop *loop, const char *path, const struct admin_context *context,
	       struct admin **out, char *why, size_t size)
{
	struct admin *a = xcalloc(1, sizeof(*a));
	int rc;

	*a = (struct admin){
		.loop = loop,
		.context = *context,
		.socket.fd = -1,
		.listener = { .fd = -1, .ready = on_listener },
		.started_ns = clock_ns(),
	};
	list_init(&a->clients);
	rc = flows_desk_open(&a->desk, loop, context->workers);
	if (rc)
		snprintf(why, size, "%s", strerror(-rc));
	else
		rc = unix_socket_open(&a->socket, path, 0600, ADMIN_CLIENTS_MAX, why, size);
	if (!rc) {
		rc = loop_add(loop, &a->listener, a->socket.fd, EPOLLIN | EPOLLET);
		if (rc)
			snprintf(why, size, "%s", strerror(-rc));
	}
	if (rc) {
		admin_close(a);
		a = NULL;
	}
	*out = a;
	return rc;
}

void admin_close(struct admin *a)
{
	if (!a)
		return;
	loop_remove(a->loop, &a->listener);
	unix_socket_close(&a->socket);
	list_for_each_safe(e, &a->clients) {
		struct client *c = list_entry(e, struct client, link);

		client_close(c);
		/* The loop runs no more: nothing refers to it, and nobody else would free it. */
		work_cancel(&c->destroy);
		client_free(c);
	}
	flows_desk_close(&a->desk);
	free(a);
}
