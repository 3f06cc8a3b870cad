/* SPDX-License-Identifier: MIT */
#include <cjson/cJSON.h>

#include "probe.h"

static const char *const status_texts[] = {
	[PROBE_NOT_TRIED] = "not tried",
	[PROBE_WORKS] = "works",
	[PROBE_FAILS] = "FAILS",
};

void probe_print_text(const struct probe_report *report, FILE *out)
{
	for (size_t i = 0; i < report->n; i++) {
		const struct probe_result *r = &report->list[i];

		fprintf(out, "%-24s %-9s  tried: %s\n", r->name, status_texts[r->status], r->tried);
		if (r->outcome[0])
			fprintf(out, "%36sfound: %s\n", "", r->outcome);
		fprintf(out, "%36sso:    %s\n", "", r->follows);
	}
}

void probe_print_json(const struct probe_report *report, FILE *out)
{
	cJSON *list = cJSON_CreateArray();
	char *text;

	for (size_t i = 0; i < report->n; i++) {
		const struct probe_result *r = &report->list[i];
		cJSON *o = cJSON_CreateObject();

		cJSON_AddStringToObject(o, "name", r->name);
		cJSON_AddStringToObject(o, "status", status_texts[r->status]);
		cJSON_AddStringToObject(o, "tried", r->tried);
		cJSON_AddStringToObject(o, "found", r->outcome);
		cJSON_AddStringToObject(o, "follows", r->follows);
		cJSON_AddItemToArray(list, o);
	}
	text = cJSON_Print(list);
	if (text)
		fprintf(out, "%s\n", text);
	cJSON_free(text);
	cJSON_Delete(list);
}
