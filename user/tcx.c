/* SPDX-License-Identifier: MIT */
#include "tcx.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

/* From Linux 6.6's uapi/linux/bpf.h, which is newer than the headers that this builds with. */
#define ATTACH_TYPE_TCX_INGRESS ((enum bpf_attach_type)46)
#define LINK_TYPE_TCX 11
#define ATTACH_BEFORE_ALL (1u << 3) /* BPF_F_BEFORE, and none named to stand before */
#define TCX_PROGRAMS_MAX 64         /* that the kernel allows at a hook */

/*
 * By these a filter of ours is known, also to a later process: cls_bpf's filters of one priority
 * have handles from 1 on if nobody says otherwise.
 */
#define FILTER_HANDLE 0x73686e74 /* "shnt" */
#define FILTER_PRIORITY 1

bool tcx_is_supported(void)
{
	__u32 n = 0;

	/* A kernel that does not know the type refuses it; what is attached does not matter. */
	return bpf_prog_query(NETLINK_LOOPBACK_IFINDEX, ATTACH_TYPE_TCX_INGRESS, 0, NULL, NULL,
			      &n) != -EINVAL;
}

/* --- as a filter ----------------------------------------------------------------------------- */

static struct bpf_tc_hook ingress_of(uint32_t ifindex)
{
	return (struct bpf_tc_hook){ .sz = sizeof(struct bpf_tc_hook),
				     .ifindex = (int)ifindex,
				     .attach_point = BPF_TC_INGRESS };
}

static int attach_filter(int program_fd, uint32_t ifindex)
{
	struct bpf_tc_hook hook = ingress_of(ifindex);
	struct bpf_tc_opts opts = { .sz = sizeof(opts),
				    .prog_fd = program_fd,
				    .flags = BPF_TC_F_REPLACE,
				    .handle = FILTER_HANDLE,
				    .priority = FILTER_PRIORITY };
	int rc = bpf_tc_hook_create(&hook);

	return rc && rc != -EEXIST ? rc : bpf_tc_attach(&hook, &opts);
}

struct filters {
	bool ours, others;
};

static void on_filter(void *arg, const struct netlink_filter *f)
{
	struct filters *seen = arg;
	bool is_ours = f->handle == FILTER_HANDLE && f->priority == FILTER_PRIORITY;

	seen->ours |= is_ours;
	seen->others |= !is_ours;
}

bool tcx_has_filter(struct netlink *n, uint32_t ifindex)
{
	struct filters seen = { 0 };

	return !netlink_filters(n, ifindex, true, on_filter, &seen) && seen.ours;
}

/*
 * The qdisc goes with its last filter. An empty one has no effect, so it is not asked who made
 * it: it may have been a process before this one.
 */
static void detach_filter(struct netlink *n, uint32_t ifindex)
{
	struct bpf_tc_hook hook = ingress_of(ifindex);
	const struct bpf_tc_opts opts = { .sz = sizeof(opts),
					  .handle = FILTER_HANDLE,
					  .priority = FILTER_PRIORITY };
	struct filters seen = { 0 };

	if (bpf_tc_detach(&hook, &opts) || netlink_filters(n, ifindex, true, on_filter, &seen) ||
	    netlink_filters(n, ifindex, false, on_filter, &seen) || seen.ours || seen.others)
		return;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&hook);
}

/* --- as a link ------------------------------------------------------------------------------- */

/* What a tcx link has in the place of struct bpf_link_info's netns: its ifindex, its attach type. */
static int link_info(int link_fd, struct bpf_link_info *info)
{
	__u32 len = sizeof(*info);

	*info = (struct bpf_link_info){ 0 };
	return bpf_obj_get_info_by_fd(link_fd, info, &len);
}

/* Numbers of devices mean nothing in another network namespace, those of programs do. */
static bool is_of_this_namespace(uint32_t ifindex, uint32_t program_id)
{
	__u32 ids[TCX_PROGRAMS_MAX], n = TCX_PROGRAMS_MAX;

	if (bpf_prog_query((int)ifindex, ATTACH_TYPE_TCX_INGRESS, 0, NULL, ids, &n))
		return false;
	for (__u32 i = 0; i < n; i++)
		if (ids[i] == program_id)
			return true;
	return false;
}

int tcx_take_over(struct tcx *t, int program_fd, const char *path)
{
	int fd = bpf_obj_get(path), rc;
	struct bpf_link_info info;

	if (fd < 0)
		return fd;
	rc = link_info(fd, &info);
	if (!rc &&
	    (info.type != LINK_TYPE_TCX || info.netns.attach_type != ATTACH_TYPE_TCX_INGRESS))
		rc = -EINVAL;
	if (!rc && !info.netns.netns_ino)
		rc = -ENODEV;
	if (!rc && !is_of_this_namespace(info.netns.netns_ino, info.prog_id))
		rc = -EXDEV;
	if (!rc)
		rc = bpf_link_update(fd, program_fd, NULL);
	if (rc) {
		close(fd);
		return rc;
	}
	*t = (struct tcx){ .ifindex = info.netns.netns_ino, .link_fd = fd };
	return 0;
}

int tcx_attach(struct tcx *t, int program_fd, uint32_t ifindex, bool as_filter)
{
	const struct bpf_link_create_opts opts = { .sz = sizeof(opts), .flags = ATTACH_BEFORE_ALL };

	*t = (struct tcx){ .ifindex = ifindex, .link_fd = -1 };
	if (as_filter)
		return attach_filter(program_fd, ifindex);
	t->link_fd = bpf_link_create(program_fd, (int)ifindex, ATTACH_TYPE_TCX_INGRESS, &opts);
	return MIN(t->link_fd, 0);
}

int tcx_pin(const struct tcx *t, const char *path)
{
	return bpf_obj_pin(t->link_fd, path);
}

/* Unpinning alone would leave it to the kernel when the link goes, and to who has it open if. */
int tcx_remove_pinned(const char *path)
{
	int fd = bpf_obj_get(path);

	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	return unlink(path) ? -errno : 0;
}

bool tcx_is_attached(const struct tcx *t, struct netlink *n)
{
	struct bpf_link_info info;

	if (t->link_fd < 0)
		return tcx_has_filter(n, t->ifindex);
	return !link_info(t->link_fd, &info) && info.netns.netns_ino == t->ifindex;
}

void tcx_detach(struct tcx *t, struct netlink *n)
{
	if (t->link_fd < 0)
		detach_filter(n, t->ifindex);
	tcx_leave(t);
}

void tcx_leave(struct tcx *t)
{
	if (t->link_fd >= 0)
		close(t->link_fd);
	t->link_fd = -1;
}
