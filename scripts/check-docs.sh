#!/bin/bash
# SPDX-License-Identifier: MIT
# Holds shunt(8), shunt-tester(1) and the bash completion to what the programs' help says: the same
# commands, and each with the same options. check-docs.sh SHUNT; names every difference, and exits 1 if
# there is one.
set -euo pipefail
shunt=$(realpath "$1")
cd "$(dirname "$0")/.."
# shellcheck source=/dev/null
source packaging/bash-completion/shunt
status=0

same() { # WHAT, then its list and the help's, each of words
	local difference
	difference=$(diff <(xargs -n 1 <<<"$2" | sort) <(xargs -n 1 <<<"$3" | sort)) && return
	printf '%s (<) differs from the help (>):\n%s\n' "$1" "$(grep '^[<>]' <<<"$difference")" >&2
	status=1
}

completed() { # WORD...: what the completion offers for the last one
	COMP_WORDS=(shunt "$@") COMP_CWORD=$#
	_shunt
	echo "${COMPREPLY[@]}"
}

# The manual's line about a command: it stands at the line's start, in bold, and its options follow it.
entry() {
	sed -n '/^# COMMANDS/,/^# SIGNALS/p' docs/shunt.8.scd | grep "^\*$1\*" || true
}

words() { # of standard input, on one line
	xargs
}

commands=$("$shunt" --help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' | words)
same 'the completion of the commands' "$(completed '')" "$commands --help --version"
same 'the list of commands in docs/shunt.8.scd' \
	"$(sed -n '/^# COMMANDS/,/^# SIGNALS/s/^\*\([a-z-]*\)\*.*/\1/p' docs/shunt.8.scd | words)" "$commands"
for command in $commands; do
	options=$("$shunt" "$command" --help | sed -nE 's/^ +(-[a-z], )?(--[a-z-]+).*/\2/p' | words)
	same "the completion of $command" "$(completed "$command" --)" "$options --help"
	same "the entry of $command in docs/shunt.8.scd" "$(entry "$command" | grep -oE -e '--[a-z-]+' | words)" "$options"
done
same 'the options in docs/shunt-tester.1.scd' \
	"$(sed -nE 's/^\*(--[a-z-]+)\*.*/\1/p' docs/shunt-tester.1.scd | words)" \
	"$(build/shunt-tester --help | sed -nE 's/^  (--[a-z-]+).*/\1/p' | words)"
for option in engine log-format log-level; do
	# "  --engine NAME    auto, copy or splice: instead of ..."
	values=$("$shunt" run --help | sed -nE "s/^ +--$option [A-Z]+ +([^:]*):.*/\1/p" | sed 's/ or /, /; s/, / /g')
	same "the completion of run --$option" "$(completed run "--$option" '')" "$values"
done
exit "$status"
