/* SPDX-License-Identifier: MIT */
#include "wire_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wire.skel.h> /* generated */

#include "bpf_load.h"
#include "log.h"
#include "wire_hooks.h"

#define FIRST_KERNEL "6.1"
/* Connections that are not joined yet, at a time. A flood of SYNs can push the others' out: they
 * are then served without the wire. */
#define HOLDS_MAX (64u << 10)
#define LISTENERS_MAX (64u << 10)

/* --- pins ------------------------------------------------------------------------------------ */

static void pin_path(const char *folder, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", folder, name);
}

/* 0 with the locked folder in *out, -ENOENT: there is none, -EBUSY: a process has it. */
static int lock_folder(const char *folder, int *out)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	if (!flock(fd, LOCK_EX | LOCK_NB)) {
		*out = fd;
		return 0;
	}
	rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
	close(fd);
	return rc;
}

/* All that is in the folder, and the folder. */
static int remove_pins(const char *folder)
{
	DIR *d = opendir(folder);
	const struct dirent *e;
	char path[PATH_MAX];
	int rc = 0;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		pin_path(folder, e->d_name, path);
		if (unlink(path))
			rc = -errno;
	}
	closedir(d);
	if (rmdir(folder) && !rc)
		rc = -errno;
	return rc;
}

/* Constants are part of a program, not of what outlives it: each version has its own. The kernel
 * has them frozen, and would not give them out for writing. */
static bool is_constant(const struct bpf_map *map)
{
	return bpf_map__map_flags(map) & BPF_F_RDONLY_PROG;
}

/* In the place of the program that a daemon before has pinned. */
static int pin_program(const struct wire_maps *m)
{
	char path[PATH_MAX];

	pin_path(m->pin_folder, "wire_forward", path);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	return bpf_obj_pin(m->forward_program, path);
}

static int pin_all(const struct wire_maps *m)
{
	struct bpf_map *map;
	char path[PATH_MAX];
	int rc = 0;

	bpf_object__for_each_map(map, m->skeleton->obj)
	{
		pin_path(m->pin_folder, bpf_map__name(map), path);
		if (!rc && !m->is_taken_over && !is_constant(map))
			rc = bpf_obj_pin(bpf_map__fd(map), path);
	}
	return rc ? rc : pin_program(m);
}

static void forget_folder(struct wire_maps *m)
{
	free(m->pin_folder);
	m->pin_folder = NULL;
	if (m->lock_fd >= 0)
		close(m->lock_fd);
	m->lock_fd = -1;
}

static void pin_or_do_without(struct wire_maps *m)
{
	int rc = pin_all(m);

	if (!rc)
		return;
	log_warning("can't pin in %s: %s", m->pin_folder, strerror(-rc));
	if (m->is_taken_over)
		return;
	rc = remove_pins(m->pin_folder);
	if (rc)
		log_warning("pins are left in %s: %s", m->pin_folder, strerror(-rc));
	forget_folder(m);
}

/* --- taking over ----------------------------------------------------------------------------- */

static bool is_sized_by_us(const struct wire_maps *m, const struct bpf_map *map)
{
	return map == m->skeleton->maps.wire_flows || map == m->skeleton->maps.wire_directions ||
	       map == m->skeleton->maps.wire_identities;
}

static bool fits(const struct wire_maps *m, const struct bpf_map *map,
		 const struct bpf_map_info *info)
{
	return info->type == bpf_map__type(map) && info->key_size == bpf_map__key_size(map) &&
	       info->value_size == bpf_map__value_size(map) &&
	       info->map_flags == bpf_map__map_flags(map) &&
	       (info->max_entries == bpf_map__max_entries(map) || is_sized_by_us(m, map));
}

/* Has a map be the one that is pinned. 0, -ENOENT: it is not; -EPROTO: it does not fit. */
static int reuse(const struct wire_maps *m, struct bpf_map *map)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	char path[PATH_MAX];
	int fd, rc;

	pin_path(m->pin_folder, bpf_map__name(map), path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return fd;
	rc = bpf_obj_get_info_by_fd(fd, &info, &len);
	if (!rc && !fits(m, map, &info))
		rc = -EPROTO;
	if (!rc)
		rc = bpf_map__reuse_fd(map, fd);
	close(fd);
	return rc;
}

