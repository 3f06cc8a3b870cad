/* SPDX-License-Identifier: MIT */
/*
 * The resolver. A query is one watched name: it waits for its turn, is under way, or sleeps until
 * its answer has expired. Lookups are started by a work of the loop and nowhere else, so c-ares is
 * never entered from within a callback, its own or the caller's; and at most LOOKUPS_UNDER_WAY_MAX
 * at once, so that a big config's start is no burst. A query whose name was unwatched while under
 * way lives on without a name until its lookup ends. Whatever calls back does so as the last thing
 * that it does: the query may be gone afterwards.
 *
 * A lookup has one part or two. The first asks for both families together, for c-ares then finds
 * the name as the system does, both families of it in the same place: in the hosts file, or under
 * the first of resolv.conf's domains that has it. By family, the two might well be found in
 * different ones, and belong to different machines. But if addresses of one family come, c-ares
 * does not say whether the other one has none or its query failed. So that family is asked for once
 * more, by the name that was found, which tells; not if the name is known to lack it. What the
 * first part has brought is in use meanwhile.
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

#define FAMILIES 2 /* as family_index() counts them */

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
	uint64_t lookups[N_RESOLVER_OUTCOMES];
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
	/* The second part of a lookup; AF_UNSPEC, NULL: it is about the first one. */
	int family;
	char *found;          /* the name that has the other family's addresses */
	uint64_t ttl_ms;      /* of these */
	bool lacks[FAMILIES]; /* the last that was heard is that it has none of them */
	uint64_t answered_ns[FAMILIES];
	struct resolver_failure failure;
	struct addr *addrs; /* the last good answer, of each family */
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

static size_t family_index(int family)
{
	return family == AF_INET6;
}

static int other_family(int family)
{
	return family == AF_INET ? AF_INET6 : AF_INET;
}

