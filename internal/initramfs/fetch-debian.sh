#!/bin/sh
# fetch-debian.sh ARCH: makes build/ARCH/debian.cpio, a root file system with all of Debian's essential packages, python3
# and perl, for programs that want more than BusyBox.
#
# apt resolves against an empty package database of its own, so the closure is complete, and verifies every download against the
# archive's signed index. Nothing is installed and no maintainer script runs: neither root nor a chroot is needed. What went in is
# written to build/ARCH/debian.packages (name, version, SHA-256). Does nothing, and needs no network, when the archive is there.
set -eu
cd "$(dirname "$0")/../.."
arch=${1:?"usage: fetch-debian.sh amd64|arm64"}
release=trixie
key=/usr/share/keyrings/debian-archive-keyring.gpg
packages="python3 perl sqlite3 procps iproute2 netbase"

out=build/$arch/debian.cpio
[ -f "$out" ] && exit 0
command -v apt-get >/dev/null && [ -f "$key" ] || {
	echo "debian root: this needs a Debian machine with apt and $key; or put a cpio archive at $out" >&2
	exit 1
}
echo "debian root: fetching $release for $arch: essential packages, $packages"
mkdir -p "build/$arch" build/debian-cache
work=$(mktemp -d "$PWD/build/debian.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$work/lists/partial" "$work/cache" "$work/none/partial" build/debian-cache/partial
: >"$work/status"
mirror=${RINGO_DEBIAN_MIRROR:-http://deb.debian.org}
{
	echo "deb [signed-by=$key arch=$arch] $mirror/debian $release main"
	echo "deb [signed-by=$key arch=$arch] $mirror/debian-security $release-security main"
} >"$work/sources.list"
apt() {
	apt-get -qq -o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" \
		-o Dir::Cache="$work/cache" -o Dir::Cache::archives="$PWD/build/debian-cache" -o Dir::Etc::sourcelist="$work/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Acquire::Languages=none \
		-o APT::Install-Recommends=false -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}
apt update
# With an empty cache: what is in the cache already (packages for all architectures, of the other one) would not be printed.
# shellcheck disable=SC2086 # a list
apt -o Dir::Cache::archives="$work/none" -y --print-uris install '?essential' $packages | cut -d' ' -f2 | sort >"$work/names"
# shellcheck disable=SC2086
apt -y --download-only install '?essential' $packages >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; exit 1; }
: >"$work/packages"
: >"$work/files"
while read -r name; do
	deb=build/debian-cache/$name
	echo "$deb" >>"$work/files"
	echo "$(dpkg-deb --show --showformat '${Package} ${Version}' "$deb") $(sha256sum "$deb" | cut -d' ' -f1)" >>"$work/packages"
done <"$work/names"
go run ./internal/initramfs/mkdebian "$out" <"$work/files"
mv "$work/packages" "build/$arch/debian.packages"
echo "debian root: $out has $(wc -l <"build/$arch/debian.packages") packages, $(du -m "$out" | cut -f1) MB"
