/* SPDX-License-Identifier: MIT */
#include "names.h"

#include <string.h>

#include "log.h"

_Static_assert(RESOLVER_ADDRS_MAX <= ENDPOINTS_MAX, "a backend takes all that a name can have");

/* One target of one app that is given by name. */
struct member {
	const struct app *app;
	struct backend *backend;
};

struct members {
	struct member *list; /* by host */
	size_t n;
};

/* One host name, and the members that have it. */
struct name {
	struct resolver_name watched;
	struct names *names;
	char *host;
	const struct member *members;
	size_t n_members; /* 0: only wanted so far */
};

struct names {
	struct loop *loop;
	struct names_callbacks cb;
	struct resolver *resolver; /* NULL: there was no name yet */
	struct members members;    /* in use */
	struct name **list;        /* by host */
	size_t n;
};

static const char *host_of(const struct member *m)
{
	return m->backend->at.host;
}

static int compare_members(const void *a, const void *b)
{
	return strcasecmp(host_of(a), host_of(b));
}

static struct members members_of(const struct app_list *apps)
{
	struct members members = { 0 };
	size_t max = 0;

	for (size_t a = 0; a < apps->n; a++)
		max += apps->list[a]->n_backends;
	members.list = xcalloc(max, sizeof(*members.list));
	for (size_t a = 0; a < apps->n; a++)
		for (size_t i = 0; i < apps->list[a]->n_backends; i++)
			if (!apps->list[a]->backends[i]->is_literal)
				members.list[members.n++] =
					(struct member){ apps->list[a],
							 apps->list[a]->backends[i] };
	if (members.n)
		qsort(members.list, members.n, sizeof(*members.list), compare_members);
	return members;
}

/* Where those that have another host than the one at `first` begin. */
static size_t end_of_host(const struct members *members, size_t first)
{
	size_t end = first + 1;

	while (end < members->n && !compare_members(&members->list[first], &members->list[end]))
		end++;
	return end;
}

/* --- answers --------------------------------------------------------------------------------- */

static void on_change(struct resolver_name *watched, const struct addr *addrs, size_t n_addrs)
{
	struct name *name = container_of(watched, struct name, watched);
	struct names *n = name->names;

	for (size_t i = 0; i < name->n_members; i++) {
		struct backend *b = name->members[i].backend;
		struct endpoint_set *old = backend_set_addresses(b, addrs, n_addrs);

		if (old)
			n->cb.retire(n->cb.arg, old);
	}
	log_info("%s has %zu address%s", watched->host, n_addrs, n_addrs == 1 ? "" : "es");
	n->cb.on_outcome(n->cb.arg);
}

/* Has the name addresses of this family, or with AF_UNSPEC of any? */
static bool has_addresses(const struct name *name, int family)
{
	const struct addr *addrs;
	size_t n = resolver_addrs(&name->watched, &addrs);

	for (size_t i = 0; i < n; i++)
		if (family == AF_UNSPEC || addrs[i].sa.sa_family == family)
			return true;
	return false;
}

static void log_failure(const struct name *name, const struct resolver_failure *f)
{
	const struct member *first = name->members;
	const char *family = resolver_family_name(f->family);
	const char *at = *family ? " for " : "", *of = *family ? " " : "";
	bool kept = has_addresses(name, f->family);

	if (!name->n_members)
		log_warning("%s, a name of the new configuration, does not resolve%s%s: %s; it is "
			    "asked again until it does",
			    name->host, at, family, f->why);
	else
		log_warning("%s does not resolve%s%s: %s; %s%s%s %s for %zu target%s (the first: "
			    "%s of app \"%s\"); it is asked again until it does",
			    name->host, at, family, f->why, kept ? "the last" : "no", of, family,
			    kept ? "addresses stay in use" : "address yet", name->n_members,
			    name->n_members == 1 ? "" : "s", first->backend->text,
			    first->app->conf->name);
}

static void on_failure(struct resolver_name *watched, const struct resolver_failure *failure)
{
	struct name *name = container_of(watched, struct name, watched);

	if (failure->is_news)
		log_failure(name, failure);
	name->names->cb.on_outcome(name->names->cb.arg);
}

static void on_recovery(struct resolver_name *watched, unsigned int failures)
{
	log_info("%s resolves again, to what it did before; %u lookup%s had failed", watched->host,
		 failures, failures == 1 ? "" : "s");
}