/*
 * All maps or none. Of a daemon that ended while it was pinning there may be some: no flow has been
 * joined with them, and they are in the way.
 */
static int take_over(struct wire_maps *m)
{
	size_t there = 0, missing = 0;
	struct bpf_map *map;
	int rc = 0;

	bpf_object__for_each_map(map, m->skeleton->obj)
	{
		int reused;

		if (is_constant(map))
			continue;
		reused = reuse(m, map);
		if (!reused)
			there++;
		else if (reused == -ENOENT)
			missing++;
		else
			rc = reused;
	}
	if (rc || !there || !missing) {
		m->is_taken_over = !rc && there;
		return rc;
	}
	log_warning("pins that are not complete are removed from %s", m->pin_folder);
	return -ESTALE;
}

/* --- loading --------------------------------------------------------------------------------- */

static int set_sizes(const struct wire_maps *m, uint32_t flows)
{
	int rc = bpf_map__set_max_entries(m->skeleton->maps.wire_flows, 2 * flows);

	if (!rc)
		rc = bpf_map__set_max_entries(m->skeleton->maps.wire_directions, 2 * flows);
	if (!rc)
		rc = bpf_map__set_max_entries(m->skeleton->maps.wire_identities, flows);
	if (!rc)
		rc = bpf_map__set_max_entries(m->skeleton->maps.wire_holds, HOLDS_MAX);
	if (!rc)
		rc = bpf_map__set_max_entries(m->skeleton->maps.wire_listeners, LISTENERS_MAX);
	/* Hardly any of them is ever used. */
	if (!rc)
		rc = bpf_map__set_map_flags(m->skeleton->maps.wire_listeners, BPF_F_NO_PREALLOC);
	return rc;
}

static int open_skeleton(struct wire_maps *m, uint32_t flows)
{
	wire_bpf__destroy(m->skeleton);
	m->skeleton = wire_bpf__open();
	return m->skeleton ? set_sizes(m, flows) : -errno;
}

static size_t mapped_bytes(const struct bpf_map *map)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return ((size_t)bpf_map__max_entries(map) * bpf_map__value_size(map) + page - 1) / page *
	       page;
}

