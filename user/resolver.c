/* SPDX-License-Identifier: MIT */
/*
 * The resolver. A query is one watched name: it waits for its turn, is under way, or sleeps until
 * its answer has expired. Lookups are started by a work of the loop and nowhere else, so c-ares is
 * never entered from within a callback, its own or the caller's; and at most LOOKUPS_UNDER_WAY_MAX
 * at once, so that a big config's start is no burst. A query whose name was unwatched while under
 * way lives on without a name until its lookup ends. Whatever calls back does so as the last thing
 * that it does: the query may be gone afterwards.
 */
#include "resolver.h"

#include <ares.h>
#include <string.h>
#include <sys/stat.h>

#define LOOKUPS_UNDER_WAY_MAX 64
#define LOOKUPS_PER_TURN 16 /* each may read the hosts file: other events come in between */
/* A name server that is dead gives 600 + 1200 ms, c-ares doubles, until the first outcome. */
#define LOOKUP_TIMEOUT_MS 600
#define LOOKUP_TRIES 2
#define RETRY_JITTER_PERCENT 10
#define RESOLV_CONF "/etc/resolv.conf"

/* What tells one version of a file from another; all zero when there is no file. */
struct file_version {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime;
};

struct resolver {
	struct loop *loop;
	ares_channel channel;
	struct file_version resolv_conf; /* as the channel has read it */
	struct work start;
	struct timer timeout; /* c-ares's next */
	struct list queries;  /* all of them, and owned */
	struct list waiting;  /* for their lookup to start */
	struct list sockets;
	size_t under_way, pending;
	bool starting; /* within ares_getaddrinfo(): an answer now is not from the network */
	uint64_t rng;
};

/* A socket of c-ares's, which opens and closes it. */
struct resolver_socket {
	struct watch watch;
	struct resolver *r;
	struct list link;
};

struct resolver_query {
	struct resolver *r;
	struct resolver_name *name; /* NULL: unwatched while under way */
	struct list link, waiting;
	struct timer due; /* for the next lookup */
	bool under_way;
	bool settled; /* had its first outcome */
	unsigned int failures;
	struct addr *addrs; /* the last good answer */
	size_t n_addrs;
};

/* Sorted, no doubles: equal sets are equal arrays, and of too many the same ones are left out. */
struct addr_set {
	struct addr addrs[RESOLVER_ADDRS_MAX];
	size_t n;
};

/* The channel: its sockets and its clock in the loop. */

static void timeout_arm(struct resolver *r)
{
	struct timeval tv;

	if (ares_timeout(r->channel, NULL, &tv))
		timer_arm(&r->loop->timers, &r->timeout,
			  clock_ns() + (uint64_t)tv.tv_sec * NSEC_PER_SEC +
				  (uint64_t)tv.tv_usec * NSEC_PER_USEC);
	else
		timer_disarm(&r->loop->timers, &r->timeout);
}

static void on_timeout(struct timer *t)
{
	struct resolver *r = container_of(t, struct resolver, timeout);

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	timeout_arm(r);
}

static void on_socket_ready(struct watch *w, uint32_t events)
{
	struct resolver *r = container_of(w, struct resolver_socket, watch)->r;
	/* An error is for both sides to find. */
	bool readable = events & ~(uint32_t)EPOLLOUT;
	bool writable = events & ~(uint32_t)EPOLLIN;

	ares_process_fd(r->channel, readable ? w->fd : ARES_SOCKET_BAD,
			writable ? w->fd : ARES_SOCKET_BAD);
	timeout_arm(r); /* `w` may be gone */
}

static struct resolver_socket *socket_find(struct resolver *r, ares_socket_t fd)
{
	list_for_each(e, &r->sockets) {
		struct resolver_socket *s = list_entry(e, struct resolver_socket, link);

		if (s->watch.fd == fd)
			return s;
	}
	return NULL;
}

static void socket_free(struct resolver *r, struct resolver_socket *s)
{
	loop_remove(r->loop, &s->watch);
	list_del(&s->link);
	free(s);
}

