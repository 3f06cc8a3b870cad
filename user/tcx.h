/* SPDX-License-Identifier: MIT */
/*
 * One TC program at the ingress of one device: by a tcx link (from Linux 6.6), or by a filter of
 * the clsact qdisc. A link lives as long as somebody has it open or pinned; a filter until it is
 * removed. Either way the program is the first there that sees a packet, as far as others allow it,
 * and it is replaced in place: no packet is missed. In a build without BPF tcx_none.c stands in.
 *
 * Functions return 0 or -errno. They act in the network namespace of the calling thread.
 */
#ifndef SHUNT_TCX_H
#define SHUNT_TCX_H

#include <stdbool.h>
#include <stdint.h>

#include "netlink.h"
#include "util.h"

struct tcx {
	uint32_t ifindex;
	int link_fd; /* -1: a filter */
};

/* Does this kernel have tcx links? */
bool tcx_is_supported(void);

/* As a filter it takes the place of the one that an earlier process has left. */
int tcx_attach(struct tcx *t, int program_fd, uint32_t ifindex, bool as_filter) must_check;
int tcx_pin(const struct tcx *t, const char *path) must_check;
/*
 * Takes over the link that is pinned at `path`, and gives it this program. -ENODEV: its device is
 * gone; -EXDEV: its device is in another network namespace; -EINVAL: it is no tcx link at an
 * ingress.
 */
int tcx_take_over(struct tcx *t, int program_fd, const char *path) must_check;

/* Detaches the link that is pinned at `path`, whoever has it, and unpins it. */
int tcx_remove_pinned(const char *path) must_check;

/* Does the kernel still have it there? */
bool tcx_is_attached(const struct tcx *t, struct netlink *n);
/* Has a device a filter of ours? */
bool tcx_has_filter(struct netlink *n, uint32_t ifindex);

/* Takes the program away, but for a link that is pinned or that another process has, too. */
void tcx_detach(struct tcx *t, struct netlink *n);
/* Leaves a filter, and a link that is pinned, where it is. */
void tcx_leave(struct tcx *t);

#endif