/* --- names ----------------------------------------------------------------------------------- */

static void name_free(struct name *name)
{
	resolver_unwatch(name->names->resolver, &name->watched);
	free(name->host);
	free(name);
}

/* 0 or -errno. */
static int watch(struct names *n, const char *host, struct name **out)
{
	struct name *name;
	int rc = n->resolver ? 0 : resolver_new(n->loop, &n->resolver);

	if (rc)
		return rc;
	name = xcalloc(1, sizeof(*name));
	name->names = n;
	name->host = xstrdup(host);
	name->watched.host = name->host;
	name->watched.on_change = on_change;
	name->watched.on_failure = on_failure;
	name->watched.on_recovery = on_recovery;
	rc = resolver_watch(n->resolver, &name->watched);
	if (rc)
		name_free(name);
	else
		*out = name;
	return rc;
}

struct names *names_new(struct loop *loop, const struct names_callbacks *cb)
{
	struct names *n = xcalloc(1, sizeof(*n));

	n->loop = loop;
	n->cb = *cb;
	return n;
}

/* Both are sorted by host: the list becomes that of all that are in one of them. */
int names_want(struct names *n, const struct app_list *apps)
{
	struct members wanted = members_of(apps);
	struct name **list = xcalloc(n->n + wanted.n, sizeof(struct name *));
	size_t at = 0, was = 0, len = 0;
	int rc = 0;

	while (was < n->n || (!rc && at < wanted.n)) {
		int order = was == n->n ? 1 : -1;

		if (was < n->n && !rc && at < wanted.n)
			order = strcasecmp(n->list[was]->host, host_of(&wanted.list[at]));
		if (order <= 0)
			list[len++] = n->list[was++];
		else
			rc = watch(n, host_of(&wanted.list[at]), &list[len]);
		len += order > 0 && !rc;
		if (order >= 0)
			at = end_of_host(&wanted, at);
	}
	free(wanted.list);
	free(n->list);
	n->list = list;
	n->n = len;
	return rc;
}

/* What the name resolves to is there at once for backends that have just come. */
static void give_addresses(const struct name *name)
{
	const struct addr *addrs;
	size_t n = resolver_addrs(&name->watched, &addrs);

	for (size_t i = 0; n && i < name->n_members; i++) {
		struct backend *b = name->members[i].backend;

		if (!backend_resolved(b))
			free(backend_set_addresses(b, addrs, n)); /* of nothing: NULL */
	}
}

void names_use(struct names *n, const struct app_list *apps)
{
	struct members members = members_of(apps);
	size_t at = 0, len = 0;

	for (size_t i = 0; i < n->n; i++) {
		struct name *name = n->list[i];
		size_t end = at;

		if (at < members.n && !strcasecmp(name->host, host_of(&members.list[at])))
			end = end_of_host(&members, at);
		name->members = &members.list[at];
		name->n_members = end - at;
		at = end;
		if (!name->n_members) {
			name_free(name);
			continue;
		}
		give_addresses(name);
		n->list[len++] = name;
	}
	n->n = len;
	free(n->members.list);
	n->members = members;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->n; i++)
		name_free(n->list[i]);
	resolver_free(n->resolver);
	free(n->list);
	free(n->members.list);
	free(n);
}

size_t names_pending(const struct names *n)
{
	return n->resolver ? resolver_pending(n->resolver) : 0;
}

/* --- what is told ------------------------------------------------------------------------------ */

struct names_figures names_figures(const struct names *n)
{
	struct names_figures f = { .names = n ? n->n : 0 };

	if (!n || !n->resolver)
		return f;
	memcpy(f.lookups, resolver_lookups(n->resolver), sizeof(f.lookups));
	for (size_t i = 0; i < n->n; i++)
		f.failing += resolver_failure(&n->list[i]->watched).in_a_row > 0;
	return f;
}

static int compare_host(const void *host, const void *name)
{
	return strcasecmp(host, (*(struct name *const *)name)->host);
}

bool names_state(const struct names *n, const struct backend *b, struct name_state *out)
{
	struct name *const *found;

	if (!n || !n->n || b->is_literal)
		return false;
	found = bsearch(b->at.host, n->list, n->n, sizeof(struct name *), compare_host);
	if (!found)
		return false;
	out->failure = resolver_failure(&(*found)->watched);
	out->answered_ns = resolver_answered_ns(&(*found)->watched);
	return true;
}