static int map_one(const struct bpf_map *map, void **out)
{
	void *p = mmap(NULL, mapped_bytes(map), PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

static int map_all(struct wire_maps *m)
{
	int rc = map_one(m->skeleton->maps.wire_directions, (void **)&m->directions);

	if (!rc)
		rc = map_one(m->skeleton->maps.wire_identities, (void **)&m->identities);
	if (!rc)
		rc = map_one(m->skeleton->maps.wire_settings, (void **)&m->settings);
	return rc;
}

static void unmap(void *p, const struct bpf_map *map)
{
	if (p)
		munmap(p, mapped_bytes(map));
}

static void note_fds(struct wire_maps *m)
{
	const struct wire_bpf *s = m->skeleton;

	m->flows = bpf_map__fd(s->maps.wire_flows);
	m->holds = bpf_map__fd(s->maps.wire_holds);
	m->listeners = bpf_map__fd(s->maps.wire_listeners);
	m->expected = bpf_map__fd(s->maps.wire_expected);
	m->rings = bpf_map__fd(s->maps.wire_rings);
	m->counters = bpf_map__fd(s->maps.wire_counters);
	m->forward_program = bpf_program__fd(s->progs.wire_forward);
	m->join_program = bpf_program__fd(s->progs.wire_join);
	m->deaf_program = bpf_program__fd(s->progs.wire_deaf);
	m->capacity = bpf_map__max_entries(s->maps.wire_identities);
}

/* Sizes belong together, and the version is that of what the maps hold. */
static int check_and_mark(const struct wire_maps *m)
{
	if (bpf_map__max_entries(m->skeleton->maps.wire_directions) != 2 * m->capacity ||
	    (m->is_taken_over && m->settings->version != WIRE_ABI_VERSION))
		return -EPROTO;
	m->settings->version = WIRE_ABI_VERSION;
	return 0;
}

static int load(struct wire_maps *m, uint32_t flows)
{
	int rc = open_skeleton(m, flows);

	if (!rc && m->pin_folder)
		rc = take_over(m);
	if (rc == -ESTALE) {
		rc = remove_pins(m->pin_folder);
		if (!rc)
			rc = bpf_load_folder(m->pin_folder);
		if (!rc)
			rc = open_skeleton(m, flows);
	}
	if (!rc)
		rc = wire_bpf__load(m->skeleton);
	if (rc)
		return rc;
	note_fds(m);
	rc = map_all(m);
	return rc ? rc : check_and_mark(m);
}

/* --- life ------------------------------------------------------------------------------------ */

/* Without a bpffs it goes without pins; only that somebody else has them is an error. */
static int open_folder(struct wire_maps *m, const char *folder)
{
	int rc = bpf_load_folder(folder);

	if (!rc)
		rc = lock_folder(folder, &m->lock_fd);
	if (rc == -EBUSY)
		return rc;
	if (rc)
		log_warning("no pins in %s (%s): joined flows end with the daemon", folder,
			    rc == -ENODEV ? "no bpffs is mounted there" : strerror(-rc));
	else
		m->pin_folder = xstrdup(folder);
	return 0;
}

static void explain(int rc, const char *folder, char *why, size_t size)
{
	if (rc == -EBUSY)
		snprintf(why, size, "another process has what is pinned in %s", folder);
	else if (rc == -EPROTO)
		snprintf(why, size,
			 "what is pinned in %s is of another version of shunt: \"shunt wire "
			 "clear\" ends its flows and removes it",
			 folder);
	else
		bpf_load_explain(-rc, FIRST_KERNEL, why, size);
}

int wire_maps_open(struct wire_maps *m, uint32_t flows, const char *pin_folder, char *why,
		   size_t size)
{
	int rc = 0;

	*m = (struct wire_maps){ .lock_fd = -1 };
	bpf_load_begin();
	if (pin_folder)
		rc = open_folder(m, pin_folder);
	if (!rc)
		rc = load(m, flows);
	if (rc) {
		explain(rc, pin_folder, why, size);
		/* What a daemon before has left is not this one's to remove. */
		wire_maps_close(m, true);
		return rc;
	}
	if (m->pin_folder)
		pin_or_do_without(m);
	return 0;
}

void wire_maps_close(struct wire_maps *m, bool leave)
{
	int rc = 0;

	if (m->pin_folder && !leave)
		rc = remove_pins(m->pin_folder);
	if (rc)
		log_warning("pins are left in %s: %s", m->pin_folder, strerror(-rc));
	if (m->skeleton) {
		unmap(m->directions, m->skeleton->maps.wire_directions);
		unmap(m->identities, m->skeleton->maps.wire_identities);
		unmap(m->settings, m->skeleton->maps.wire_settings);
	}
	wire_bpf__destroy(m->skeleton);
	m->skeleton = NULL;
	forget_folder(m);
}

int wire_maps_deafen(const struct wire_maps *m, int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &m->deaf_program, sizeof(m->deaf_program));
}

uint64_t wire_maps_memory(const struct wire_maps *m)
{
	return bpf_load_memory(m->skeleton->obj);
}

/* --- clearing -------------------------------------------------------------------------------- */

/* The flows in a pinned map of identities; 0 for one that can't be read, as of another version. */
static int count_flows(const char *folder)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info), key;
	struct wire_flow flow;
	char path[PATH_MAX];
	int fd, n = 0;

	pin_path(folder, "wire_identities", path);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len) && info.value_size == sizeof(flow))
		for (key = 0; key < info.max_entries; key++)
			n += !bpf_map_lookup_elem(fd, &key, &flow) && flow.in_use;
	close(fd);
	return n;
}

int wire_maps_clear(const char *pin_folder)
{
	int lock_fd = -1, flows, hooks, rc = lock_folder(pin_folder, &lock_fd);

	bpf_load_begin();
	if (rc && rc != -ENOENT)
		return rc;
	flows = rc ? 0 : count_flows(pin_folder);
	/* First: what nothing is attached to any more touches no packet. */
	hooks = wire_hooks_clear(pin_folder);
	rc = hooks < 0 ? hooks : 0;
	if (lock_fd >= 0 && !rc)
		rc = remove_pins(pin_folder);
	if (lock_fd >= 0)
		close(lock_fd);
	return rc ? rc : flows;
}
