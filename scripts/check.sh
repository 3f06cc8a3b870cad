#!/bin/bash
# SPDX-License-Identifier: MIT
# Proves that the build works: unit tests, layer check, config.json, then the tester's scenarios.
# check.sh [BUILD_FOLDER]; the last line, and only that, is "N passed, N failed, N skipped".
# Exit 1 if anything failed or nothing passed.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}

passed=0 failed=0 skipped=0
summary='^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$'

indent() {
	sed 's/^/        /'
}

pass() {
	passed=$((passed + 1))
	printf '  pass  %s\n' "$*"
}

fail() {
	failed=$((failed + 1))
	printf '  FAIL  %s\n' "$*"
}

# A unit test program speaks TAP; cmocka 1.1.5 (Debian 12) says "not ok N # SKIP NAME" for a skip. Before
# it the test says why.
unit_test() {
	local program=$1 output line status=0 failures=0 ok=0 reason=
	output=$(CMOCKA_MESSAGE_OUTPUT=TAP "$program" 2>&1 </dev/null) || status=$?
	while IFS= read -r line; do
		if [[ $line == 'skipped: '* ]]; then
			reason=${line#skipped: }
		elif [[ $line =~ ^(not\ )?ok\ [0-9]+\ \#\ SKIP ]]; then
			skipped=$((skipped + 1))
			printf '  skip  %s: %s: %s\n' "${program##*/}" "${line##*SKIP }" "$reason"
		elif [[ $line == 'ok '* ]]; then
			ok=$((ok + 1))
		elif [[ $line =~ ^not\ ok\ [0-9]+ ]]; then
			failures=$((failures + 1))
		fi
	done <<<"$output"
	passed=$((passed + ok))
	# A crash, or a sanitizer's report at the end, is a failure of no test in particular.
	((status == 0 || failures)) || failures=1
	failed=$((failed + failures))
	if ((failures)); then
		printf '  FAIL  %s: %d passed, %d failed, exit status %d:\n' "${program##*/}" "$ok" "$failures" "$status"
		printf '%s\n' "$output" | indent
	else
		printf '  pass  %s: %d tests\n' "${program##*/}" "$ok"
	fi
}

step() { # NAME COMMAND...: counts as one test
	local name=$1 output
	shift
	if output=$("$@" 2>&1 </dev/null); then
		pass "$name"
	else
		fail "$name"
		printf '%s\n' "$output" | indent
	fi
}

# Prints a tester's lines as they come, but for the summary, which is added to ours.
tester_lines() { # FD
	local line
	tester_found='' tester_failures=0
	while IFS= read -r line <&"$1"; do
		if [[ $line =~ $summary ]]; then
			tester_found=yes tester_failures=${BASH_REMATCH[2]}
			passed=$((passed + BASH_REMATCH[1]))
			failed=$((failed + BASH_REMATCH[2]))
			skipped=$((skipped + BASH_REMATCH[3]))
		else
			printf '%s\n' "$line"
		fi
	done
}

# A tester that failed for another reason than a scenario must not pass for one that did not.
tester_ended() { # EXIT_STATUS
	if [[ -z $tester_found ]] || (($1 && !tester_failures)); then
		fail "shunt-tester ended with exit status $1"
	fi
}

tester() { # OPTION...: in a process that there is for nothing else
	exec build/shunt-tester run --shunt "$build/shunt" "$@" 2>&1 </dev/null
}

# By two testers at once, with labs of their own: scenarios wait most of the time.
scenarios() { # OPTION...: for the tester
	local lines first status
	tester --part 2/2 "$@" >"$held" &
	second=$!
	exec {lines}< <(tester --part 1/2 "$@")
	first=$!
	tester_lines "$lines"
	exec {lines}<&-
	status=0
	wait "$first" || status=$?
	tester_ended "$status"
	status=0
	wait "$second" || status=$?
	second=
	tester_lines 3 3<"$held"
	tester_ended "$status"
}

held=$(mktemp) second=
trap '[[ -z $second ]] || kill "$second"; rm -f "$held"' EXIT

if ((EUID != 0)); then
	echo 'check.sh: the scenarios need root, for network namespaces: sudo make check' >&2
	exit 1
fi

echo 'Unit tests'
for program in "$build"/unit/test_*; do
	[[ -x $program ]] && unit_test "$program"
done
echo 'Layers, configuration, documentation'
step 'every include goes down: scripts/check-layers.sh' scripts/check-layers.sh
step 'the configuration of the challenge is right: shunt check config.json' "$build/shunt" check config.json
step 'the manual and the completion say what the help says: scripts/check-docs.sh' scripts/check-docs.sh "$build/shunt"

echo 'Scenarios'
scenarios
echo 'Scenarios without privileges: no BPF, and still a complete proxy'
scenarios --engine auto --family 4 --unprivileged

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0 && passed > 0))
