/* SPDX-License-Identifier: MIT */
#include "sockmap.h"

const char *const sockmap_counter_names[N_SHUNT_COUNTERS] = {
	[SHUNT_REDIRECTED] = "redirected",         [SHUNT_PASSED_NOT_DRY] = "passed_not_dry",
	[SHUNT_PASSED_FULL] = "passed_full",       [SHUNT_PASSED_NO_TARGET] = "passed_no_target",
	[SHUNT_PASSED_UNKNOWN] = "passed_unknown", [SHUNT_EVENT_LOST] = "event_lost",
	[SHUNT_DROPPED_FIN] = "dropped_fin",       [SHUNT_DROPPED_BROKEN] = "dropped_broken",
	[SHUNT_DROPPED_MISSED] = "dropped_missed", [SHUNT_DROPPED_UNREAD] = "dropped_unread",
};
