/* SPDX-License-Identifier: MIT */
#include "config_bypass.h"

#include <string.h>

void read_bypass_cgroup(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	struct config *c = config;
	const char *path;

	if (!reader_type(r, v, key->name, cJSON_String, key->must))
		return;
	path = v->item->valuestring;
	if ((*path && *path != '/') || strlen(path) > BYPASS_CGROUP_MAX_BYTES) {
		reader_reject(r, v, key->name, cJSON_String, key->must);
		return;
	}
	free(c->bypass.cgroup);
	c->bypass.cgroup = xstrdup(path);
}
