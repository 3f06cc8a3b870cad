/* SPDX-License-Identifier: MIT */
#include "log_output.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define STALL_LOOK_MS 100 /* how often a writer that waits looks whether it was given up */
#define FILE_MODE 0640

static struct {
	atomic_bool given_up;
	atomic_int file_fd, journal_fd; /* -1: never opened; then they stay the same numbers */
	struct sockaddr_un journal;     /* where journal_fd is connected to */
} outputs = { .file_fd = -1, .journal_fd = -1 };

bool log_output_is_stream(enum log_output output)
{
	return output == LOG_OUTPUT_STDERR || output == LOG_OUTPUT_FILE;
}

void log_output_give_up(bool given_up)
{
	atomic_store(&outputs.given_up, given_up);
}

/* Waits till the fd takes something. False: it did not in time, or never will. */
static bool has_room(int fd, int wait_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int n;

	do {
		n = poll(&pfd, 1, wait_ms == LOG_WAIT_TILL_GIVEN_UP ? STALL_LOOK_MS : wait_ms);
	} while ((n < 0 && errno == EINTR) ||
		 (n == 0 && wait_ms == LOG_WAIT_TILL_GIVEN_UP && !atomic_load(&outputs.given_up)));
	return n > 0;
}

/*
 * In pieces of whole lines of at most PIPE_BUF, each when poll(2) says that there is room: so a
 * line stays in one piece whoever else writes to the same pipe, and a write to a pipe never blocks.
 * What a closed or broken stream does not take is dropped: there is nobody left to tell.
 */
void log_output_write(enum log_output output, const char *text, size_t len, int wait_ms)
{
	int fd = output == LOG_OUTPUT_FILE ? atomic_load(&outputs.file_fd) : STDERR_FILENO;

	while (len > 0 && has_room(fd, wait_ms)) {
		size_t piece = len;
		ssize_t n;

		if (piece > PIPE_BUF) {
			const char *end = memrchr(text, '\n', PIPE_BUF);

			piece = end ? (size_t)(end - text) + 1 : PIPE_BUF;
		}
		n = write(fd, text, piece);
		if (n >= 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno != EINTR && errno != EAGAIN) {
			return;
		}
	}
}

void log_output_syslog(int priority, const char *text, size_t len)
{
	syslog(priority, "%.*s", (int)(len - 1), text); /* without the newline */
}

/* --- the journal: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ --------------------------------- */

bool log_output_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	/* A child whose stderr was redirected inherits the variable, too. */
	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

static int connect_journal(int fd)
{
	return connect(fd, (const struct sockaddr *)&outputs.journal, sizeof(outputs.journal))
		       ? -errno
		       : 0;
}

int log_output_open_journal(const char *socket_path)
{
	const char *path = socket_path ? socket_path : LOG_JOURNAL_SOCKET;
	int fd = atomic_load(&outputs.journal_fd);

	/* Most often it is the same, and the writer may be looking at it. */
	if (strcmp(outputs.journal.sun_path, path)) {
		outputs.journal.sun_family = AF_UNIX;
		snprintf(outputs.journal.sun_path, sizeof(outputs.journal.sun_path), "%s", path);
	}
	if (fd < 0)
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	atomic_store(&outputs.journal_fd, fd);
	return connect_journal(fd);
}

static bool journal_send(struct iovec *parts, size_t n, int wait_ms)
{
	int fd = atomic_load(&outputs.journal_fd);
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = n };

	if (!has_room(fd, wait_ms))
		return false;
	if (sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
		return true;
	/* Another journal may be there by now. */
	return errno == ECONNREFUSED && !connect_journal(fd) &&
	       sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

/* If the journal does not take it, it goes to the stream that the journal has of our stderr. */
void log_output_journal(int priority, const char *text, size_t len, const char *fields,
			size_t fields_len, int wait_ms)
{
	char head[64], prefix[8];
	struct iovec parts[] = {
		{ head, 0 },
		{ (void *)text, len },
		{ (void *)fields, fields_len },
	};

	parts[0].iov_len = (size_t)snprintf(
		head, sizeof(head), "PRIORITY=%d\nSYSLOG_IDENTIFIER=shunt\nMESSAGE=", priority);
	if (journal_send(parts, ARRAY_SIZE(parts), wait_ms))
		return;
	snprintf(prefix, sizeof(prefix), "<%d>", priority);
	log_output_write(LOG_OUTPUT_STDERR, prefix, strlen(prefix), wait_ms);
	log_output_write(LOG_OUTPUT_STDERR, text, len, wait_ms);
}

/* --- the file -------------------------------------------------------------------------------- */

int log_output_open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, FILE_MODE);
	int kept = atomic_load(&outputs.file_fd), rc = 0;

	if (fd < 0)
		return -errno;
	if (kept < 0) {
		atomic_store(&outputs.file_fd, fd);
		return 0;
	}
	/* At once: the number is never closed, so no line is written to something else. */
	if (dup3(fd, kept, O_CLOEXEC) < 0)
		rc = -errno;
	close(fd);
	return rc;
}
