/* SPDX-License-Identifier: MIT */
/*
 * From the look at the path to the listening socket nobody else may do the same, or two daemons
 * would both find it stale and the second would take it from the first. The lock is one on the
 * folder: it leaves no file behind.
 */
#include "unix_socket.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net.h"

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

static int set_path(struct unix_socket *s, const char *path, const struct excuse *e)
{
	if (strlen(path) > ADDR_UNIX_PATH_MAX)
		return fail(e, ENAMETOOLONG, "its path has %zu bytes, must have at most %u",
			    strlen(path), ADDR_UNIX_PATH_MAX);
	s->at_len = net_unix_address(path, &s->at);
	return 0;
}

static bool is_abstract(const struct unix_socket *s)
{
	return !s->at.sun_path[0];
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
			    "its own");
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

static int make(struct unix_socket *s, mode_t mode, int backlog, const struct excuse *e)
{
	struct stat st = { 0 };
	int error;

	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return fail(e, errno, "%m");
	/* On Linux bind() gives the file the mode that the socket has by then; the umask, which all
	 * threads share, stays as it is. */
	if (!fchmod(s->fd, mode) && !bind(s->fd, (const struct sockaddr *)&s->at, s->at_len) &&
	    (is_abstract(s) || !stat(s->at.sun_path, &st)) && !listen(s->fd, backlog)) {
		s->dev = st.st_dev;
		s->ino = st.st_ino;
		return 0;
	}
	error = errno;
	close(s->fd);
	s->fd = -1;
	return fail(e, error, "%s", strerror(error));
}

int unix_socket_open(struct unix_socket *s, const char *path, mode_t mode, int backlog, char *why,
		     size_t size)
{
	const struct excuse e = { why, size };
	int folder, rc;

	*s = (struct unix_socket){ .fd = -1 };
	rc = set_path(s, path, &e);
	if (rc)
		return rc;
	if (is_abstract(s))
		return make(s, mode, backlog, &e);
	folder = lock_folder(path, &e);
	if (folder < 0)
		return folder;
	rc = clear_place(&s->at, &e);
	if (!rc)
		rc = make(s, mode, backlog, &e);
	close(folder);
	return rc;
}

static bool is_in_its_place(const struct unix_socket *s)
{
	struct stat st;

	return s->ino && !stat(s->at.sun_path, &st) && st.st_dev == s->dev && st.st_ino == s->ino;
}

int unix_socket_change_mode(const struct unix_socket *s, mode_t mode)
{
	return is_in_its_place(s) && chmod(s->at.sun_path, mode) ? -errno : 0;
}

void unix_socket_unlink(const struct unix_socket *s)
{
	if (is_in_its_place(s))
		unlink(s->at.sun_path);
}

void unix_socket_close(struct unix_socket *s)
{
	/* First the name, then the socket: in between it would look like one that is left over. */
	unix_socket_unlink(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}
