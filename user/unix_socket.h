/* SPDX-License-Identifier: MIT */
/*
 * A listening unix socket and its place in the file system. Two daemons never have the same path: a
 * socket that somebody answers at is left alone, also when both start in the same moment, and one
 * that is left over from a daemon that has died is replaced. Abstract names have no such place: the
 * kernel keeps them apart.
 */
#ifndef SHUNT_UNIX_SOCKET_H
#define SHUNT_UNIX_SOCKET_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "util.h"

struct unix_socket {
	int fd; /* -1: not open, or somebody else's by now */
	struct sockaddr_un at;
	socklen_t at_len;
	dev_t dev; /* of what was made at the path: only that is changed or removed */
	ino_t ino; /* 0: nothing was */
};

/*
 * A listening socket of this mode from its first moment, at a path or "@name"; its folder is made
 * when missing. 0, or -errno with the reason as a phrase in why, and nothing to close.
 */
int unix_socket_open(struct unix_socket *s, const char *path, mode_t mode, int backlog, char *why,
		     size_t size) must_check;
/* 0 or -errno. */
int unix_socket_change_mode(const struct unix_socket *s, mode_t mode) must_check;
/* Removes it from its place, so that nobody finds it any more; again without effect. */
void unix_socket_unlink(const struct unix_socket *s);
/* Takes one that is not open, too. */
void unix_socket_close(struct unix_socket *s);

#endif
