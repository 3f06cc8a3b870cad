/* SPDX-License-Identifier: MIT */
#include "ingress.h"

#include <net/if_arp.h>
#include <string.h>

#define LOOK_TRIES 5  /* when lists change while they are read */
#define MASTERS_MAX 8 /* one above the other: the kernel's bound, too (MAX_NEST_DEV) */
#define FIRST_CAPACITY 16

/* What is learnt in one look. */
struct look {
	struct ingress *in;
	struct netlink_address *addresses;
	size_t n, capacity;
};

static void on_link(void *arg, const struct netlink_link *l)
{
	struct ingress *in = arg;

	if (in->n == in->capacity) {
		in->capacity = MAX(FIRST_CAPACITY, in->capacity * 2);
		in->devices = xreallocarray(in->devices, in->capacity, sizeof(*in->devices));
	}
	in->devices[in->n++] = (struct ingress_device){ .link = *l };
}

static void on_address(void *arg, const struct netlink_address *a)
{
	struct look *k = arg;

	if (k->n == k->capacity) {
		k->capacity = MAX(FIRST_CAPACITY, k->capacity * 2);
		k->addresses = xreallocarray(k->addresses, k->capacity, sizeof(*k->addresses));
	}
	k->addresses[k->n++] = *a;
}

static int by_ifindex(const void *left, const void *right)
{
	const struct ingress_device *a = left, *b = right;

	return (a->link.ifindex > b->link.ifindex) - (a->link.ifindex < b->link.ifindex);
}

struct ingress_device *ingress_find(const struct ingress *in, uint32_t ifindex)
{
	struct ingress_device key = { .link.ifindex = ifindex };

	if (!in->n)
		return NULL;
	return bsearch(&key, in->devices, in->n, sizeof(key), by_ifindex);
}

struct ingress_device *ingress_find_name(const struct ingress *in, const char *name)
{
	for (size_t i = 0; i < in->n; i++)
		if (!strcmp(in->devices[i].link.name, name))
			return &in->devices[i];
	return NULL;
}

static bool is_of_kind(const struct netlink_link *l, const char *kind)
{
	return !strcmp(l->kind, kind);
}

const char *ingress_unfit(const struct netlink_link *l)
{
	if (l->type == ARPHRD_LOOPBACK)
		return "it leads to this machine itself";
	if (l->type != ARPHRD_ETHER)
		return "its packets have no Ethernet headers";
	/* What is received by a VRF is shown to TC at the device that it came in by. */
	if (is_of_kind(l, "vrf"))
		return "it is a VRF, by which no packet comes in";
	return NULL;
}

/* Where IP packets come in that a device receives. */
static struct ingress_device *ip_device(const struct ingress *in, uint32_t ifindex)
{
	struct ingress_device *d = ingress_find(in, ifindex), *master;

	for (int i = 0; d && d->link.master && i < MASTERS_MAX; i++) {
		master = ingress_find(in, d->link.master);
		if (!master ||
		    !(is_of_kind(&master->link, "bridge") || is_of_kind(&master->link, "bond") ||
		      is_of_kind(&master->link, "team")))
			break;
		d = master;
	}
	return d;
}

static void want(struct ingress *in, uint32_t ifindex)
{
	struct ingress_device *d = ip_device(in, ifindex);

	if (d)
		d->is_wanted = true;
}

static void on_target_device(void *arg, uint32_t ifindex, uint32_t mtu)
{
	(void)mtu;
	want(arg, ifindex);
}

/* --- what listens ---------------------------------------------------------------------------- */

static void want_if_fit(struct ingress *in, uint32_t ifindex)
{
	struct ingress_device *d = ip_device(in, ifindex);

	if (d && !ingress_unfit(&d->link))
		d->is_wanted = true;
}

static bool has_wildcard(struct addr_set *listens, sa_family_t family)
{
	struct addr any;

	memset(&any, 0, sizeof(any));
	any.sa.sa_family = family;
	return addr_set_has(listens, &any);
}

/* Has a device addresses, but receives nothing itself? */
static bool receives_nothing(const struct ingress *in, uint32_t ifindex)
{
	const struct ingress_device *d = ingress_find(in, ifindex);

	return d && (d->link.type == ARPHRD_LOOPBACK || is_of_kind(&d->link, "dummy"));
}

/* An address that only this host can reach makes no device wanted. */
static void want_listens(const struct look *k, struct addr_set *listens)
{
	bool everywhere4 = has_wildcard(listens, AF_INET);
	bool everywhere6 = has_wildcard(listens, AF_INET6);

	for (size_t i = 0; i < k->n; i++) {
		const struct netlink_address *a = &k->addresses[i];

		if (a->is_for_host_only || !addr_set_has(listens, &a->host))
			continue;
		if (!receives_nothing(k->in, a->ifindex))
			want_if_fit(k->in, a->ifindex);
		else if (a->host.sa.sa_family == AF_INET)
			everywhere4 = true;
		else
			everywhere6 = true;
	}
	for (size_t i = 0; i < k->n; i++) {
		const struct netlink_address *a = &k->addresses[i];
		bool everywhere = a->host.sa.sa_family == AF_INET ? everywhere4 : everywhere6;

		if (everywhere)
			want_if_fit(k->in, a->ifindex);
	}
}

/* --- a look ---------------------------------------------------------------------------------- */

static void want_names(struct ingress *in, const struct ingress_wish *wish)
{
	for (size_t i = 0; i < wish->n_names; i++) {
		const struct ingress_device *d = ingress_find_name(in, wish->names[i]);

		if (d)
			want(in, d->link.ifindex);
	}
}

static int look(struct look *k, struct netlink *n, const struct ingress_wish *wish)
{
	int rc;

	k->in->n = k->n = 0;
	rc = netlink_links(n, on_link, k->in);
	if (rc)
		return rc;
	if (k->in->n)
		qsort(k->in->devices, k->in->n, sizeof(*k->in->devices), by_ifindex);
	if (!wish)
		return 0;
	if (wish->n_names) {
		want_names(k->in, wish);
		return 0;
	}
	rc = netlink_addresses(n, on_address, k);
	if (rc)
		return rc;
	want_listens(k, wish->listens);
	addr_set_sort(wish->targets);
	return netlink_routes(n, wish->targets->at, wish->targets->n, NULL, on_target_device,
			      k->in);
}

int ingress_look(struct ingress *in, struct netlink *n, const struct ingress_wish *wish)
{
	struct look k = { .in = in };
	int rc = -EINTR;

	for (int tries = 0; rc == -EINTR && tries < LOOK_TRIES; tries++)
		rc = look(&k, n, wish);
	free(k.addresses);
	return rc;
}

void ingress_free(struct ingress *in)
{
	free(in->devices);
	*in = (struct ingress){ 0 };
}
