#!/bin/sh
# Installs gdb for both architectures, which the end-to-end tests of the GDB stub need, on Debian, as root, when it is missing.
set -eu
command -v gdb-multiarch >/dev/null && exit 0
command -v apt-get >/dev/null || {
	echo "gdb: gdb-multiarch is missing, and there is no apt-get to install it" >&2
	exit 1
}
echo "gdb: installing gdb-multiarch"
[ "$(id -u)" = 0 ] || {
	echo "gdb: run as root: apt-get install gdb-multiarch" >&2
	exit 1
}
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y gdb-multiarch
