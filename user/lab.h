/* SPDX-License-Identifier: MIT */
/*
 * A network to measure in: three network namespaces, client, proxy and backend, joined by veth
 * pairs, and processes in them. Nothing has to be removed at the end, however it comes: the
 * namespaces have no names and last as long as this process and its children, and a child is killed
 * with its parent. Needs root and iproute2. Errors are told on standard error, where they happen.
 * Only for a process with a single thread, as children go on from a fork().
 */
#ifndef SHUNT_LAB_H
#define SHUNT_LAB_H

#include <stdbool.h>
#include <sys/types.h>

#include "addr.h"
#include "util.h"

/* The client reaches the backend through the proxy's namespace, which forwards packets. */
#define LAB_PROXY_IP "10.231.1.1"
#define LAB_BACKEND_IP_FORMAT "10.231.2.%u" /* all but .1 are the backend's */
#define LAB_BACKEND_IP_FIRST 2
#define LAB_BACKEND_IPS_MAX 32

enum lab_place { LAB_CLIENT, LAB_PROXY, LAB_BACKEND, N_LAB_PLACES };

struct lab {
	int netns[N_LAB_PLACES]; /* -1: none */
};

/* The backend gets n_backend_ips addresses, from LAB_BACKEND_IP_FIRST on. 0 or -errno, told;
 * lab_close() is due in either case. */
int lab_open(struct lab *l, unsigned int n_backend_ips) must_check;
void lab_close(struct lab *l);

/*
 * fork() into a place: 0 in the child, its pid in the parent, or -errno, told. With hide_run the
 * child sees empty folders of its own as /run and /sys/fs/bpf, so that what a daemon puts there
 * touches no daemon of the host.
 */
pid_t lab_fork(const struct lab *l, enum lab_place place, bool hide_run) must_check;

/* Waits for a child's end. 0 (exit status 0) or -EIO. */
int lab_wait(pid_t pid) must_check;
/* Ends a child by a signal; one that takes its time is killed. Takes a pid that is not positive. */
void lab_stop(pid_t pid, int signal_number);
/* Has it ended? Then it is no child any more. */
bool lab_has_ended(pid_t pid);

/*
 * Waits until a connection to `at` comes up from the place, and with `echoes` until a byte over it
 * has come back, while the child `pid` lives. 0 or -errno.
 */
int lab_wait_for_port(const struct lab *l, enum lab_place place, const struct addr *at, bool echoes,
		      pid_t pid) must_check;

#endif
