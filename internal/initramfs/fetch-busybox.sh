#!/bin/sh
# Fetches Debian's own busybox-static for amd64 and arm64 into build/ARCH/busybox, unmodified.
#
# apt runs with a private state folder, so neither the machine's sources nor its list of
# foreign architectures change; the signature of Debian's archive key is checked as always.
# Does nothing, and needs no network, when both files are there.
set -eu
cd "$(dirname "$0")/../.."
release=bookworm
key=/usr/share/keyrings/debian-archive-keyring.gpg

[ -x build/amd64/busybox ] && [ -x build/arm64/busybox ] && exit 0
command -v apt-get >/dev/null && [ -f "$key" ] || {
	echo "busybox: this needs a Debian machine with apt and $key; or put static busybox binaries at build/amd64/busybox and build/arm64/busybox" >&2
	exit 1
}
echo "busybox: fetching Debian's busybox-static for amd64 and arm64"
mkdir -p build
work=$(mktemp -d "$PWD/build/busybox.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
echo "deb [signed-by=$key] http://deb.debian.org/debian $release main" >"$work/sources.list"
apt() {
	apt-get -qq -o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" \
		-o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o APT::Architectures::=amd64 -o APT::Architectures::=arm64 -o Acquire::Languages=none \
		-o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}
apt update
for arch in amd64 arm64; do
	mkdir -p "build/$arch" "$work/$arch"
	(cd "$work/$arch" && apt download "busybox-static:$arch" && dpkg-deb --extract ./*.deb root)
	mv "$work/$arch/root/bin/busybox" "build/$arch/busybox.new"
	mv "build/$arch/busybox.new" "build/$arch/busybox"
done
