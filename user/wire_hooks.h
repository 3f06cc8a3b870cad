/* SPDX-License-Identifier: MIT */
/*
 * The devices that have the wire's TC program, and the pins ("link_<device>", dots as colons) that
 * keep it there when the daemon has gone. What it is attached to is the kernel's to say: each
 * update asks, and sets right what is not as it should be.
 */
#ifndef SHUNT_WIRE_HOOKS_H
#define SHUNT_WIRE_HOOKS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ingress.h"
#include "netlink.h"
#include "tcx.h"
#include "util.h"

struct wire_hook {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	struct tcx tcx; /* if it is attached */
	bool is_attached;
	bool is_pinned;
	bool is_told; /* that it can't have the program, or no pin */
};

/* Zeroed, but for what the owner sets, it is empty. */
struct wire_hooks {
	int program_fd;
	bool as_filters;        /* of clsact, instead of tcx links */
	bool is_trial;          /* what is attached is no news */
	const char *pin_folder; /* NULL: links are not pinned */
	uint32_t never_pinned;  /* an ifindex */
	struct netlink *netlink;
	struct wire_hook *at;
	size_t n;
};

/* What a process before has pinned, or left as filters. 0 or -errno. */
int wire_hooks_take_over(struct wire_hooks *h) must_check;
/* Attaches it to a device, if it is not there yet. 0 or -errno. */
int wire_hooks_attach(struct wire_hooks *h, uint32_t ifindex) must_check;
/* Attaches it to what is wanted, and forgets what is gone. Logs what changes, and what can't be. */
void wire_hooks_update(struct wire_hooks *h, const struct ingress *in);
/* With `leave`, what is pinned stays attached, and filters do. */
void wire_hooks_close(struct wire_hooks *h, bool leave);

/*
 * Detaches what a dead daemon has left: pinned links, also of other network namespaces, and filters
 * of this one. How many there were, or -errno.
 */
int wire_hooks_clear(const char *pin_folder) must_check;

#endif
