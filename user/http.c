/* SPDX-License-Identifier: MIT */
/*
 * libmicrohttpd keeps its sockets in an epoll of its own, which is one fd in ours: when that is
 * readable, or the time has come that it asked for, MHD_run() does all that can be done without
 * waiting. A request that needs the workers' answer is suspended meanwhile, and its handler is
 * called once more when it is there.
 */
#include "http.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "flows.h"
#include "log.h"
#include "metrics.h"
#include "net.h"

#define PLAIN_TEXT "text/plain; charset=utf-8"

struct http {
	struct loop *loop;
	struct admin_context context;
	struct MHD_Daemon *daemon;
	struct watch watch; /* the daemon's epoll */
	struct timer timer; /* when it wants to run though nothing happens */
	struct work run;    /* it has more to do at once */
	struct flows_desk desk;
	struct list waiting; /* requests that are suspended */
};

struct request {
	struct http *http;
	struct MHD_Connection *connection;
	struct list link; /* in http->waiting */
	struct flows *flows;
	bool answered; /* the flows are there */
};

typedef enum MHD_Result handler_fn(struct request *r);

/* --- answers --------------------------------------------------------------------------------- */

/* Takes over the text, which is to be freed; NULL: there was no memory for it. */
static enum MHD_Result answer_with(struct request *r, unsigned int status, const char *type,
				   char *text, size_t len)
{
	struct MHD_Response *response;
	enum MHD_Result result;

	if (!text)
		return MHD_NO; /* closes the connection */
	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(r->connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer(struct request *r, unsigned int status, const char *text)
{
	return answer_with(r, status, PLAIN_TEXT, strdup(text), strlen(text));
}

/* --- pages ----------------------------------------------------------------------------------- */

/* That the main thread answers is the news. */
static enum MHD_Result get_health(struct request *r)
{
	return answer(r, MHD_HTTP_OK, "ok\n");
}

static enum MHD_Result get_readiness(struct request *r)
{
	const struct workers *ws = r->http->context.workers;
	char text[32];

	snprintf(text, sizeof(text), "%s\n", workers_state(ws));
	return answer(r, workers_ready(ws) ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

static void on_flows(struct flows *f, void *arg)
{
	struct request *r = arg;
	struct http *h = r->http;

	(void)f; /* is r->flows */
	r->answered = true;
	list_del(&r->link);
	MHD_resume_connection(r->connection);
	loop_again(h->loop, &h->run);
}

static enum MHD_Result get_metrics(struct request *r)
{
	size_t len = 0;
	char *text;

	if (!r->flows) {
		MHD_suspend_connection(r->connection);
		list_append(&r->http->waiting, &r->link);
		r->flows = flows_ask(&r->http->desk, on_flows, r);
		return MHD_YES;
	}
	if (atomic_load(&r->flows->failed))
		return answer(r, MHD_HTTP_SERVICE_UNAVAILABLE,
			      "a worker had no memory to tell of its connections\n");
	text = metrics_render(&r->http->context, r->flows, &len);
	return answer_with(r, MHD_HTTP_OK, METRICS_CONTENT_TYPE, text, len);
}

static const struct {
	const char *path;
	handler_fn *get;
} pages[] = {
	{ "/metrics", get_metrics },
	{ "/healthz", get_health },
	{ "/readyz", get_readiness },
};

static enum MHD_Result get(struct request *r, const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		if (!strcmp(pages[i].path, path))
			return pages[i].get(r);
	return answer(r, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz\n");
}

/* --- requests -------------------------------------------------------------------------------- */

/*
 * First with the head alone, then with the body until all of it has come, and, after a suspension,
 * again.
 */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *body,
				  size_t *body_len, void **state)
{
	struct request *r = *state;

	(void)version;
	(void)body;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return MHD_NO;
		r->http = arg;
		r->connection = connection;
		list_init(&r->link);
		*state = r;
		return MHD_YES;
	}
	if (*body_len) { /* is of no interest */
		*body_len = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return answer(r, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD is what works here\n");
	return get(r, path);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode how)
{
	struct request *r = *state;

	(void)arg;
	(void)connection;
	(void)how;
	if (!r)
		return;
	list_del(&r->link);
	if (r->answered)
		flows_free(r->flows);
	else
		flows_forget(r->flows);
	free(r);
	*state = NULL;
}

/*
 * At its limit of clients MHD no longer waits for new ones, and finds that there is room again only
 * in the MHD_run() after the one in which a client has gone: nothing else may ever ask for that.
 */
static void on_connection(void *arg, struct MHD_Connection *connection, void **state,
			  enum MHD_ConnectionNotificationCode what)
{
	struct http *h = arg;

	(void)connection;
	(void)state;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED)
		loop_again(h->loop, &h->run);
}

static void printf_like(2, 0) on_message(void *arg, const char *fmt, va_list args)
{
	char text[256];

	(void)arg;
	vsnprintf(text, sizeof(text), fmt, args);
	text[strcspn(text, "\n")] = '\0';
	log_debug("http: %s", text);
}

/* --- the loop -------------------------------------------------------------------------------- */

static void run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	MHD_run(h->daemon);
	timer_disarm(&h->loop->timers, &h->timer);
	if (MHD_get_timeout(h->daemon, &wait_ms) != MHD_YES)
		return;
	if (wait_ms)
		loop_arm_in(h->loop, &h->timer, wait_ms * NSEC_PER_MSEC);
	else
		loop_again(h->loop, &h->run);
}

static void on_ready(struct watch *w, uint32_t events)
{
	(void)events;
	run(container_of(w, struct http, watch));
}

static void on_timer(struct timer *t)
{
	run(container_of(t, struct http, timer));
}

static void on_run(struct work *w)
{
	run(container_of(w, struct http, run));
}

/* --- life ------------------------------------------------------------------------------------ */

/* The daemon has the listening socket from then on. 0 or -errno. */
static int start_daemon(struct http *h, int listener)
{
	const union MHD_DaemonInfo *info;

	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
		on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
		MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_CONNECTION_LIMIT,
		HTTP_CLIENTS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)HTTP_CLIENT_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, HTTP_SILENCE_MAX_S,
		MHD_OPTION_END);
	if (!h->daemon) {
		close(listener);
		return -ENOMEM;
	}
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	return loop_add(h->loop, &h->watch, info->epoll_fd, EPOLLIN);
}

static int start(struct http *h, const struct addr *at)
{
	int fd, rc = flows_desk_open(&h->desk, h->loop, h->context.workers);

	if (rc)
		return rc;
	fd = net_bind(at, 0, false);
	if (fd < 0)
		return fd;
	rc = net_listen(fd, NET_BACKLOG);
	if (!rc)
		return start_daemon(h, fd);
	close(fd);
	return rc;
}

int http_open(struct loop *loop, const struct addr *at, const struct admin_context *context,
	      struct http **out, char *why, size_t size)
{
	struct http *h = xcalloc(1, sizeof(*h));
	int rc;

	h->loop = loop;
	h->context = *context;
	h->watch = (struct watch){ .fd = -1, .ready = on_ready };
	timer_init(&h->timer, on_timer);
	work_init(&h->run, on_run);
	list_init(&h->waiting);
	rc = start(h, at);
	if (rc) {
		snprintf(why, size, "%s", strerror(-rc));
		http_close(h);
		h = NULL;
	}
	*out = h;
	return rc;
}

void http_close(struct http *h)
{
	if (!h)
		return;
	timer_disarm(&h->loop->timers, &h->timer);
	if (h->watch.fd >= 0)
		loop_remove(h->loop, &h->watch);
	/* It must not be stopped while a request of it is suspended. */
	while (!list_empty(&h->waiting)) {
		struct request *r = list_entry(h->waiting.next, struct request, link);

		list_del(&r->link);
		MHD_resume_connection(r->connection);
	}
	if (h->daemon)
		MHD_stop_daemon(h->daemon);
	work_cancel(&h->run); /* the end of its clients asks for it */
	flows_desk_close(&h->desk);
	free(h);
}
