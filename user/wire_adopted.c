/* SPDX-License-Identifier: MIT */
#include "wire_adopted.h"

#include <bpf/bpf.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "wire_leg.h"

/* --- finding --------------------------------------------------------------------------------- */

static bool has_leg(const struct wire_maps *m, const struct wire_tuple *t, uint32_t slot)
{
	struct wire_leg leg;

	return !bpf_map_lookup_elem(m->flows, t, &leg) && leg.slot == slot;
}

/*
 * Its legs are entered after in_use is set, and deleted before it is cleared. So one that is in use
 * without both was about to begin, or to go; or its tuple has a new connection, as it had ended.
 */
static bool is_whole(const struct wire_maps *m, uint32_t flow)
{
	const struct wire_flow *f = &m->identities[flow];

	return has_leg(m, &f->leg[0], 2 * flow) && has_leg(m, &f->leg[1], 2 * flow + 1);
}

/* Legs that belong to no flow in use: the other halves. */
static size_t delete_orphans(struct wire_maps *m)
{
	struct wire_tuple key, next;
	struct wire_leg leg;
	size_t n = 0;
	int rc = bpf_map_get_next_key(m->flows, NULL, &next);

	while (!rc) {
		key = next;
		/* Before it may be deleted, or the walk would begin anew. */
		rc = bpf_map_get_next_key(m->flows, &key, &next);
		if (bpf_map_lookup_elem(m->flows, &key, &leg))
			continue;
		if (leg.slot / 2 >= m->capacity || !m->identities[leg.slot / 2].in_use)
			n += !bpf_map_delete_elem(m->flows, &key);
	}
	return n;
}

void wire_adopted_find(struct wire_adopted *a, struct wire_maps *m)
{
	size_t dropped = 0, orphans;

	*a = (struct wire_adopted){ 0 };
	for (uint32_t i = 0; i < m->capacity; i++) {
		if (!m->identities[i].in_use)
			continue;
		if (is_whole(m, i)) {
			a->flows = xreallocarray(a->flows, a->n + 1, sizeof(*a->flows));
			a->flows[a->n++] = i;
		} else {
			m->identities[i] = (struct wire_flow){ 0 };
			dropped++;
		}
	}
	orphans = delete_orphans(m);
	if (dropped || orphans)
		log_info("%zu flows and %zu legs that were half-made are removed", dropped,
			 orphans);
}

void wire_adopted_free(struct wire_adopted *a, const struct wire_maps *m)
{
	for (uint32_t i = 0; a->sockets && i < m->capacity; i++)
		wire_adopted_release(a, i);
	free(a->sockets);
	free(a->flows);
	*a = (struct wire_adopted){ 0 };
}

/* --- local ports ----------------------------------------------------------------------------- */

/*
 * In TCP_REPAIR bind(2) does not mind other users of the port, connect(2) sends nothing and has the
 * connection at once, and close(2) sends nothing. What the kernel does not let happen twice is this
 * connection.
 */
static int open_silent(const struct wire_maps *m, const struct addr *own, const struct addr *peer)
{
	int fd = socket(own->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), on = 1, rc;

	if (fd < 0)
		return -errno;
	if (!setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) && !wire_maps_deafen(m, fd) &&
	    !bind(fd, &own->sa, addr_len(own)) && !connect(fd, &peer->sa, addr_len(peer)))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

int wire_adopted_hold(struct wire_adopted *a, const struct wire_maps *m, uint32_t flow)
{
	struct addr own, peer;
	int fd;

	if (!a->sockets) {
		a->sockets = xcalloc(m->capacity, sizeof(*a->sockets));
		for (uint32_t i = 0; i < m->capacity; i++)
			a->sockets[i] = -1;
	}
	wire_leg_own(&m->identities[flow].leg[1], &own);
	wire_leg_peer(&m->identities[flow].leg[1], &peer);
	fd = open_silent(m, &own, &peer);
	if (fd < 0)
		return fd;
	a->sockets[flow] = fd;
	return 0;
}

void wire_adopted_release(struct wire_adopted *a, uint32_t flow)
{
	if (!a->sockets || a->sockets[flow] < 0)
		return;
	close(a->sockets[flow]);
	a->sockets[flow] = -1;
}
