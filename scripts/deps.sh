#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs those of Debian 12's packages that are missing: deps.sh SET..., a set being build, check, lint
# or bench. Silent and quick when nothing is missing; starts no services, whatever it installs.
set -euo pipefail

declare -A sets=(
	[build]='build-essential pkg-config libcjson-dev libc-ares-dev libmicrohttpd-dev libbpf-dev bpftool clang llvm golang-go iproute2'
	[check]='libcmocka-dev util-linux procps prometheus redis-server postgresql haproxy nginx libnginx-mod-stream wrk iperf3 nodejs'
	[lint]='clang clang-format clang-tidy libclang-rt-dev cppcheck shellcheck scdoc mandoc'
	[man]='scdoc'
	[bench]='haproxy nginx libnginx-mod-stream iperf3 redis-server redis-tools postgresql wrk gnuplot-nox python3'
)
services=(haproxy nginx postgresql prometheus redis-server)

die() {
	printf 'deps.sh: %s\n' "$*" >&2
	exit 1
}

wanted=()
for set in "${@:-build}"; do
	[[ -n ${sets[$set]:-} ]] || die "no set \"$set\"; there are: ${!sets[*]}"
	read -ra packages <<<"${sets[$set]}"
	wanted+=("${packages[@]}")
done

command -v dpkg-query >/dev/null ||
	die "this is not Debian; install what it calls: ${wanted[*]}"
# Packages that dpkg has never heard of make it fail, and are missing from its answer.
installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
	grep -qx "$package installed" <<<"$installed" || missing+=("$package")
done
((${#missing[@]})) || exit 0
((EUID == 0)) || die "not root; run: sudo apt-get install ${missing[*]}"

# Debian starts a service as soon as it is installed, unless a policy forbids it, and at every boot
# thereafter: here they would take the very ports that a proxy wants.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
own_policy=
clean_up() {
	rm -f "$log"
	[[ -z $own_policy ]] || rm -f "$policy"
}
trap clean_up EXIT
if [[ ! -e $policy ]]; then
	own_policy=yes
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

install_missing() {
	DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends \
		-o Dpkg::Use-Pty=0 install "${missing[@]}" >"$log" 2>&1 </dev/null
}

printf 'deps.sh: installing %s\n' "${missing[*]}" >&2
# The package lists may be absent or stale; only then is it worth the time to fetch them.
if ! install_missing && ! { apt-get -q update >"$log" 2>&1 </dev/null && install_missing; }; then
	cat "$log" >&2
	die "could not install ${missing[*]}"
fi

if command -v systemctl >/dev/null; then
	for service in "${services[@]}"; do
		[[ " ${missing[*]} " != *" $service "* ]] || systemctl -q disable "$service" 2>/dev/null || true
	done
fi
