/* SPDX-License-Identifier: MIT */
#include "names.h"

#include <string.h>

#include "log.h"
#include "resolver.h"

_Static_assert(RESOLVER_ADDRS_MAX <= ENDPOINTS_MAX, "a backend takes all that a name can have");

/* One target of one app that is given by name. */
struct member {
	struct app *app;
	struct backend *backend;
};

/* One host name, and the members that have it: names->members[first .. first + n). */
struct name {
	struct resolver_name watched;
	struct names *names;
	size_t first, n;
};

struct names {
	struct names_callbacks cb;
	struct resolver *resolver;
	struct member *members;
	size_t n_members;
	struct name *list;
	size_t n;
};

static const char *host_of(const struct member *m)
{
	return m->backend->conf->at.host;
}

static int compare_members(const void *a, const void *b)
{
	return strcasecmp(host_of(a), host_of(b));
}

static void collect_members(struct names *n, struct app *apps, size_t n_apps)
{
	size_t max = 0;

	for (size_t a = 0; a < n_apps; a++)
		max += apps[a].n_backends;
	n->members = xcalloc(max, sizeof(*n->members));
	for (size_t a = 0; a < n_apps; a++)
		for (size_t i = 0; i < apps[a].n_backends; i++)
			if (!apps[a].backends[i].conf->is_literal)
				n->members[n->n_members++] =
					(struct member){ &apps[a], &apps[a].backends[i] };
	qsort(n->members, n->n_members, sizeof(*n->members), compare_members);
}

static void on_change(struct resolver_name *watched, const struct addr *addrs, size_t n_addrs)
{
	struct name *name = container_of(watched, struct name, watched);
	struct names *n = name->names;

	for (size_t i = 0; i < name->n; i++) {
		struct backend *b = n->members[name->first + i].backend;
		struct endpoint_set *old = backend_set_addresses(b, addrs, n_addrs);

		if (old)
			n->cb.retire(n->cb.arg, old);
	}
	log_info("%s has %zu address%s", watched->host, n_addrs, n_addrs == 1 ? "" : "es");
	n->cb.on_outcome(n->cb.arg);
}

static void on_failure(struct resolver_name *watched, const char *why, unsigned int failures)
{
	struct name *name = container_of(watched, struct name, watched);
	struct names *n = name->names;
	const struct member *first = &n->members[name->first];

	if (failures == 1)
		log_warning("%s does not resolve: %s; %s for %zu target%s (the first: %s of app "
			    "\"%s\"); it is asked again until it does",
			    watched->host, why,
			    backend_resolved(first->backend) ? "the last addresses stay in use"
							     : "no address yet",
			    name->n, name->n == 1 ? "" : "s", first->backend->conf->text,
			    first->app->conf->name);
	n->cb.on_outcome(n->cb.arg);
}

static int watch_all(struct names *n)
{
	for (size_t i = 0; i < n->n_members;) {
		struct name *name = &n->list[n->n++];
		int rc;

		*name = (struct name){ .names = n, .first = i };
		name->watched.host = host_of(&n->members[i]);
		name->watched.on_change = on_change;
		name->watched.on_failure = on_failure;
		for (;
		     i < n->n_members && !compare_members(&n->members[name->first], &n->members[i]);
		     i++)
			name->n++;
		rc = resolver_watch(n->resolver, &name->watched);
		if (rc)
			return rc;
	}
	return 0;
}

int names_new(struct loop *loop, struct app *apps, size_t n_apps, const struct names_callbacks *cb,
	      struct names **out)
{
	struct names *n = xcalloc(1, sizeof(*n));
	int rc = 0;

	n->cb = *cb;
	collect_members(n, apps, n_apps);
	n->list = xcalloc(n->n_members, sizeof(*n->list));
	*out = n;
	if (n->n_members)
		rc = resolver_new(loop, &n->resolver);
	if (!rc)
		rc = watch_all(n);
	if (rc) {
		names_free(n);
		*out = NULL;
	}
	return rc;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	resolver_free(n->resolver);
	free(n->list);
	free(n->members);
	free(n);
}

size_t names_pending(const struct names *n)
{
	return n->resolver ? resolver_pending(n->resolver) : 0;
}
