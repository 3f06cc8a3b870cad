#!/bin/bash
# SPDX-License-Identifier: MIT
# Holds user/ to its floors: a module includes what is on its own floor or below, never what is above, and
# the modules of one floor do not include each other in a circle. A module is a .c with its .h; a part of a
# module, which carries its name (config_json of config), may use the header of the whole.
# check-layers.sh [FOLDER]; names every wrong include by file and line, and exits 1 if there is one.
set -euo pipefail
cd "${1:-$(dirname "$0")/../user}"

# From the ground up; a * stands for any ending.
floors=(
	'util list log log_* addr addr_set addr_range proxy_header histogram buckets table client screen'
	'net netlink unix_socket veth timer loop pool slots settler waitq sources'
	'config config_* reason admission backend backend_* app app_listen brevity balancer resolver load load_* lab ingress'
	'bpf_load bpf_ring sockmap sockmap_* bypass bypass_* tcx tcx_* park wire wire_none wire_names wire_maps wire_hooks wire_adopted wire_leg wire_devices engine engine_* trial probe probe_* names apps'
	'session session_* listener'
	'worker workers health health_* cutter wire_keeper wiring bypassing ports flows reload admin admin_* metrics metrics_* http proxy proxy_* bench bench_*'
	'main command command_* top top_*'
)
status=0

fail() {
	printf '%s\n' "$*" >&2
	status=1
}

floor_of() { # MODULE: its number, or nothing
	local floor pattern
	for floor in "${!floors[@]}"; do
		for pattern in ${floors[floor]}; do
			# shellcheck disable=SC2053 # the right side is a pattern
			[[ $1 != $pattern ]] || { echo "$floor" && return; }
		done
	done
}

shopt -s nullglob
files=(*.[ch])
set -f # from here on a pattern is one of module names, not of file names
declare -A floor
for file in "${files[@]}"; do
	module=${file%.?}
	floor[$module]=$(floor_of "$module")
	[[ -n ${floor[$module]} ]] || fail "user/$file: \"$module\" is on no floor: give it one in check-layers.sh"
done

edges=() # of one floor: FROM TO FILE:LINE
while IFS=: read -r file line include; do
	header=${include#*\"} header=${header%\"*}
	from=${file%.?} to=${header%.h}
	[[ $from != "$to" && -n ${floor[$from]} ]] || continue
	[[ ! -e ../include/$header ]] || continue # shared with bpf/, it includes nothing of the project
	if [[ -z ${floor[$to]:-} ]]; then
		fail "user/$file:$line: \"$header\" is no header of a module with a floor"
	elif ((floor[$to] > floor[$from])); then
		fail "user/$file:$line: $from (floor ${floor[$from]}) includes \"$header\" (floor ${floor[$to]})"
	elif ((floor[$to] == floor[$from])) && [[ $from != "$to"_* ]]; then
		edges+=("$from $to $file:$line")
	fi
done < <(grep -HnoE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"[^"]+"' "${files[@]}" /dev/null)

# tsort names the modules of each circle, one a line, after "input contains a loop".
if ! circle=$(printf '%s\n' "${edges[@]}" | cut -d ' ' -f 1,2 | tsort 2>&1 >/dev/null); then
	for edge in "${edges[@]}"; do
		read -r from to where <<<"$edge"
		if grep -qx "tsort: $from" <<<"$circle" && grep -qx "tsort: $to" <<<"$circle"; then
			fail "user/$where: $from includes \"$to.h\", which includes it in a circle"
		fi
	done
	status=1
fi
exit "$status"
