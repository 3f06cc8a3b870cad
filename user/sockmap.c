/* SPDX-License-Identifier: MIT */
#include "sockmap.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <shunt.skel.h> /* generated */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf_load.h"
#include "bpf_ring.h"
#include "log.h"

#define FIRST_KERNEL "5.13"
#define PINS_MAX 8

/* A file in the bpffs that this process has made: by its inode it is told from a later daemon's. */
struct pin {
	const char *name;
	ino_t inode;
};

struct sockmap {
	struct sockmap_conf conf;
	struct shunt_bpf *skeleton;
	struct shunt_direction *directions;
	size_t directions_bytes;
	int link_fd; /* -1: attached without a link, by a kernel before 6.10 */
	struct pin pins[PINS_MAX];
	size_t n_pins;
};

struct sockmap_ring {
	struct bpf_ring *ring;
	sockmap_event_fn on_event;
	void *arg;
};

/* --- load ------------------------------------------------------------------------------------ */

static uint32_t slot_count(const struct sockmap_conf *c)
{
	return 2 * c->workers * c->flows_per_worker;
}

static int load(struct sockmap *m)
{
	struct shunt_bpf *s = shunt_bpf__open();
	uint32_t n = slot_count(&m->conf);
	int rc;

	m->skeleton = s;
	if (!s)
		return -errno;
	s->rodata->backlog_cap = m->conf.backlog_cap_bytes;
	rc = bpf_map__set_max_entries(s->maps.sockets, n);
	if (!rc)
		rc = bpf_map__set_max_entries(s->maps.slots, n);
	if (!rc)
		rc = bpf_map__set_max_entries(s->maps.directions, n);
	if (!rc)
		rc = bpf_map__set_max_entries(s->maps.rings, m->conf.workers);
	return rc ? rc : shunt_bpf__load(s);
}

static int map_directions(struct sockmap *m)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = slot_count(&m->conf) * sizeof(*m->directions);
	void *p;

	bytes = (bytes + page - 1) / page * page;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		 bpf_map__fd(m->skeleton->maps.directions), 0);
	if (p == MAP_FAILED)
		return -errno;
	m->directions = p;
	m->directions_bytes = bytes;
	return 0;
}

/* A link goes when the process goes. Without one the program stays with the map, which goes then,
 * too. */
static int attach(struct sockmap *m)
{
	int prog = bpf_program__fd(m->skeleton->progs.shunt_verdict);
	int map = bpf_map__fd(m->skeleton->maps.sockets);

	m->link_fd = bpf_link_create(prog, map, BPF_SK_SKB_VERDICT, NULL);
	if (m->link_fd >= 0)
		return 0;
	m->link_fd = -1;
	return bpf_prog_attach(prog, map, BPF_SK_SKB_VERDICT, 0);
}

/* --- pins ------------------------------------------------------------------------------------ */

static void pin_path(const char *name, char path[64])
{
	snprintf(path, 64, SOCKMAP_PIN_FOLDER "/%s", name);
}

/* In the place of what an earlier process may have left there. */
static int pin(struct sockmap *m, int fd, const char *name)
{
	struct stat st;
	char path[64];

	pin_path(name, path);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	if (bpf_obj_pin(fd, path) || stat(path, &st))
		return -errno;
	m->pins[m->n_pins++] = (struct pin){ name, st.st_ino };
	return 0;
}

static void pin_all(struct sockmap *m)
{
	const struct {
		const char *name;
		int fd;
	} objects[] = {
		{ "sockets", bpf_map__fd(m->skeleton->maps.sockets) },
		{ "slots", bpf_map__fd(m->skeleton->maps.slots) },
		{ "directions", bpf_map__fd(m->skeleton->maps.directions) },
		{ "rings", bpf_map__fd(m->skeleton->maps.rings) },
		{ "counters", bpf_map__fd(m->skeleton->maps.counters) },
		{ "shunt_verdict", bpf_program__fd(m->skeleton->progs.shunt_verdict) },
	};
	int rc = bpf_load_folder(SOCKMAP_PIN_FOLDER);

	_Static_assert(ARRAY_SIZE(objects) <= PINS_MAX, "each has a place in pins");
	for (size_t i = 0; !rc && i < ARRAY_SIZE(objects); i++)
		rc = pin(m, objects[i].fd, objects[i].name);
	if (rc == -ENODEV)
		log_info("BPF maps are not pinned: no bpffs is mounted on /sys/fs/bpf");
	else if (rc)
		log_warning("BPF maps can't be pinned under %s: %s", SOCKMAP_PIN_FOLDER,
			    strerror(-rc));
	else
		log_info("BPF maps are pinned under %s", SOCKMAP_PIN_FOLDER);
}

