/* SPDX-License-Identifier: MIT */
#include "probe.h"

#include "engine_bypass.h"
#include "probe_check.h"

int probe_engine(const struct engine *e, char *why, size_t size)
{
	struct probe_report report = { 0 };

	if (e->probe)
		return e->probe(why, size);
	if (e == &engine_wire)
		return probe_wire(&report, why, size);
	return e == &engine_bypass ? probe_bypass(NULL, &report, why, size)
				   : probe_sockmap(&report, why, size);
}

void probe_all(struct probe_report *report)
{
	char why[sizeof(report->list[0].outcome)];

	for (size_t i = 0; engines[i]; i++) {
		const struct engine *e = engines[i];
		struct probe_result *r;
		bool works;

		if (!e->probe)
			continue;
		r = probe_add(report, e->name, e->summary, "");
		works = !e->probe(r->outcome, sizeof(r->outcome));
		r->status = works ? PROBE_WORKS : PROBE_FAILS;
		r->follows = works ? "the engine is used" : "the engine is not used";
	}
	/* The report says it all. */
	(void)!probe_sockmap(report, why, sizeof(why));
	(void)!probe_wire(report, why, sizeof(why));
	(void)!probe_bypass(NULL, report, why, sizeof(why));
}
