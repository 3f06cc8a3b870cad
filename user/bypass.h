/* SPDX-License-Identifier: MIT */
/*
 * The BPF side of the local bypass: loads the programs (bpf/bypass.bpf.c), attaches them to a
 * cgroup and to the map of local ends, says where the proxy listens and which of its sockets
 * connect, pairs them, and hands out the records. It knows cookies and slots, no relays. The only
 * module that includes the skeleton; in a build without BPF bypass_none.c stands in for it.
 *
 * Threads: bypass_listen() is the main thread's; all else may be called from any, as the maps are
 * the kernel's and a flow belongs to one worker.
 */
#ifndef SHUNT_BYPASS_H
#define SHUNT_BYPASS_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "bypass_abi.h"
#include "util.h"

struct bypass_conf {
	uint32_t workers;
	uint32_t flows_per_worker; /* worker w has flows [w * n, (w + 1) * n) */
	uint32_t unread_cap_bytes; /* of one direction */
	const char *cgroup; /* with the programs that may be joined; NULL: all, by the root */
};

struct bypass;

/*
 * Loads and attaches; the programs go when the process does. 0 with *out for bypass_close(), or
 * -errno with a phrase for the operator in `why`.
 */
int bypass_open(const struct bypass_conf *conf, struct bypass **out, char *why,
		size_t size) must_check;
void bypass_close(struct bypass *b); /* takes NULL */

const struct bypass_conf *bypass_conf(const struct bypass *b);
/* Bytes of kernel memory that its maps take, used or not. */
uint64_t bypass_memory(const struct bypass *b);
/* Sums over all CPUs. 0 or -errno. */
int bypass_counters(const struct bypass *b, uint64_t out[N_BYPASS_COUNTERS]) must_check;
extern const char *const bypass_counter_names[N_BYPASS_COUNTERS];
/* Local clients' and backends' sockets that are watched now. */
size_t bypass_ends(const struct bypass *b);

/* The proxy listens there, in this thread's network namespace, for an app that is bypassed; or not
 * any more. 0 or -errno. */
int bypass_listen(struct bypass *b, const struct addr *at, bool on) must_check;

/* A socket that will connect to a backend. 0 with its cookie, or -errno. bypass_forget() is due,
 * once it is closed or will not be paired. */
int bypass_expect(struct bypass *b, int fd, uint64_t *cookie) must_check;
void bypass_forget(struct bypass *b, uint64_t cookie);
/* Is the other end of this socket of the proxy's, accepted or expected, on this host and in the
 * cgroup? It may not be known yet. */
bool bypass_recognizes(struct bypass *b, uint64_t cookie);
/* The end that is connected to this socket of the proxy's, and was not joined, is an ordinary
 * socket again. Before bypass_forget(). */
void bypass_release(struct bypass *b, uint64_t cookie);
/* 0 or -errno. */
int bypass_cookie(int fd, uint64_t *cookie) must_check;

/* The record of a flow's direction from side `from`. Shared with the programs: see bypass_abi.h. */
struct bypass_direction *bypass_direction(const struct bypass *b, uint32_t flow, int from);
/*
 * Joins the local ends of two connections of the proxy's, whose cookies are given, to a flow; its
 * records must be clear. If the backend is not known, the flow is joined as soon as it is.
 */
enum bypass_pairing bypass_pair(struct bypass *b, uint32_t flow, const uint64_t own[2]);
/*
 * Only the end at the flow's side `from` is on this host: what it sends goes to the proxy's socket
 * to the other one, the outlet, from now on. `written` is what the proxy has written to that so
 * far, in bytes; no other thread may write to it meanwhile, and from now on it is closed, and
 * nothing else. The direction's record must be clear. Anything but BYPASS_PAIRED: all is as it was.
 */
enum bypass_pairing bypass_halve(struct bypass *b, uint32_t flow, int from, const uint64_t own[2],
				 int outlet, uint64_t written);
/* From now on its ends send to the proxy. */
void bypass_part(struct bypass *b, uint32_t flow);

/* For bypass_open(): the mount point of the cgroup2 hierarchy in the text of a
 * /proc/PID/mountinfo. False: it has none. */
bool bypass_cgroup_root(const char *mountinfo, char *path, size_t size);

#endif
