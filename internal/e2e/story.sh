#!/bin/sh
# The story of docs/debugging.md in the terminal: a kernel that dies of a stack that somebody overwrote, and who did.
# Usage: story.sh ARCH [CPUS]. Needs `make build` and a C compiler for ARCH.
set -eu
arch=${1:-amd64} cpus=${2:-2}
root=$(cd "$(dirname "$0")/../.." && pwd)
vmm=$root/build/$(go env GOHOSTARCH)/vmm
folder=$root/build/plants/$arch
mkdir -p "$folder"
case $arch in amd64) cc=x86_64-linux-gnu-gcc ;; arm64) cc=aarch64-linux-gnu-gcc ;; *) echo "no architecture $arch" >&2; exit 2 ;; esac
$cc -static -O1 -pthread -o "$folder/stream" "$root/guestkernel/inject/testdata/stream.c"

say() { printf '\n\033[1m%s\033[0m\n\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n\n' "$*"; }
guest() {
	echo "\$ vmm run --cpus $cpus --append inject=stack-overflow${*:+ }$* --add stream:/stream -- /stream"
	set +e
	"$vmm" run --arch "$arch" --cpus "$cpus" --append inject=stack-overflow "$@" --add "$folder/stream:/stream" --timeout 2m -- /stream >"$out" 2>&1
	status=$?
	set -e
}
out=$(mktemp) && trap 'rm -f "$out"' EXIT

say "A server sleeps in accept(2). A client connects and writes. The kernel dies:"
guest
sed '/^---$/,$d' "$out"
echo "[exit status $status]"
[ $status = 125 ] || { echo "story: the plain run should have crashed" >&2; exit 1; }

say "The CPU returned to address 0: the server's kernel stack was zeroed while it slept. By whom? The same again, guarded:"
guest --guard stacks
sed '/^vmm: the kernel panicked/,$d' "$out"
echo "[and then the crash as above; exit status $status]"
[ $status = 66 ] || { echo "story: the guarded run should have reported" >&2; exit 1; }
