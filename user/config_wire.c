/* SPDX-License-Identifier: MIT */
#include "config_wire.h"

#include <net/if.h>
#include <string.h>

void read_wire_devices(struct reader *r, const struct key *key, const struct json *v, void *config)
{
	static const char must[] = "the name of a network device, 1 to 15 bytes";
	struct wire_conf_keys *wire = &((struct config *)config)->wire;
	struct mention *seen;
	size_t n;

	if (!reader_filled_array(r, key, v))
		return;
	n = (size_t)cJSON_GetArraySize(v->item);
	wire->devices = xcalloc(n, sizeof(*wire->devices));
	seen = xcalloc(n, sizeof(*seen));
	json_for_each(element, v) {
		const char *name;

		if (!reader_type(r, element, "a device", cJSON_String, must))
			continue;
		name = element->item->valuestring;
		if (!*name || strlen(name) >= IFNAMSIZ || strpbrk(name, "/ \t")) {
			reader_reject(r, element, "a device", cJSON_String, must);
			continue;
		}
		wire->devices[wire->n_devices] = xstrdup(name);
		seen[wire->n_devices++] = (struct mention){ xstrdup(name), element->at };
	}
	reader_refuse_repeats(r, seen, wire->n_devices, "device");
}