/* c-ares has opened a socket, or waits for something else on it, or is about to close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = arg;
	struct resolver_socket *s = socket_find(r, fd);
	uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
	int rc;

	if (!events) {
		if (s)
			socket_free(r, s);
		return;
	}
	if (s) {
		rc = loop_change(r->loop, &s->watch, events);
	} else {
		s = calloc(1, sizeof(*s));
		if (!s)
			return; /* its lookup times out and is tried again, as below */
		*s = (struct resolver_socket){ .watch = { -1, on_socket_ready }, .r = r };
		list_append(&r->sockets, &s->link);
		rc = loop_add(r->loop, &s->watch, fd, events);
	}
	if (rc < 0)
		socket_free(r, s);
}

static int channel_open(struct resolver *r, ares_channel *out)
{
	struct ares_options options = {
		.timeout = LOOKUP_TIMEOUT_MS,
		.tries = LOOKUP_TRIES,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = r,
	};
	int set = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
	int status = ares_init_options(out, &options, set);

	if (status == ARES_SUCCESS)
		return 0;
	return status == ARES_ENOMEM ? -ENOMEM : -EIO;
}

static struct file_version resolv_conf_version(void)
{
	struct file_version v = { 0 };
	struct stat st;

	if (stat(RESOLV_CONF, &st) == 0) {
		v.dev = st.st_dev;
		v.ino = st.st_ino;
		v.size = st.st_size;
		v.mtime = st.st_mtim;
	}
	return v;
}

