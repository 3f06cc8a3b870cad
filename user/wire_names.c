/* SPDX-License-Identifier: MIT */
#include "wire.h"

const char *const wire_counter_names[N_WIRE_COUNTERS] = {
	[WIRE_FORWARDED] = "forwarded",
	[WIRE_ICMP_FORWARDED] = "icmp_forwarded",
	[WIRE_PARKED] = "parked",
	[WIRE_PARK_FAILED] = "park_failed",
	[WIRE_UNPARKED_TO_STACK] = "unparked_to_stack",
	[WIRE_RST_ANSWERED] = "rst_answered",
	[WIRE_TOO_BIG_ANSWERED] = "too_big_answered",
	[WIRE_TO_STACK_FRAGMENT] = "to_stack_fragment",
	[WIRE_TO_STACK_OPTIONS] = "to_stack_options",
	[WIRE_TO_STACK_REUSED] = "to_stack_reused",
	[WIRE_DROPPED_MALFORMED] = "dropped_malformed",
	[WIRE_DROPPED_GONE] = "dropped_gone",
	[WIRE_DROPPED_FOR_TEST] = "dropped_for_test",
	[WIRE_EVENT_LOST] = "event_lost",
};
