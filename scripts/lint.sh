#!/bin/bash
# SPDX-License-Identifier: MIT
# Everything that judges the sources without running them, side by side: layout, layers, clang-tidy,
# cppcheck, go vet, shellcheck, mandoc. Needs compile_commands.json (make lint makes it). Prints what the
# failing ones said and exits with their number.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
shopt -s nullglob
c_files=(user/*.c bench/*.c)
other_files=(bpf/*.[ch] include/*.h user/*.h test/*/*.[ch])

names=() pids=()
start() { # NAME COMMAND...
	local name=$1
	shift
	"$@" >"$out/$name" 2>&1 </dev/null &
	names+=("$name") pids+=($!)
}

# clang-tidy takes the longest by far, so it starts first and has all cores.
start clang-tidy xargs -a <(printf '%s\n' "${c_files[@]}") -n 4 -P "$(nproc)" clang-tidy --quiet -p .
start clang-format clang-format --dry-run -Werror "${c_files[@]}" "${other_files[@]}"
start cppcheck cppcheck --quiet --enable=warning,performance,portability --error-exitcode=1 \
	--inline-suppr --suppress=missingIncludeSystem --std=c11 -D_GNU_SOURCE -Iinclude -Iuser user bench
start go-vet make -s vet
# shellcheck disable=SC2016 # the inner shell expands it
start gofmt bash -c 'wrong=$(gofmt -l tester) && [[ -z $wrong ]] || { echo "$wrong"; exit 1; }'
start shellcheck shellcheck scripts/*.sh .ci/run packaging/bash-completion/*
start mandoc make -s lint-man
start layers scripts/check-layers.sh

failed=0
for i in "${!names[@]}"; do
	if wait "${pids[i]}"; then
		printf '  pass  %s\n' "${names[i]}"
	else
		failed=$((failed + 1))
		printf '  FAIL  %s\n' "${names[i]}"
		sed 's/^/        /' "$out/${names[i]}"
	fi
done
exit "$failed"
