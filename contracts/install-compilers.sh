#!/bin/sh
# Installs the compilers that the contract suite needs, on Debian, as root, when they are missing: gcc, musl-gcc, and gcc with
# the C library for arm64. Says what it does; with everything there it does nothing and needs no network.
set -eu
missing=
command -v gcc >/dev/null && [ -e /usr/lib/x86_64-linux-gnu/libc.a ] || missing="$missing gcc libc6-dev"
command -v musl-gcc >/dev/null || missing="$missing musl-tools"
command -v aarch64-linux-gnu-gcc >/dev/null || missing="$missing gcc-aarch64-linux-gnu"
[ -e /usr/aarch64-linux-gnu/lib/libc.a ] || missing="$missing libc6-dev-arm64-cross"
[ -z "$missing" ] && exit 0
command -v apt-get >/dev/null || {
	echo "contracts: these packages are missing, and there is no apt-get to install them:$missing" >&2
	exit 1
}
echo "contracts: installing$missing"
[ "$(id -u)" = 0 ] || {
	echo "contracts: run as root: apt-get install$missing" >&2
	exit 1
}
apt-get -qq update
# shellcheck disable=SC2086 # a list
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y $missing
