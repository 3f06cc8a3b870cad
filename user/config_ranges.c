/* SPDX-License-Identifier: MIT */
#include "config_ranges.h"

#include <string.h>

_Static_assert(CONFIG_RANGES_MAX == 64, "as the message says");

/* What an element of a list is, and what its text must be. */
struct element_kind {
	const char *name, *must;
	int (*parse)(const char *text, struct addr_range *out);
};

static int parse_source(const char *text, struct addr_range *out)
{
	static const struct addr_range any4 = { .host.sa.sa_family = AF_INET, .prefix_bits = 32 };
	static const struct addr_range any6 = { .host.sa.sa_family = AF_INET6, .prefix_bits = 128 };

	if (strchr(text, '/') || addr_range_parse(text, out) || addr_lacks_scope(&out->host))
		return -EINVAL;
	return addr_range_equal(out, &any4) || addr_range_equal(out, &any6) ? -EINVAL : 0;
}

static void read_list(struct reader *r, const struct key *key, const struct json *v,
		      struct addr_range_list *list, const struct element_kind *kind)
{
	char text[ADDR_RANGE_TEXT_MAX];
	struct mention *seen;
	size_t n;

	*list = (struct addr_range_list){ 0 };
	if (!reader_filled_array(r, key, v))
		return;
	n = (size_t)cJSON_GetArraySize(v->item);
	if (n > CONFIG_RANGES_MAX) {
		reader_fail(r, v->at, "%s has %zu elements, must be %s", key->name, n, key->must);
		return;
	}
	list->at = xcalloc(n, sizeof(*list->at));
	seen = xcalloc(n, sizeof(*seen));
	json_for_each(element, v) {
		struct addr_range *range = &list->at[list->n];

		if (!reader_type(r, element, kind->name, cJSON_String, kind->must))
			continue;
		if (kind->parse(element->item->valuestring, range)) {
			reader_reject(r, element, kind->name, cJSON_String, kind->must);
			continue;
		}
		seen[list->n++] =
			(struct mention){ xstrdup(addr_range_format(range, text)), element->at };
	}
	reader_refuse_repeats(r, seen, list->n, kind->name);
}

void read_ranges(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	static const struct element_kind kind = {
		"TrustedFrom range",
		"an address or a network such as \"192.0.2.1\", \"10.0.0.0/8\" or \"2001:db8::/32\", "
		"with zeros after its prefix",
		addr_range_parse,
	};

	read_list(r, key, v, field, &kind);
}

void read_sources(struct reader *r, const struct key *key, const struct json *v, void *field)
{
	static const struct element_kind kind = {
		"source address",
		"one address of this host such as \"192.0.2.1\" or \"2001:db8::1\", a link-local "
		"one with its interface",
		parse_source,
	};

	read_list(r, key, v, field, &kind);
}

void check_sources(struct reader *r, const struct app_conf *app, const struct json *v)
{
	if (app->transparent && app->sources.n)
		reader_fail(r, v->at,
			    "SourceAddresses and Transparent both say where connections come "
			    "from, must be one of them");
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
