/* SPDX-License-Identifier: MIT */
/*
 * Sockets, as this program uses them: TCP or unix streams, non-blocking, close-on-exec, with the
 * options that every leg of a flow has if it is TCP (TCP_NODELAY, keepalive, urgent bytes kept in
 * the stream). It keeps no state and logs nothing.
 */
#ifndef SHUNT_NET_H
#define SHUNT_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "addr.h"
#include "util.h"

#define NET_KEEPALIVE_PROBES 3
#define NET_KEEPALIVE_INTERVAL_S 10
#define NET_BACKLOG                                                                                \
	4096 /* of those that nobody has given one; the kernel cuts it to its own limit */

/*
 * A bound TCP socket, not yet listening. The first one of an address is bound without SO_REUSEPORT,
 * so that a port which anybody else listens on is found out (EADDRINUSE); it gets the option
 * afterwards, so that the other workers' sockets (`shared`) can join it. keepalive_ms: see
 * net_set_keepalive(). Returns the fd or -errno.
 */
int net_bind(const struct addr *a, uint32_t keepalive_ms, bool shared) must_check;
/* Listens, or changes the backlog of one that does. 0 or -errno. */
int net_listen(int fd, uint32_t backlog) must_check;
/* Silence before the first probe, of a socket or of what a listener will accept; 0: none. 0 or
 * -errno. */
int net_set_keepalive(int fd, uint32_t keepalive_ms) must_check;

/* The next connection in a listener's queue: the fd (which has inherited the listener's options) or
 * -errno. A unix socket's peer is told without its name. */
int net_accept(int listener, struct addr *peer) must_check;

/* A socket for a connection to `a`, without keepalive: the fd or -errno. */
int net_open(const struct addr *a) must_check;
/*
 * Has a socket that is not connected yet connect from this address, by any port that is free for
 * its destination. transparent: it may be one that this host does not have. 0 or -errno.
 */
int net_bind_source(int fd, const struct addr *a, bool transparent) must_check;
/* May this process do the latter? 0 or -errno. */
int net_try_transparent(void) must_check;
/*
 * Of a socket that is about to connect: off, and its handshake's last ACK waits, for up to 200 ms,
 * to go with the first bytes. On, once it is connected: the ACK goes now if it still waits, and
 * later ones are not held back any more. 0 or -errno.
 */
int net_set_quick_ack(int fd, bool on) must_check;
/* Starts to connect: 0, whether it is established already (a rarity) or will tell by EPOLLOUT, or
 * -errno when it failed at once; -EBUSY: a unix socket's backlog is full. */
int net_start(int fd, const struct addr *a) must_check;
/* The kernel's form of a path, or of an abstract name "@name"; returns its length. */
socklen_t net_unix_address(const char *path, struct sockaddr_un *out);
/* Both. Returns the fd or -errno. */
int net_connect(const struct addr *a) must_check;

/* Takes the socket's pending error: 0 or a positive errno. */
int net_error(int fd);
/* A connect has failed: is it this host that can't, whatever the peer? */
bool net_is_shortage(int error);

/* Closes with a RST instead of a FIN: the peer must not take what it has got for the whole. */
void net_reset(int fd);

/*
 * The calling thread gets a network namespace of its own, with nothing but a loopback, which goes
 * with the thread and the last socket of it. 0, or -errno: it is where it was.
 */
int net_unshare(void) must_check;

/* Raises the soft limit of open files to the hard one; returns the limit in force. */
uint64_t net_raise_fd_limit(void);

#endif