static bool same_version(const struct file_version *a, const struct file_version *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

/*
 * A channel reads resolv.conf once, so a change of the file needs a new one; the lookups that are
 * under way are let finish first. False: not now, the last of them will start what waits.
 */
static bool channel_renew(struct resolver *r)
{
	struct file_version now = resolv_conf_version();
	ares_channel channel;

	if (same_version(&now, &r->resolv_conf))
		return true;
	if (r->under_way > 0)
		return false;
	if (channel_open(r, &channel) < 0)
		return true; /* the old one is better than none */
	ares_destroy(r->channel);
	r->channel = channel;
	r->resolv_conf = now;
	return true;
}

/* Answers. */

static void set_insert(struct addr_set *set, const struct addr *a)
{
	size_t at = set->n;

	while (at > 0 && addr_compare_host(a, &set->addrs[at - 1]) < 0)
		at--;
	if (at == RESOLVER_ADDRS_MAX || (at > 0 && addr_compare_host(a, &set->addrs[at - 1]) == 0))
		return;
	if (set->n < RESOLVER_ADDRS_MAX)
		set->n++;
	memmove(&set->addrs[at + 1], &set->addrs[at], (set->n - at - 1) * sizeof(*a));
	set->addrs[at] = *a;
}

/* The addresses of an answer, and for how many seconds all of it holds: 0 when it does not say. */
static void set_read(struct addr_set *set, const struct ares_addrinfo *ai, int *ttl)
{
	*ttl = INT32_MAX;
	set->n = 0;
	for (const struct ares_addrinfo_node *node = ai->nodes; node; node = node->ai_next) {
		struct addr a = { 0 };

		if (node->ai_family != AF_INET && node->ai_family != AF_INET6)
			continue;
		memcpy(&a, node->ai_addr, MIN((size_t)node->ai_addrlen, sizeof(a)));
		addr_set_port(&a, 0);
		set_insert(set, &a);
		*ttl = MIN(*ttl, node->ai_ttl);
	}
	/*
	 * The names on the way may be pointed elsewhere sooner than the last one's addresses
	 * change.
	 */
	for (const struct ares_addrinfo_cname *cname = ai->cnames; cname; cname = cname->next)
		*ttl = MIN(*ttl, cname->ttl);
}

static bool set_equals(const struct addr_set *set, const struct addr *addrs, size_t n)
{
	if (set->n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!addr_equal(&set->addrs[i], &addrs[i]))
			return false;
	return true;
}

static const char *why_phrase(int status)
{
	static const struct {
		int status;
		const char *why;
	} row[] = {
		{ ARES_SUCCESS, "the name has no addresses" },
		{ ARES_ENODATA, "the name has no addresses" },
		{ ARES_ENOTFOUND, "no such name" },
		{ ARES_EBADNAME, "not a name that DNS can know" },
		{ ARES_ETIMEOUT, "no name server answers" },
		/* What c-ares says when the last server has refused, too, or answered SERVFAIL. */
		{ ARES_ECONNREFUSED, "every name server refused or failed" },
		{ ARES_ESERVFAIL, "the name server failed" },
		{ ARES_EREFUSED, "the name server refuses to answer" },
		{ ARES_EBADRESP, "the name server's answer is malformed" },
		{ ARES_ENOMEM, "out of memory" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(row); i++)
		if (row[i].status == status)
			return row[i].why;
	return ares_strerror(status);
}

/* Queries. */

static void query_free(struct resolver_query *q)
{
	timer_disarm(&q->r->loop->timers, &q->due);
	list_del(&q->link);
	list_del(&q->waiting);
	free(q->addrs);
	free(q);
}

static void query_enqueue(struct resolver_query *q)
{
	list_append(&q->r->waiting, &q->waiting);
	loop_again(q->r->loop, &q->r->start);
}

static void on_query_due(struct timer *t)
{
	query_enqueue(container_of(t, struct resolver_query, due));
}

/* The lookup's outcome is known; the next one is due in `delay_ms`. */
static void query_settle(struct resolver_query *q, uint64_t delay_ms)
{
	if (!q->settled)
		q->r->pending--;
	q->settled = true;
	loop_arm_in(q->r->loop, &q->due, delay_ms * NSEC_PER_MSEC);
}

/* Jittered, so that names that failed together do not all come back together. */
static uint64_t retry_delay_ms(struct resolver *r, unsigned int failures)
{
	uint64_t delay = RESOLVER_RETRY_MIN_MS;
	uint64_t spread;

	while (--failures > 0 && delay < RESOLVER_RETRY_MAX_MS)
		delay *= 2;
	delay = MIN(delay, RESOLVER_RETRY_MAX_MS);
	spread = delay * RETRY_JITTER_PERCENT / 100;
	return delay - spread + rng_below(&r->rng, (uint32_t)(2 * spread + 1));
}

static void query_failed(struct resolver_query *q, const char *why)
{
	struct resolver_name *name = q->name;
	unsigned int failures = ++q->failures;

	query_settle(q, retry_delay_ms(q->r, failures));
	if (name->on_failure)
		name->on_failure(name, why, failures);
}

/*
 * The caller gets the set on the stack: q->addrs go with q, should it be unwatched within
 * on_change().
 */
static void query_answered(struct resolver_query *q, const struct addr_set *set, uint64_t ttl_ms)
{
	struct resolver_name *name = q->name;
	bool changed = !set_equals(set, q->addrs, q->n_addrs);

	if (changed) {
		struct addr *addrs = reallocarray(q->addrs, set->n, sizeof(*addrs));

		if (!addrs) {
			query_failed(q, why_phrase(ARES_ENOMEM));
			return;
		}
		memcpy(addrs, set->addrs, set->n * sizeof(*addrs));
		q->addrs = addrs;
		q->n_addrs = set->n;
	}
	q->failures = 0;
	query_settle(q, MIN(MAX(ttl_ms, RESOLVER_TTL_MIN_MS), RESOLVER_TTL_MAX_MS));
	if (changed)
		name->on_change(name, set->addrs, set->n);
}

/* May come from within ares_getaddrinfo(), ares_process_fd() and ares_destroy(). */
static void on_lookup_done(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct resolver_query *q = arg;
	struct resolver *r = q->r;
	struct addr_set set = { .n = 0 };
	int ttl = 0;

	(void)timeouts;
	if (ai) {
		set_read(&set, ai, &ttl);
		ares_freeaddrinfo(ai);
	}

	q->under_way = false;
	r->under_way--;
	if (!list_empty(&r->waiting))
		loop_again(r->loop, &r->start);

	if (!q->name)
		query_free(q);
	else if (status != ARES_SUCCESS || set.n == 0)
		query_failed(q, why_phrase(status));
	else if (r->starting && ttl == 0)
		query_answered(q, &set, RESOLVER_TTL_HOSTS_MS);
	else
		query_answered(q, &set, (uint64_t)MAX(ttl, 0) * 1000);
}

static void lookup_start(struct resolver *r, struct resolver_query *q)
{
	/*
	 * c-ares's own order would cost a connect(2) an address, and here they are sorted anyway.
	 */
	struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT };

	list_del(&q->waiting);
	q->under_way = true;
	r->under_way++;
	r->starting = true;
	ares_getaddrinfo(r->channel, q->name->host, NULL, &hints, on_lookup_done, q);
	r->starting = false;
}

static void on_start(struct work *w)
{
	struct resolver *r = container_of(w, struct resolver, start);

	if (!channel_renew(r))
		return;
	for (size_t i = 0; i < LOOKUPS_PER_TURN && r->under_way < LOOKUPS_UNDER_WAY_MAX &&
			   !list_empty(&r->waiting);
	     i++)
		lookup_start(r, list_entry(r->waiting.next, struct resolver_query, waiting));
	if (!list_empty(&r->waiting) && r->under_way < LOOKUPS_UNDER_WAY_MAX)
		loop_again(r->loop, &r->start);
	timeout_arm(r);
}

/* What the header promises. */

int resolver_new(struct loop *loop, struct resolver **out)
{
	struct resolver *r;
	int rc;

	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return -ENOMEM;
	r = calloc(1, sizeof(*r));
	if (!r) {
		rc = -ENOMEM;
		goto fail_library;
	}
	r->loop = loop;
	r->rng = rng_seed((uintptr_t)r);
	list_init(&r->queries);
	list_init(&r->waiting);
	list_init(&r->sockets);
	work_init(&r->start, on_start);
	timer_init(&r->timeout, on_timeout);
	r->resolv_conf = resolv_conf_version();
	rc = channel_open(r, &r->channel);
	if (rc < 0)
		goto fail;
	*out = r;
	return 0;
fail:
	free(r);
fail_library:
	ares_library_cleanup();
	return rc;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	list_for_each_safe(e, &r->queries) {
		struct resolver_query *q = list_entry(e, struct resolver_query, link);

		if (q->name)
			resolver_unwatch(r, q->name);
	}
	ares_destroy(r->channel); /* what was under way ends, and its nameless queries with it */
	timer_disarm(&r->loop->timers, &r->timeout);
	work_cancel(&r->start);
	free(r);
	ares_library_cleanup();
}

int resolver_watch(struct resolver *r, struct resolver_name *name)
{
	struct resolver_query *q = calloc(1, sizeof(*q));
	struct addr literal;

	if (!q)
		return -ENOMEM;
	q->r = r;
	q->name = name;
	name->query = q;
	list_init(&q->waiting);
	list_append(&r->queries, &q->link);
	timer_init(&q->due, on_query_due);

	if (addr_parse_host(name->host, &literal) == 0) {
		q->settled = true;
		name->on_change(name, &literal, 1);
	} else {
		r->pending++;
		query_enqueue(q);
	}
	return 0;
}

void resolver_unwatch(struct resolver *r, struct resolver_name *name)
{
	struct resolver_query *q = name->query;

	if (!q)
		return;
	name->query = NULL;
	q->name = NULL;
	if (!q->settled)
		r->pending--;
	if (!q->under_way)
		query_free(q);
}

size_t resolver_addrs(const struct resolver_name *name, const struct addr **addrs)
{
	const struct resolver_query *q = name->query;

	*addrs = q ? q->addrs : NULL;
	return q ? q->n_addrs : 0;
}

size_t resolver_pending(const struct resolver *r)
{
	return r->pending;
}
