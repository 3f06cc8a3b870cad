/* SPDX-License-Identifier: MIT */
/*
 * Where the wire's TC program is attached: at the ingress of the devices that clients' and
 * backends' packets come in by. Either those that the config names, or those that are found: which
 * carry the listeners' addresses (for a wildcard all that have one of its family), and by which the
 * routes to the targets lead. Changes of links, addresses and routes are followed by netlink.
 *
 * tcx links, from Linux 6.6; else a clsact filter. Only devices with Ethernet headers; of a
 * bridge or bond the master, where IP packets come in. What has the program keeps it till it goes.
 *
 * Threads: wire_devices_has() may be asked by any, all else is for the loop's.
 */
#ifndef SHUNT_WIRE_DEVICES_H
#define SHUNT_WIRE_DEVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "loop.h"
#include "util.h"

struct wire_devices;

struct wire_devices_conf {
	int program_fd;
	const char *pin_folder; /* exists; links are pinned there; NULL: not */
	char *const *names;     /* devices that the config names; n_names 0: they are found */
	size_t n_names;
	uint32_t always; /* an ifindex that has to have the program: the parking device; 0: none */
	bool no_tcx;     /* for tests: as before Linux 6.6 */
	bool is_trial;   /* of the probe, whose devices are no news */
	struct loop *loop; /* NULL: changes are not followed */
	/* Devices or routes have changed, wherever they lead, and the program is where it should
	 * be. */
	void (*changed)(void *arg);
	void *arg;
};

/*
 * 0 or -errno with a phrase in `why`. Links that are pinned, and filters that are left, from a
 * process before are taken over, and their program is replaced in place: no packet is missed. The
 * strings of conf are copied.
 */
int wire_devices_open(const struct wire_devices_conf *conf, struct wire_devices **out, char *why,
		      size_t size) must_check;
/* Takes NULL. With `leave`, what is pinned stays attached, and filters do. */
void wire_devices_close(struct wire_devices *d, bool leave);

/*
 * Whose devices are looked for: an address that is listened on, or that connections go to.
 * Idempotent. The devices are found and get the program at wire_devices_update(), which is not
 * needed again when devices and routes change. One that can't have it, or is named and not there,
 * is logged.
 */
void wire_devices_add_listen(struct wire_devices *d, const struct addr *a);
void wire_devices_add_target(struct wire_devices *d, const struct addr *a);
/* Forgets all of them, for a reload to add those that there are now. */
void wire_devices_forget(struct wire_devices *d);
/* Costs about a microsecond a target, and for each device that gets a tcx link the RCU grace period
 * that the kernel waits for: some ten milliseconds. */
void wire_devices_update(struct wire_devices *d);

bool wire_devices_has(struct wire_devices *d, uint32_t ifindex);
/* "eth0, eth1" or "none", for the log; without the parking device. Returns buf. */
const char *wire_devices_text(const struct wire_devices *d, char *buf, size_t size);

#endif
