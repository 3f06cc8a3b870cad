/* SPDX-License-Identifier: MIT */
#include "bypass.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <bypass.skel.h> /* generated */
#include <fcntl.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf_load.h"

#define FIRST_KERNEL "6.18"
#define LISTENERS_MAX (64u << 10)
#define MOUNTINFO_MAX_BYTES (1u << 20)

struct bypass {
	struct bypass_conf conf;
	struct bypass_bpf *skeleton;
	struct bypass_direction *directions;
	size_t directions_bytes;
	struct bpf_link *watch; /* NULL: not attached */
	uint64_t netns;
};

/* --- load ------------------------------------------------------------------------------------ */

static uint32_t flow_count(const struct bypass_conf *c)
{
	return c->workers * c->flows_per_worker;
}

static int load(struct bypass *b)
{
	struct bypass_bpf *s = bypass_bpf__open();
	uint32_t n = 2 * flow_count(&b->conf);
	struct bpf_map *sized[5];
	int rc = 0;

	b->skeleton = s;
	if (!s)
		return -errno;
	s->rodata->unread_cap = b->conf.unread_cap_bytes;
	sized[0] = s->maps.bypass_sockets;
	sized[1] = s->maps.bypass_ends;
	sized[2] = s->maps.bypass_own;
	sized[3] = s->maps.bypass_outlets;
	sized[4] = s->maps.bypass_directions;
	for (size_t i = 0; !rc && i < ARRAY_SIZE(sized); i++)
		rc = bpf_map__set_max_entries(sized[i], n);
	if (!rc)
		rc = bpf_map__set_max_entries(s->maps.bypass_listeners, LISTENERS_MAX);
	return rc ? rc : bypass_bpf__load(s);
}

static int map_directions(struct bypass *b)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = 2 * (size_t)flow_count(&b->conf) * sizeof(*b->directions);
	void *p;

	bytes = (bytes + page - 1) / page * page;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		 bpf_map__fd(b->skeleton->maps.bypass_directions), 0);
	if (p == MAP_FAILED)
		return -errno;
	b->directions = p;
	b->directions_bytes = bytes;
	return 0;
}

/* --- attach ---------------------------------------------------------------------------------- */

static int open_folder(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* An fd of the root of the hierarchy where it is mounted, or -ENOENT. */
static int open_mounted_root(void)
{
	char *text = xcalloc(1, MOUNTINFO_MAX_BYTES), path[PATH_MAX];
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;

	if (f) {
		text[fread(text, 1, MOUNTINFO_MAX_BYTES - 1, f)] = '\0';
		found = bypass_cgroup_root(text, path, sizeof(path));
		fclose(f);
	}
	free(text);
	return found ? open_folder(AT_FDCWD, path) : -ENOENT;
}

/* The same where it is not, as after "ip netns exec", by a mount of its own that has no place. */
static int open_detached_root(void)
{
	int fs = fsopen("cgroup2", FSOPEN_CLOEXEC), mount, fd;

	if (fs < 0)
		return -errno;
	mount = fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)
			? -1
			: fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
	fd = mount < 0 ? -errno : open_folder(mount, ".");
	if (mount >= 0)
		close(mount);
	close(fs);
	return fd;
}

static int open_root(void)
{
	int fd = open_mounted_root();

	return fd == -ENOENT ? open_detached_root() : fd;
}

/* The link is this process's, and goes with it. 0 or -errno. */
static int watch_cgroup(struct bypass *b)
{
	int fd = b->conf.cgroup ? open_folder(AT_FDCWD, b->conf.cgroup) : open_root(), rc = 0;

	if (fd < 0)
		return fd;
	b->watch = bpf_program__attach_cgroup(b->skeleton->progs.bypass_watch, fd);
	if (!b->watch)
		rc = -errno;
	close(fd);
	return rc;
}