static void unpin_all(struct sockmap *m)
{
	struct stat st;
	char path[64];

	for (size_t i = 0; i < m->n_pins; i++) {
		pin_path(m->pins[i].name, path);
		if (!stat(path, &st) && st.st_ino == m->pins[i].inode)
			unlink(path);
	}
	/* It stays when another daemon has its pins there. */
	if (m->n_pins)
		rmdir(SOCKMAP_PIN_FOLDER);
}

/* --- life ------------------------------------------------------------------------------------ */

int sockmap_open(const struct sockmap_conf *conf, struct sockmap **out, char *why, size_t size)
{
	struct sockmap *m = xcalloc(1, sizeof(*m));
	int rc;

	m->conf = *conf;
	m->link_fd = -1;
	bpf_load_begin();
	rc = load(m);
	if (!rc)
		rc = map_directions(m);
	if (!rc)
		rc = attach(m);
	if (rc) {
		bpf_load_explain(-rc, FIRST_KERNEL, why, size);
		sockmap_close(m);
		return rc;
	}
	if (conf->pin)
		pin_all(m);
	*out = m;
	return 0;
}

void sockmap_close(struct sockmap *m)
{
	if (!m)
		return;
	unpin_all(m);
	if (m->link_fd >= 0)
		close(m->link_fd);
	if (m->directions)
		munmap(m->directions, m->directions_bytes);
	shunt_bpf__destroy(m->skeleton);
	free(m);
}

const struct sockmap_conf *sockmap_conf(const struct sockmap *m)
{
	return &m->conf;
}

uint64_t sockmap_memory(const struct sockmap *m)
{
	return bpf_load_memory(m->skeleton->obj);
}

int sockmap_counters(const struct sockmap *m, uint64_t out[N_SHUNT_COUNTERS])
{
	return bpf_load_counters(bpf_map__fd(m->skeleton->maps.counters), N_SHUNT_COUNTERS, out);
}

size_t sockmap_entries(const struct sockmap *m)
{
	return bpf_load_count_keys(bpf_map__fd(m->skeleton->maps.slots));
}

/* --- slots ----------------------------------------------------------------------------------- */

struct shunt_direction *sockmap_direction(const struct sockmap *m, uint32_t slot)
{
	return &m->directions[slot];
}

int sockmap_insert(struct sockmap *m, uint32_t slot, int fd, uint64_t *cookie)
{
	int slots = bpf_map__fd(m->skeleton->maps.slots);
	uint64_t value = (uint64_t)fd, own;
	socklen_t len = sizeof(own);
	int rc;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &own, &len))
		return -errno;
	rc = bpf_map_update_elem(slots, &own, &slot, BPF_NOEXIST);
	if (rc)
		return rc;
	rc = bpf_map_update_elem(bpf_map__fd(m->skeleton->maps.sockets), &slot, &value,
				 BPF_NOEXIST);
	if (rc)
		bpf_map_delete_elem(slots, &own);
	else
		*cookie = own;
	return rc;
}

void sockmap_forget(struct sockmap *m, uint64_t cookie)
{
	int rc = bpf_map_delete_elem(bpf_map__fd(m->skeleton->maps.slots), &cookie);

	if (rc)
		log_warning("a socket's entry can't be taken out of the map of slots: %s",
			    strerror(-rc));
}

/* --- rings ----------------------------------------------------------------------------------- */

static void on_ring_entry(void *arg, const void *entry, size_t size)
{
	const struct sockmap_ring *r = arg;
	const struct shunt_event *event = entry;

	if (size == sizeof(*event))
		r->on_event(r->arg, event->slot, event->generation);
}

/* It has room for an entry of each slot of the worker. */
int sockmap_ring_open(struct sockmap *m, uint32_t worker, sockmap_event_fn on_event, void *arg,
		      struct sockmap_ring **out)
{
	struct sockmap_ring *r = xcalloc(1, sizeof(*r));
	int rc;

	*r = (struct sockmap_ring){ .on_event = on_event, .arg = arg };
	rc = bpf_ring_open(bpf_map__fd(m->skeleton->maps.rings), worker,
			   2ul * m->conf.flows_per_worker, sizeof(struct shunt_event),
			   on_ring_entry, r, &r->ring);
	if (rc) {
		sockmap_ring_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

int sockmap_ring_fd(const struct sockmap_ring *r)
{
	return bpf_ring_fd(r->ring);
}

void sockmap_ring_consume(struct sockmap_ring *r)
{
	bpf_ring_consume(r->ring);
}

void sockmap_ring_close(struct sockmap_ring *r)
{
	if (!r)
		return;
	bpf_ring_close(r->ring);
	free(r);
}
