/* SPDX-License-Identifier: MIT */
/* Takes the place of tcx.c in a build without BPF: there is no program to attach, and so nothing. */
#include "tcx.h"

bool tcx_is_supported(void)
{
	return false;
}

int tcx_attach(struct tcx *t, int program_fd, uint32_t ifindex, bool as_filter)
{
	(void)program_fd;
	(void)as_filter;
	*t = (struct tcx){ .ifindex = ifindex, .link_fd = -1 };
	return -EOPNOTSUPP;
}

int tcx_pin(const struct tcx *t, const char *path)
{
	(void)t;
	(void)path;
	return -EOPNOTSUPP;
}

int tcx_take_over(struct tcx *t, int program_fd, const char *path)
{
	(void)t;
	(void)program_fd;
	(void)path;
	return -EOPNOTSUPP;
}

int tcx_remove_pinned(const char *path)
{
	(void)path;
	return -EOPNOTSUPP;
}

bool tcx_is_attached(const struct tcx *t, struct netlink *n)
{
	(void)t;
	(void)n;
	return false;
}

bool tcx_has_filter(struct netlink *n, uint32_t ifindex)
{
	(void)n;
	(void)ifindex;
	return false;
}

void tcx_detach(struct tcx *t, struct netlink *n)
{
	(void)t;
	(void)n;
}

void tcx_leave(struct tcx *t)
{
	(void)t;
}
