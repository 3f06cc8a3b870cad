/* SPDX-License-Identifier: MIT */
/*
 * From the look at the path to the listening socket nobody else may do the same, or two daemons
 * would both find it stale and the second would take it from the first. The lock is one on the
 * folder: it leaves no file behind.
 */
#include "admin_socket.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRIES 100 /* what the lock covers takes microseconds */
#define LOCK_PAUSE_NS (10 * NSEC_PER_MSEC)

struct excuse {
	char *why;
	size_t size;
};

/* Returns -error, for the caller to pass on. */
static int printf_like(3, 4) fail(const struct excuse *e, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(e->why, e->size, fmt, args);
	va_end(args);
	return -error;
}

static int set_path(struct sockaddr_un *at, const char *path, const struct excuse *e)
{
	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(at->sun_path))
		return fail(e, ENAMETOOLONG, "its path has %zu bytes, must have at most %zu",
			    strlen(path), sizeof(at->sun_path) - 1);
	memcpy(at->sun_path, path, strlen(path));
	return 0;
}

/* Makes the folder when it is missing, opens and locks it. The fd or -errno. */
static int lock_folder(const char *path, const struct excuse *e)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	int fd;

	snprintf(folder, sizeof(folder), "%s", path);
	*MAX(strrchr(folder, '/'), folder + 1) = '\0';
	if (mkdir(folder, 0755) && errno != EEXIST)
		return fail(e, errno, "its folder %s can't be made: %m", folder);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(e, errno, "its folder %s can't be opened: %m", folder);
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return fd;
		nanosleep(&pause, NULL);
	}
	close(fd);
	return fail(e, EBUSY, "some program keeps its folder %s locked", folder);
}

static int try_connect(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)at, sizeof(*at)) ? -errno : 0;
	close(fd);
	return rc;
}

/* Removes what a daemon that has died may have left at the path. */
static int clear_place(const struct sockaddr_un *at, const struct excuse *e)
{
	struct stat st;
	int rc;

	if (lstat(at->sun_path, &st))
		return errno == ENOENT ? 0 : fail(e, errno, "%m");
	if (!S_ISSOCK(st.st_mode))
		return fail(e, EEXIST,
			    "what is there is no socket: remove it, or choose another path");
	rc = try_connect(at);
	if (!rc || rc == -EAGAIN) /* EAGAIN: its queue is full, so there is somebody */
		return fail(e, EADDRINUSE,
			    "another daemon answers there: give this one a path of "
			    "its own (\"Admin\": {\"Socket\": ...})");
	if (rc == -ENOENT)
		return 0;
	if (rc != -ECONNREFUSED)
		return fail(e, -rc, "whether a daemon answers there can't be found out: %s",
			    strerror(-rc));
	if (unlink(at->sun_path))
		return fail(e, errno,
			    "a socket is left there from before, and can't be removed: %m");
	return 0;
}

static int make(struct admin_socket *s, int backlog, const struct excuse *e)
{
	struct stat st;
	int error;

	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return fail(e, errno, "%m");
	/* On Linux bind() gives the file the mode that the socket has by then; the umask, which all
	 * threads share, stays as it is. */
	if (!fchmod(s->fd, 0600) && !bind(s->fd, (const struct sockaddr *)&s->at, sizeof(s->at)) &&
	    !stat(s->at.sun_path, &st) && !listen(s->fd, backlog)) {
		s->dev = st.st_dev;
		s->ino = st.st_ino;
		return 0;
	}
	error = errno;
	close(s->fd);
	s->fd = -1;
	return fail(e, error, "%s", strerror(error));
}

int admin_socket_open(struct admin_socket *s, const char *path, int backlog, char *why, size_t size)
{
	const struct excuse e = { why, size };
	int folder, rc;

	*s = (struct admin_socket){ .fd = -1 };
	rc = set_path(&s->at, path, &e);
	if (rc)
		return rc;
	folder = lock_folder(path, &e);
	if (folder < 0)
		return folder;
	rc = clear_place(&s->at, &e);
	if (!rc)
		rc = make(s, backlog, &e);
	close(folder);
	return rc;
}

void admin_socket_close(struct admin_socket *s)
{
	struct stat st;

	if (s->fd < 0)
		return;
	/* First the name, then the socket: in between it would look like one that is left over. */
	if (!stat(s->at.sun_path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->at.sun_path);
	close(s->fd);
	s->fd = -1;
}