/* The program stays with the map and with the sockets in it, and goes with the last of them. */
static int judge_sends(const struct bypass *b)
{
	return bpf_prog_attach(bpf_program__fd(b->skeleton->progs.bypass_send),
			       bpf_map__fd(b->skeleton->maps.bypass_sockets), BPF_SK_MSG_VERDICT,
			       0);
}

static int note_netns(struct bypass *b)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 0;
	socklen_t len = sizeof(b->netns);

	if (fd < 0)
		return -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &b->netns, &len))
		rc = -errno;
	close(fd);
	return rc;
}

/* --- life ------------------------------------------------------------------------------------ */

static int load_all(struct bypass *b, char *why, size_t size)
{
	int rc;

	bpf_load_begin();
	rc = load(b);
	if (!rc)
		rc = map_directions(b);
	if (!rc)
		rc = judge_sends(b);
	if (!rc)
		rc = note_netns(b);
	if (rc)
		bpf_load_explain(-rc, FIRST_KERNEL, why, size);
	return rc;
}

static int attach(struct bypass *b, char *why, size_t size)
{
	int rc = watch_cgroup(b);

	if (rc)
		snprintf(why, size, "the connections of the cgroup %s can't be watched: %s",
			 b->conf.cgroup ? b->conf.cgroup : "hierarchy's root", strerror(-rc));
	return rc;
}

int bypass_open(const struct bypass_conf *conf, struct bypass **out, char *why, size_t size)
{
	struct bypass *b = xcalloc(1, sizeof(*b));
	int rc;

	b->conf = *conf;
	rc = load_all(b, why, size);
	if (!rc)
		rc = attach(b, why, size);
	if (rc) {
		bypass_close(b);
		return rc;
	}
	b->conf.cgroup = NULL; /* the caller's string is not needed any more */
	*out = b;
	return 0;
}

void bypass_close(struct bypass *b)
{
	if (!b)
		return;
	bpf_link__destroy(b->watch);
	if (b->directions)
		munmap(b->directions, b->directions_bytes);
	bypass_bpf__destroy(b->skeleton);
	free(b);
}

const struct bypass_conf *bypass_conf(const struct bypass *b)
{
	return &b->conf;
}

uint64_t bypass_memory(const struct bypass *b)
{
	return bpf_load_memory(b->skeleton->obj);
}

int bypass_counters(const struct bypass *b, uint64_t out[N_BYPASS_COUNTERS])
{
	return bpf_load_counters(bpf_map__fd(b->skeleton->maps.bypass_counters), N_BYPASS_COUNTERS,
				 out);
}

size_t bypass_ends(const struct bypass *b)
{
	return bpf_load_count_keys(bpf_map__fd(b->skeleton->maps.bypass_ends));
}

/* --- whose connections ------------------------------------------------------------------------- */

static struct bypass_listener key_of(const struct bypass *b, const struct addr *at)
{
	struct bypass_listener key = { .netns = b->netns, .port = addr_port(at) };
	uint32_t *ip = key.addr;

	if (at->sa.sa_family == AF_INET6) {
		memcpy(ip, &at->in6.sin6_addr, sizeof(key.addr));
		key.is_ipv6 = !(ip[0] | ip[1] | ip[2] | ip[3]);
	} else if (at->in.sin_addr.s_addr != htonl(INADDR_ANY)) {
		ip[2] = htonl(0xFFFF);
		ip[3] = at->in.sin_addr.s_addr;
	}
	return key;
}

int bypass_listen(struct bypass *b, const struct addr *at, bool on)
{
	struct bypass_listener key = key_of(b, at);
	int fd = bpf_map__fd(b->skeleton->maps.bypass_listeners);
	uint32_t one = 1;

	return on ? bpf_map_update_elem(fd, &key, &one, BPF_ANY) : bpf_map_delete_elem(fd, &key);
}

int bypass_cookie(int fd, uint64_t *cookie)
{
	socklen_t len = sizeof(*cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &len) ? -errno : 0;
}

