/* SPDX-License-Identifier: MIT */
#include "config_ranges.h"

#include <string.h>

_Static_assert(CONFIG_RANGES_MAX == 64, "as the message says");

void read_ranges(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	static const char must[] = "an address or a network such as \"192.0.2.1\", \"10.0.0.0/8\" "
				   "or \"2001:db8::/32\", with zeros after its prefix";
	struct addr_range_list *list = field;
	char text[ADDR_RANGE_TEXT_MAX];
	struct mention *seen;
	size_t n;

	*list = (struct addr_range_list){ 0 };
	if (!reader_filled_array(r, key, v))
		return;
	n = (size_t)cJSON_GetArraySize(v->item);
	if (n > CONFIG_RANGES_MAX) {
		reader_fail(r, v->at, "%s has %zu elements, must be " RANGES_MUST, key->name, n);
		return;
	}
	list->at = xcalloc(n, sizeof(*list->at));
	seen = xcalloc(n, sizeof(*seen));
	json_for_each(element, v) {
		struct addr_range *range = &list->at[list->n];

		if (!reader_type(r, element, "a range", cJSON_String, must))
			continue;
		if (addr_range_parse(element->item->valuestring, range)) {
			reader_reject(r, element, "a range", cJSON_String, must);
			continue;
		}
		seen[list->n++] =
			(struct mention){ xstrdup(addr_range_format(range, text)), element->at };
	}
	reader_refuse_repeats(r, seen, list->n, "range");
}

void ranges_end_borrowing(struct addr_range_list *list, const struct addr_range_list *defaults,
			  bool accepted)
{
	if (!list->at || list->at != defaults->at)
		return;
	*list = (struct addr_range_list){ 0 };
	if (!accepted)
		return;
	list->n = defaults->n;
	list->at = xcalloc(list->n, sizeof(*list->at));
	memcpy(list->at, defaults->at, list->n * sizeof(*list->at));
}
