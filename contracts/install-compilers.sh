#!/bin/sh
# Installs the compilers that the contract suite needs, on Debian, as root, when they are missing: gcc and g++, musl-gcc, and both with
# their C library for arm64. Says what it does; with everything there it does nothing and needs no network.
set -eu
cd "$(dirname "$0")/.."
missing=
command -v gcc >/dev/null && [ -e /usr/lib/x86_64-linux-gnu/libc.a ] || missing="$missing gcc libc6-dev"
command -v g++ >/dev/null || missing="$missing g++"
command -v musl-gcc >/dev/null || missing="$missing musl-tools"
command -v aarch64-linux-gnu-gcc >/dev/null || missing="$missing gcc-aarch64-linux-gnu"
command -v aarch64-linux-gnu-g++ >/dev/null || missing="$missing g++-aarch64-linux-gnu"
[ -e /usr/aarch64-linux-gnu/lib/libc.a ] || missing="$missing libc6-dev-arm64-cross"
if [ -n "$missing" ]; then
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
fi

# musl for arm64: Debian has no such compiler, but its library for arm64 and gcc for arm64 make one, as musl-tools does for the
# machine's own architecture. A private apt state, so that the machine's list of architectures stays as it is.
musl=build/contracts/compilers
[ -x "$musl/aarch64-linux-musl-gcc" ] && exit 0
key=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$key" ] || {
	echo "contracts: no musl compiler for arm64: Debian's signing keys are not at $key" >&2
	exit 1
}
echo "contracts: making a musl compiler for arm64"
mkdir -p "$musl"
work=$(mktemp -d "$PWD/$musl/making.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: >"$work/status"
echo "deb [signed-by=$key arch=arm64] ${RINGO_DEBIAN_MIRROR:-http://deb.debian.org}/debian bookworm main" >"$work/sources.list"
apt() {
	apt-get -qq -o Dir::State="$work" -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" \
		-o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Acquire::Languages=none \
		-o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}
apt update
(cd "$work" && apt download musl-dev:arm64 musl:arm64 && for deb in *.deb; do dpkg-deb --extract "$deb" root; done)
rm -rf "$musl/aarch64-linux-musl"
mv "$work/root/usr/lib/aarch64-linux-musl" "$musl/aarch64-linux-musl"
mv "$work/root/usr/include/aarch64-linux-musl" "$musl/aarch64-linux-musl/include"
rm -f "$musl/aarch64-linux-musl/libc.so"
mv "$work/root/lib/aarch64-linux-musl/libc.so" "$musl/aarch64-linux-musl/libc.so"
here=$PWD/$musl/aarch64-linux-musl
cat >"$here/musl-gcc.specs" <<SPECS
%rename cpp_options old_cpp_options

*cpp_options:
-nostdinc -isystem $here/include -isystem include%s %(old_cpp_options)

*cc1:
%(cc1_cpu) -nostdinc -isystem $here/include -isystem include%s

*link_libgcc:
-L$here -L .%s

*libgcc:
libgcc.a%s %:if-exists(libgcc_eh.a%s)

*startfile:
%{static: $here/crt1.o} %{!static: %{!shared: $here/Scrt1.o}} $here/crti.o %{static: crtbeginT.o%s} %{!static: crtbeginS.o%s}

*endfile:
%{static: crtend.o%s} %{!static: crtendS.o%s} $here/crtn.o

*link:
-dynamic-linker /lib/ld-musl-aarch64.so.1 -nostdlib %{shared:-shared} %{static:-static} %{rdynamic:-export-dynamic} %{!static: -pie}

*esp_link:


*esp_options:


*esp_cpp_options:


SPECS
cat >"$work/wrapper" <<WRAPPER
#!/bin/sh
exec aarch64-linux-gnu-gcc -mno-outline-atomics "\$@" -specs "$here/musl-gcc.specs"
WRAPPER
chmod 755 "$work/wrapper"
mv "$work/wrapper" "$musl/aarch64-linux-musl-gcc"