int bypass_expect(struct bypass *b, int fd, uint64_t *cookie)
{
	struct bypass_own unseen = { 0 };
	int rc = bypass_cookie(fd, cookie);

	return rc ? rc
		  : bpf_map_update_elem(bpf_map__fd(b->skeleton->maps.bypass_own), cookie, &unseen,
					BPF_NOEXIST);
}

/* Of the end that is connected to this socket; 0: it is not (yet) known. */
static uint64_t end_of(const struct bypass *b, uint64_t cookie)
{
	struct bypass_own own;

	return bpf_map_lookup_elem(bpf_map__fd(b->skeleton->maps.bypass_own), &cookie, &own)
		       ? 0
		       : own.peer;
}

bool bypass_recognizes(struct bypass *b, uint64_t cookie)
{
	return end_of(b, cookie);
}

void bypass_release(struct bypass *b, uint64_t cookie)
{
	uint64_t end = end_of(b, cookie);

	if (end) /* which may have closed since */
		(void)!bpf_map_delete_elem(bpf_map__fd(b->skeleton->maps.bypass_sockets), &end);
}

void bypass_forget(struct bypass *b, uint64_t cookie)
{
	/* The program that saw the socket close has mostly done it before. */
	(void)!bpf_map_delete_elem(bpf_map__fd(b->skeleton->maps.bypass_own), &cookie);
}

/* --- flows ----------------------------------------------------------------------------------- */

struct bypass_direction *bypass_direction(const struct bypass *b, uint32_t flow, int from)
{
	return &b->directions[2 * flow + (uint32_t)from];
}

enum bypass_pairing bypass_pair(struct bypass *b, uint32_t flow, const uint64_t own[2])
{
	struct bypass_request request = { .own = { own[0], own[1] }, .flow = flow };
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.ctx_in = &request,
		.ctx_size_in = sizeof(request),
	};
	int rc = bpf_prog_test_run_opts(bpf_program__fd(b->skeleton->progs.bypass_pair), &opts);

	return rc ? BYPASS_CLIENT_UNKNOWN : (enum bypass_pairing)request.result;
}

static enum bypass_pairing run_halve(const struct bypass *b, const struct bypass_half *half,
				     uint64_t written)
{
	uint8_t frame[ETH_HLEN] = { 0 }; /* the kernel wants one */
	struct __sk_buff context = { .mark = (uint32_t)written };
	struct bpf_test_run_opts opts = {
		.sz = sizeof(opts),
		.data_in = frame,
		.data_size_in = sizeof(frame),
		.ctx_in = &context,
		.ctx_size_in = sizeof(context),
		.repeat = 1,
	};
	int rc;

	memcpy(context.cb, half, sizeof(*half));
	rc = bpf_prog_test_run_opts(bpf_program__fd(b->skeleton->progs.bypass_halve), &opts);
	return rc ? BYPASS_CLIENT_UNKNOWN : (enum bypass_pairing)opts.retval;
}

enum bypass_pairing bypass_halve(struct bypass *b, uint32_t flow, int from, const uint64_t own[2],
				 int outlet, uint64_t written)
{
	struct bypass_half half = { { own[from], own[!from] }, 2 * flow + (uint32_t)from };
	uint64_t fd = (uint64_t)outlet;

	/* What is in it stays there: with the entry would go what is in its queues. */
	if (bpf_map_update_elem(bpf_map__fd(b->skeleton->maps.bypass_outlets), &half.own[1], &fd,
				BPF_NOEXIST))
		return BYPASS_BACKEND_UNKNOWN;
	return run_halve(b, &half, written);
}

void bypass_part(struct bypass *b, uint32_t flow)
{
	for (int from = 0; from < 2; from++)
		__atomic_store_n(&bypass_direction(b, flow, from)->owner, 0, __ATOMIC_SEQ_CST);
}
