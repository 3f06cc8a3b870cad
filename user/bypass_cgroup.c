/* SPDX-License-Identifier: MIT */
/*
 * Where the cgroup2 hierarchy is mounted, by proc(5): a line of mountinfo has the mount's root in
 * the fourth field and its place in the fifth, with blanks as \040; a lone dash parts off the type
 * of the file system.
 */
#include <stdio.h>
#include <string.h>

#include "bypass.h"

/* A field with its octal escapes resolved. False: it does not fit. */
static bool unescape(const char *field, char *out, size_t size)
{
	size_t n = 0;

	for (const char *c = field; *c; c++) {
		unsigned int octal;

		if (n + 1 >= size)
			return false;
		if (*c == '\\' && sscanf(c + 1, "%3o", &octal) == 1) {
			out[n++] = (char)octal;
			c += 3;
		} else {
			out[n++] = *c;
		}
	}
	out[n] = '\0';
	return true;
}

bool bypass_cgroup_root(const char *mountinfo, char *path, size_t size)
{
	char root[256], place[1024], type[32];

	for (const char *line = mountinfo; line && *line;) {
		const char *dash = strstr(line, " - "), *end = strchr(line, '\n');

		if (dash && (!end || dash < end) && sscanf(dash, " - %31s", type) == 1 &&
		    !strcmp(type, "cgroup2") &&
		    sscanf(line, "%*s %*s %*s %255s %1023s", root, place) == 2 &&
		    !strcmp(root, "/") && unescape(place, path, size))
			return true;
		line = end ? end + 1 : NULL;
	}
	return false;
}
