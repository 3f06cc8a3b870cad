/* SPDX-License-Identifier: MIT */
/*
 * Finds out what this kernel can do by trying it: each engine, and for sockmap and the wire how
 * they behave, over connections of this process and through the very code that relays. An engine
 * that does not do what it should is not used, and the daemon works on without it. Beside the
 * trials there is a list of kernels known to be wrong in a way that a short trial may miss.
 */
#ifndef SHUNT_PROBE_H
#define SHUNT_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "engine.h"
#include "util.h"

#define PROBE_RESULTS_MAX 32
/*
 * A trial in which nothing has moved for so long has failed, and all of an engine's together end by
 * then, whatever the kernel does; the wire's once its program is loaded, which takes the verifier
 * its time. On a host that is busy they get little of its time, which says nothing of the engine.
 */
#define PROBE_STUCK_MS 2000
#define PROBE_MAX_MS 30000

enum probe_status { PROBE_NOT_TRIED, PROBE_WORKS, PROBE_FAILS };

struct probe_result {
	const char *name, *tried, *follows;
	enum probe_status status;
	char outcome[192];
};

struct probe_report {
	struct probe_result list[PROBE_RESULTS_MAX];
	size_t n;
	bool sockmap_pays; /* for flows of small messages, as measured: see probe_cost.h */
};

/* May sockmap be trusted? 0, or -errno with what is wrong first as a phrase in why. Adds to the
 * report. */
int probe_sockmap(struct probe_report *report, char *why, size_t size) must_check;
/* The same of the wire. On a thread of its own, in network namespaces of its own. */
int probe_wire(struct probe_report *report, char *why, size_t size) must_check;
/* The same of the local bypass, in this cgroup; NULL: the root. */
int probe_bypass(const char *cgroup, struct probe_report *report, char *why,
		 size_t size) must_check;
/* The same of any engine, without a report. */
int probe_engine(const struct engine *e, char *why, size_t size) must_check;
/* All engines. */
void probe_all(struct probe_report *report);

void probe_print_text(const struct probe_report *report, FILE *out);
void probe_print_json(const struct probe_report *report, FILE *out);

/*
 * For tests: why a kernel is on the list of those known to be wrong, or NULL. release and version
 * are what uname(2) says; signature is Ubuntu's /proc/version_signature, or "".
 */
const char *probe_known_bad(const char *release, const char *version, const char *signature);

#endif