static bool has_family(const struct addr *addrs, size_t n, int family)
{
	for (size_t i = 0; i < n; i++)
		if (addrs[i].sa.sa_family == family)
			return true;
	return false;
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

const char *const resolver_outcome_names[N_RESOLVER_OUTCOMES] = {
	[RESOLVER_ANSWERED] = "answered",
	[RESOLVER_HALF_FAILED] = "half_failed",
	[RESOLVER_NO_SUCH_NAME] = "no_such_name",
	[RESOLVER_NO_ADDRESS] = "no_address",
	[RESOLVER_TIMEOUT] = "timeout",
	[RESOLVER_SERVER_FAILED] = "server_failed",
	[RESOLVER_OTHER_FAILURE] = "other_failure",
};

struct cause {
	int status;
	enum resolver_outcome outcome;
	const char *why;
};

static struct cause cause_of(int status)
{
	static const struct cause row[] = {
		{ ARES_ENODATA, RESOLVER_NO_ADDRESS, "the name has no addresses" },
		{ ARES_ENOTFOUND, RESOLVER_NO_SUCH_NAME, "no such name" },
		{ ARES_EBADNAME, RESOLVER_OTHER_FAILURE, "not a name that DNS can know" },
		{ ARES_ETIMEOUT, RESOLVER_TIMEOUT, "no name server answers" },
		/* What c-ares says when the last server has refused, too, or answered SERVFAIL. */
		{ ARES_ECONNREFUSED, RESOLVER_SERVER_FAILED,
		  "every name server refused or failed" },
		{ ARES_ESERVFAIL, RESOLVER_SERVER_FAILED, "the name server failed" },
		{ ARES_EREFUSED, RESOLVER_SERVER_FAILED, "the name server refuses to answer" },
		{ ARES_EBADRESP, RESOLVER_OTHER_FAILURE, "the name server's answer is malformed" },
		{ ARES_ENOMEM, RESOLVER_OTHER_FAILURE, "out of memory" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(row); i++)
		if (row[i].status == status)
			return row[i];
	return (struct cause){ status, RESOLVER_OTHER_FAILURE, ares_strerror(status) };
}

/* Queries. */

static void query_free(struct resolver_query *q)
{
	timer_disarm(&q->r->loop->timers, &q->due);
	list_del(&q->link);
	list_del(&q->waiting);
	free(q->found);
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

/* The name has had an outcome, good or bad. */
static void query_settle(struct resolver_query *q)
{
	if (!q->settled)
		q->r->pending--;
	q->settled = true;
}

/* The lookup is over; the next one is due in `delay_ms`. */
static void query_sleep(struct resolver_query *q, uint64_t delay_ms)
{
	query_settle(q);
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

/* All of it, or a family's part: then what the other one's part brought holds for q->ttl_ms. */
static void query_failed(struct resolver_query *q, int family, int status)
{
	struct resolver_name *name = q->name;
	struct cause cause = cause_of(status);
	struct resolver_failure f = {
		.in_a_row = q->failure.in_a_row + 1,
		.family = family,
		.is_news = !q->failure.in_a_row || family != q->failure.family,
		.why = cause.why,
	};
	uint64_t delay_ms = retry_delay_ms(q->r, f.in_a_row);

	q->r->lookups[family == AF_UNSPEC ? cause.outcome : RESOLVER_HALF_FAILED]++;
	q->failure = f;
	query_sleep(q, family == AF_UNSPEC ? delay_ms : MIN(delay_ms, q->ttl_ms));
	if (name->on_failure)
		name->on_failure(name, &f);
}

/* Adds those of this family that are in use, as far as there is room: they push nothing out. */
static void set_keep(struct addr_set *set, const struct resolver_query *q, int family)
{
	for (size_t i = 0; i < q->n_addrs && set->n < RESOLVER_ADDRS_MAX; i++)
		if (q->addrs[i].sa.sa_family == family)
			set_insert(set, &q->addrs[i]);
}

/* True: it is another set than before, and the caller has to call on_change(). */
static bool query_take(struct resolver_query *q, const struct addr_set *set)
{
	if (set_equals(set, q->addrs, q->n_addrs))
		return false;
	q->addrs = xreallocarray(q->addrs, set->n, sizeof(*q->addrs));
	memcpy(q->addrs, set->addrs, set->n * sizeof(*q->addrs));
	q->n_addrs = set->n;
	return true;
}

/*
 * All of it. The caller gets the set on the stack: q->addrs go with q, should it be unwatched
 * within on_change().
 */
static void query_answered(struct resolver_query *q, const struct addr_set *set, uint64_t ttl_ms)
{
	struct resolver_name *name = q->name;
	unsigned int failures = q->failure.in_a_row;
	bool changed = query_take(q, set);

	q->r->lookups[RESOLVER_ANSWERED]++;
	q->failure = (struct resolver_failure){ 0 };
	query_sleep(q, ttl_ms);
	if (changed)
		name->on_change(name, set->addrs, set->n);
	else if (failures && name->on_recovery)
		name->on_recovery(name, failures);
}

static void family_answered(struct resolver_query *q, int family, bool lacks)
{
	q->answered_ns[family_index(family)] = clock_ns();
	q->lacks[family_index(family)] = lacks;
}

static uint64_t clamped_ttl_ms(int ttl)
{
	uint64_t ms = (uint64_t)MAX(ttl, 0) * 1000;

	return MIN(MAX(ms, RESOLVER_TTL_MIN_MS), RESOLVER_TTL_MAX_MS);
}

/* The set is of one family: is the other one to be asked for, or known not to be there? */
static void half_answered(struct resolver_query *q, struct addr_set *set, const char *found)
{
	struct resolver_name *name = q->name;
	int family = set->addrs[0].sa.sa_family, other = other_family(family);

	family_answered(q, family, false);
	if (q->lacks[family_index(other)]) {
		query_answered(q, set, q->ttl_ms);
		return;
	}
	q->family = other;
	q->found = xcalloc(1, strlen(found) + sizeof("."));
	stpcpy(stpcpy(q->found, found), "."); /* the dot ends it: no domain is tried */
	query_enqueue(q);
	query_settle(q);
	set_keep(set, q, other);
	if (query_take(q, set))
		name->on_change(name, set->addrs, set->n);
}

/* The first part. */
static void on_both(struct resolver_query *q, int status, const struct ares_addrinfo *ai)
{
	struct addr_set set = { .n = 0 };
	bool from_hosts;
	int ttl = 0;

	if (status == ARES_SUCCESS)
		set_read(&set, ai, &ttl);
	if (!set.n) {
		query_failed(q, AF_UNSPEC, status == ARES_SUCCESS ? ARES_ENODATA : status);
		return;
	}
	from_hosts = q->r->starting && ttl == 0;
	q->ttl_ms = from_hosts ? RESOLVER_TTL_HOSTS_MS : clamped_ttl_ms(ttl);
	if (!from_hosts &&
	    (!has_family(set.addrs, set.n, AF_INET) || !has_family(set.addrs, set.n, AF_INET6))) {
		half_answered(q, &set, ai->name ? ai->name : q->name->host);
		return;
	}
	/* The file has all that there is of a name, but says nothing about what DNS has. */
	family_answered(q, AF_INET, false);
	family_answered(q, AF_INET6, false);
	query_answered(q, &set, q->ttl_ms);
}

/* The second part: the other family has been answered, and holds for q->ttl_ms. */
static void on_one(struct resolver_query *q, int status, const struct ares_addrinfo *ai)
{
	int family = q->family, ttl = 0;
	struct addr_set set = { .n = 0 };

	q->family = AF_UNSPEC;
	free(q->found);
	q->found = NULL;
	if (status == ARES_SUCCESS)
		set_read(&set, ai, &ttl);
	/*
	 * That there is no such name can't be, since the other family has it. Servers that do not
	 * know of a family at all are known to say so (RFC 4074, 4.2), but it may be that the name
	 * was removed just now: what is in use is not given up for that.
	 */
	if (status == ARES_ENOTFOUND && !has_family(q->addrs, q->n_addrs, family))
		status = ARES_ENODATA;
	if (status != ARES_SUCCESS && status != ARES_ENODATA) {
		query_failed(q, family, status);
		return;
	}
	family_answered(q, family, !set.n);
	if (set.n)
		q->ttl_ms = MIN(q->ttl_ms, clamped_ttl_ms(ttl));
	set_keep(&set, q, other_family(family));
	query_answered(q, &set, q->ttl_ms);
}

/* May come from within ares_getaddrinfo(), ares_process_fd() and ares_destroy(). */
static void on_lookup_done(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct resolver_query *q = arg;
	struct resolver *r = q->r;

	(void)timeouts;
	q->under_way = false;
	r->under_way--;
	if (!list_empty(&r->waiting))
		loop_again(r->loop, &r->start);

	if (!q->name)
		query_free(q);
	else if (q->family == AF_UNSPEC)
		on_both(q, status, ai);
	else
		on_one(q, status, ai);
	if (ai)
		ares_freeaddrinfo(ai);
}

static void lookup_start(struct resolver *r, struct resolver_query *q)
{
	/*
	 * c-ares's own order would cost a connect(2) an address, and here they are sorted anyway.
	 */
	struct ares_addrinfo_hints hints = { .ai_family = q->family, .ai_flags = ARES_AI_NOSORT };

	list_del(&q->waiting);
	q->under_way = true;
	r->under_way++;
	r->starting = true;
	ares_getaddrinfo(r->channel, q->found ? q->found : q->name->host, NULL, &hints,
			 on_lookup_done, q);
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

const char *resolver_family_name(int family)
{
	return family == AF_INET ? "IPv4" : family == AF_INET6 ? "IPv6" : "";
}

struct resolver_failure resolver_failure(const struct resolver_name *name)
{
	return name->query ? name->query->failure : (struct resolver_failure){ 0 };
}

uint64_t resolver_answered_ns(const struct resolver_name *name)
{
	const struct resolver_query *q = name->query;
	uint64_t oldest = 0;

	for (size_t i = 0; q && i < q->n_addrs; i++) {
		uint64_t at = q->answered_ns[family_index(q->addrs[i].sa.sa_family)];

		oldest = oldest ? MIN(oldest, at) : at;
	}
	return oldest;
}

const uint64_t *resolver_lookups(const struct resolver *r)
{
	return r->lookups;
}

size_t resolver_pending(const struct resolver *r)
{
	return r->pending;
}
