# Ringo. `make run` boots a guest and runs a BusyBox script in it, `make test` tests everything.
# Both install what they need (as root, through apt) and say so; a second run needs no network.

ARCH ?= amd64
CPUS ?= 2
GOARCHES := amd64 arm64

export CGO_ENABLED := 0
export RINGO_ROOT := $(CURDIR)

ifeq ($(shell command -v go),)
$(error Go is needed to build Ringo: https://go.dev/doc/install, version as in go.mod)
endif

BINARIES := $(foreach a,$(GOARCHES),build/$(a)/vmm build/$(a)/ringo.elf build/$(a)/hosted-agent build/$(a)/initramfs.cpio)

.PHONY: all run demo plants shell contracts contracts-compilers test lint unit e2e build hosted hosted-stop bench-boot bench-debug bench-guard bench-syscalls bench-trace stress fuzz-syscalls boots clean FORCE
all: build
build: $(BINARIES)

# The Go tool knows best what is stale.
build/%/vmm: FORCE
	GOARCH=$* go build -o $@ ./vmm
build/%/hosted-agent: FORCE
	GOARCH=$* go build -trimpath -ldflags='-s -w' -o $@ ./hosted/agent
# The kernel: the stock toolchain's PIE, entered at our own symbol.
build/%/ringo.elf: FORCE
	GOARCH=$* go build -buildmode=pie -ldflags='-E=ringo/arch/$*/ring0.entry' -o $@ ./guestkernel

# What calls what most often, for the compiler, which takes the file by its name: from the kernel's system calls in a process of this computer.
.PHONY: pgo
pgo:
	go test -run '^$$' -bench Syscall -cpuprofile guestkernel/default.pgo -o build/boot.test ./guestkernel/boot

build/amd64/busybox build/arm64/busybox &:
	sh internal/initramfs/fetch-busybox.sh
build/%/initramfs.cpio: build/%/busybox $(wildcard internal/initramfs/*.go internal/initramfs/*/*.go)
	go run ./internal/initramfs/mkinitramfs $< build/$(shell go env GOHOSTARCH)/busybox $@

run: build
	build/$(shell go env GOHOSTARCH)/vmm run --arch $(ARCH) --cpus $(CPUS) --phases - --add internal/e2e/demo.sh:/demo.sh --timeout 5m -- /bin/sh /demo.sh

shell: build
	build/$(shell go env GOHOSTARCH)/vmm run --arch $(ARCH) --cpus $(CPUS)

# Is it Linux? CONTRACTS are further arguments, like --batch or --filter '^vm/'.
contracts: build contracts-compilers
	build/$(shell go env GOHOSTARCH)/vmm contracts run --arch $(ARCH) $(CONTRACTS)

# A root file system with Debian's essential packages, python3 and perl, and their scripts in it, compared with Linux.
.PHONY: debian
debian: build contracts-compilers build/$(ARCH)/debian.cpio
	build/$(shell go env GOHOSTARCH)/vmm contracts run --arch $(ARCH) --timeout 3m --batch $(CONTRACTS) contracts/debian

# Go's own standard-library tests, counted against Linux. GOTESTS are further arguments: flags and packages.
.PHONY: gotests
gotests: build contracts-compilers build/$(ARCH)/debian.cpio
	go run ./internal/gotests -arch $(ARCH) $(GOTESTS)

build/%/debian.cpio:
	sh internal/initramfs/fetch-debian.sh $*

# For the tests of the GDB stub.
.PHONY: gdb
gdb:
	@sh internal/e2e/install-gdb.sh

# For the test of core files: Delve, 15 small modules from the Go proxy, built once (half a minute), not part of this module's dependencies.
.PHONY: dlv
dlv: build/tools/dlv
build/tools/dlv:
	GOBIN=$(CURDIR)/build/tools GOARCH=$(shell go env GOHOSTARCH) go install github.com/go-delve/delve/cmd/dlv@v1.27.2

contracts-compilers:
	@sh contracts/install-compilers.sh

hosted: build
	build/$(shell go env GOHOSTARCH)/vmm hosted prepare

hosted-stop:
	@if [ -x build/$(shell go env GOHOSTARCH)/vmm ]; then build/$(shell go env GOHOSTARCH)/vmm hosted stop; fi

test: lint unit e2e

lint:
	@echo "== gofmt, go vet and staticcheck, amd64 and arm64"
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt wants: $$unformatted"; exit 1; }
	GOARCH=amd64 go vet ./...
	GOARCH=arm64 go vet ./...
	staticcheck=$$(go tool -n staticcheck) && GOARCH=amd64 $$staticcheck ./... && GOARCH=arm64 $$staticcheck ./...

unit: build contracts-compilers
	@echo "== unit tests"
	go test -timeout 10m ./...

# Guests are booted one package at a time: two cores carry the host machine as well.
e2e: build contracts-compilers gdb dlv
	@echo "== end-to-end tests: guests on amd64 and arm64"
	@rm -f build/triple-faults.log
	RINGO_E2E=1 go test -count=1 -p 1 -timeout 25m ./hosted ./vmm/... ./debug/... ./contracts ./internal/e2e
	@if [ -s build/triple-faults.log ]; then echo "== a guest died of a triple fault and was run again (docs/debugging-boot.md, 6):"; cat build/triple-faults.log; fi
	RINGO_E2E=1 RINGO_PLANTS='$(QUICK_PLANTS)' go test -count=1 -timeout 25m ./internal/e2e/planted

# Some planted bugs with their controls, for make test; make plants has all.
QUICK_PLANTS = /(stack-overflow|double-alloc|freed-stack|bad-frame|wide-store|dma-read|silent-zero|double-free)(-control)?/2$$

# Every planted bug and its control under the debugger, on both architectures with 1 and 2 vCPUs. RINGO_PLANTS=RE: only some (docs/plants.md).
plants: build contracts-compilers
	RINGO_E2E=1 go test -count=1 -timeout 60m ./internal/e2e/planted

# What the stack guard costs over the contracts, in turns in the same guest, what it reports and which fail under it; FILTER=RE: only some.
bench-guard: build contracts-compilers
	go run ./internal/e2e/benchguard -arch $(ARCH) -cpus $(CPUS) -filter "$(FILTER)"

bench-syscalls: build contracts-compilers
	go run ./internal/e2e/benchsyscalls -arch $(ARCH) -cpus $(CPUS)

# What the flight recorder costs: the benchmarks of bench-syscalls with it on and off in turns of milliseconds, in one guest.
bench-trace: build contracts-compilers
	go run ./internal/e2e/benchtrace -arch $(ARCH) -cpus $(CPUS)

# Ten minutes each: a mix of everything that checks itself, and random system calls. At the end every frame is accounted for.
stress fuzz-syscalls: build contracts-compilers
	go run ./internal/e2e/endurance -what $(@:fuzz-syscalls=fuzz) -arch $(ARCH) -cpus $(CPUS)

# Who wrote this? A planted bug kills the kernel; then the same under the stack guard. docs/debugging.md
demo: build contracts-compilers
	@sh internal/e2e/story.sh $(ARCH) $(CPUS)

bench-boot: build
	go run ./internal/e2e/benchboot -arch $(ARCH)

# What is found: planted bugs with the right verdict. What watching memory costs: 100,000 stores of two vCPUs to a watched page, on
# both architectures.
bench-debug: build contracts-compilers
	go run ./internal/e2e/benchdebug -arch $(ARCH)
	RINGO_BENCH_DEBUG=$(or $(STORES),100000) go test -count=1 -timeout 7h -run '^TestFigures$$' -v ./vmm/tracing

# The long run: 200 boots on 2 vCPUs, looking for hangs and leaks.
boots: build
	RINGO_E2E=1 RINGO_BOOTS=200 go test -count=1 -timeout 60m -run TestBootsInARow -v ./internal/e2e

clean: hosted-stop
	rm -rf build
