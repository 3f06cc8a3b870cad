/* SPDX-License-Identifier: MIT */
/* The configuration's file: from a path to the text, and from an error to where in it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "config_read.h"

#define READ_FIRST_BYTES 65536u

/* Takes *len = 0. 0 with *text to be freed, or -errno; -EFBIG without reading on. */
static int read_all(int fd, char **text, size_t *len)
{
	size_t size = READ_FIRST_BYTES;
	ssize_t n;

	*text = xcalloc(size, 1);
	while ((n = read(fd, *text + *len, size - *len)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		*len += (size_t)n;
		if (*len > CONFIG_FILE_MAX_BYTES)
			break;
		if (*len == size) {
			size = MIN(2 * size, CONFIG_FILE_MAX_BYTES + 1);
			*text = xreallocarray(*text, size, 1);
		}
	}
	if (!n)
		return 0;
	n = n < 0 ? -errno : -EFBIG;
	free(*text);
	*text = NULL;
	return (int)n;
}

struct config *config_load(const char *path, const struct config_vocabulary *v,
			   struct config_errors *errors)
{
	struct reader r = { .words = v, .errors = errors };
	bool is_stdin = !strcmp(path, "-");
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	struct config *c = NULL;
	char *text = NULL;
	size_t len = 0;
	int err;

	*errors = (struct config_errors){ 0 };
	err = fd < 0 ? -errno : read_all(fd, &text, &len);
	if (!err)
		c = config_parse(text, len, v, errors);
	else if (err == -EFBIG)
		reader_fail(&r, (struct json_pos){ 0, 0 }, "is larger than %u MiB, must be smaller",
			    CONFIG_FILE_MAX_BYTES >> 20);
	else
		reader_fail(&r, (struct json_pos){ 0, 0 },
			    "cannot be read, must be a JSON file: %s", strerror(-err));
	free(text);
	if (fd >= 0 && !is_stdin)
		close(fd);
	return c;
}

void config_warn(const struct config *c, const char *file)
{
	char text[1024];

	for (size_t i = 0; i < c->notes.n; i++) {
		config_error_format(&c->notes.list[i], file, text, sizeof(text));
		log_warning("%s", text);
	}
}

int config_error_format(const struct config_error *e, const char *file, char *buf, size_t size)
{
	if (!e->line)
		return snprintf(buf, size, "%s: %s", file, e->text);
	return snprintf(buf, size, "%s:%u:%u: %s", file, e->line, e->column, e->text);
}
