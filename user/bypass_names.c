/* SPDX-License-Identifier: MIT */
#include "bypass.h"

const char *const bypass_counter_names[N_BYPASS_COUNTERS] = {
	[BYPASS_SILENT] = "silent",
	[BYPASS_REDIRECTED] = "redirected",
	[BYPASS_NOT_DRY] = "passed_not_dry",
	[BYPASS_FULL] = "passed_full",
	[BYPASS_OFF] = "passed_off",
	[BYPASS_UNFIT] = "passed_unfit",
	[BYPASS_GONE] = "passed_gone",
	[BYPASS_ENDED] = "passed_ended",
	[BYPASS_ENDS_SEEN] = "ends_seen",
	[BYPASS_ENDS_REFUSED] = "ends_refused",
	[BYPASS_ENDS_LEFT] = "ends_left",
	[BYPASS_FLOWS_PAIRED] = "flows_paired",
	[BYPASS_FLOWS_HALVED] = "flows_halved",
};
