/* SPDX-License-Identifier: MIT */
/*
 * The admin socket's place in the file system. Two daemons never have the same path: a socket that
 * somebody answers at is left alone, also when both start in the same moment, and one that is left
 * over from a daemon that has died is replaced.
 */
#ifndef SHUNT_ADMIN_SOCKET_H
#define SHUNT_ADMIN_SOCKET_H

#include <sys/types.h>
#include <sys/un.h>

#include "util.h"

struct admin_socket {
	int fd; /* -1: not open */
	struct sockaddr_un at;
	dev_t dev; /* of what was made at the path: only that is removed */
	ino_t ino;
};

/*
 * A listening socket of mode 0600 from its first moment; its folder is made when missing. 0, or
 * -errno with the reason as a phrase in why, and nothing to close.
 */
int admin_socket_open(struct admin_socket *s, const char *path, int backlog, char *why,
		      size_t size) must_check;
/* Takes one that is not open, too. */
void admin_socket_close(struct admin_socket *s);

#endif
