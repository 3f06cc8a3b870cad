/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define OTHER_PATH                                                                                 \
	"is it running? If its config names another Admin.Socket, give that with --socket PATH, "  \
	"or the config with --config FILE"

static const char *advice(int error)
{
	switch (error) {
	case ENOENT:
		return ": " OTHER_PATH;
	case ECONNREFUSED:
		return ": the daemon that made this socket is gone; " OTHER_PATH;
	case EACCES:
	case EPERM:
		return ": only the user that the daemon runs as may ask it; try sudo";
	default:
		return "";
	}
}

/* -error, with the words. */
static int no_daemon(const char *path, int error, char text[CLIENT_ERROR_MAX])
{
	snprintf(text, CLIENT_ERROR_MAX, "no daemon answers at %s: %s%s", path, strerror(error),
		 advice(error));
	return -error;
}

static int no_answer(const char *path, unsigned int timeout_s, int error,
		     char text[CLIENT_ERROR_MAX])
{
	if (error == EAGAIN)
		snprintf(text, CLIENT_ERROR_MAX,
			 "the daemon at %s has said nothing for %u s: is it stopped, or hung?",
			 path, timeout_s);
	else
		snprintf(text, CLIENT_ERROR_MAX, "the daemon at %s broke off%s%s: has it ended?",
			 path, error ? ": " : "", error ? strerror(error) : "");
	return error ? -error : -ECONNRESET;
}

/* False with errno. */
static bool set_timeouts(int fd, unsigned int timeout_s)
{
	const struct timeval limit = { .tv_sec = timeout_s };

	return !setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) &&
	       !setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

/* The connection as a stream, or NULL with *rc and the words. */
static FILE *open_stream(const char *path, unsigned int timeout_s, int *rc,
			 char error[CLIENT_ERROR_MAX])
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	FILE *stream;
	int fd;

	if (strlen(path) >= sizeof(at.sun_path)) {
		snprintf(error, CLIENT_ERROR_MAX,
			 "the socket's path has %zu bytes, can have at most %zu: %s", strlen(path),
			 sizeof(at.sun_path) - 1, path);
		*rc = -ENAMETOOLONG;
		return NULL;
	}
	memcpy(at.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !set_timeouts(fd, timeout_s) ||
	    connect(fd, (const struct sockaddr *)&at, sizeof(at))) {
		*rc = no_daemon(path, errno, error);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	stream = fdopen(fd, "r");
	if (!stream) {
		*rc = no_daemon(path, errno, error);
		close(fd);
	}
	return stream;
}

static int send_request(int fd, const cJSON *request)
{
	char *text = cJSON_PrintUnformatted(request);
	struct iovec parts[] = { { text, text ? strlen(text) : 0 }, { "\n", 1 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = ARRAY_SIZE(parts) };
	/* Blocking, and far smaller than the socket's buffer: it goes as a whole or not at all. */
	int rc = text && sendmsg(fd, &message, MSG_NOSIGNAL) > 0 ? 0 : -errno;

	free(text);
	return rc;
}

/* What a line says of the answer's end: 0 that was it, 1 there is more, -EPROTO it is an error. */
static int look_at(const cJSON *row, char error[CLIENT_ERROR_MAX])
{
	const cJSON *wrong = cJSON_GetObjectItemCaseSensitive(row, "error");

	if (!row) {
		snprintf(error, CLIENT_ERROR_MAX,
			 "what answers there is no shunt: its answer is not JSON");
		return -EPROTO;
	}
	if (cJSON_IsString(wrong)) {
		snprintf(error, CLIENT_ERROR_MAX, "%s", wrong->valuestring);
		return -EPROTO;
	}
	return !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(row, "end"));
}

int client_ask(const char *path, unsigned int timeout_s, const cJSON *request,
	       void (*line)(const char *text, cJSON *row, void *arg), void *arg,
	       char error[CLIENT_ERROR_MAX])
{
	int rc = 0;
	FILE *stream = open_stream(path, timeout_s, &rc, error);
	char *text = NULL;
	size_t size = 0;

	if (!stream)
		return rc;
	rc = send_request(fileno(stream), request);
	if (rc)
		rc = no_answer(path, timeout_s, -rc, error);
	else
		rc = 1;
	while (rc > 0) {
		ssize_t n;
		cJSON *row;

		errno = 0;
		n = getline(&text, &size, stream);
		if (n <= 0 || text[n - 1] != '\n') {
			rc = no_answer(path, timeout_s, errno, error);
			break;
		}
		text[n - 1] = '\0';
		row = cJSON_Parse(text);
		rc = look_at(row, error);
		line(text, row, arg);
	}
	free(text);
	fclose(stream);
	return rc;
}

const char *client_text(const cJSON *row, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, key));

	return text ? text : "";
}

uint64_t client_number(const cJSON *row, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, key);

	return cJSON_IsNumber(item) && item->valuedouble > 0 ? (uint64_t)item->valuedouble : 0;
}
