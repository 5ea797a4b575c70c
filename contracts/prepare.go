package contracts

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what to run and where.
type Options struct {
	Project string // its top folder
	Arch    string
	Libc    string
	Paths   []string       // folders, sources and binaries; nil: the project's suite
	Filter  *regexp.Regexp // of names; nil: all
	Shard   [2]int         // I and N, {0, 0}: all
	CPUs    int            // of a guest
	Memory  uint64         // of a guest, bytes
	Jobs    int
	Batch   int // programs a guest
	Timeout time.Duration
	Expect  string
	// Local says that guests run on this machine's /dev/kvm; otherwise in the hosted machine.
	Local    bool
	Judged   string // OnRingo or OnLinux
	Progress io.Writer
	// Remember says to take baselines from earlier runs where nothing has changed.
	Remember bool
	Guard    string   // of Ringo's guests, as for vmm run --guard
	Turns    []string // as Suite.Turns
}

// Prepare finds, builds and stages the contracts and returns a suite that is ready to run, and what ends it. Everything
// it makes is under build/contracts.
func Prepare(ctx context.Context, o Options) (*Suite, func(), error) {
	build := filepath.Join(o.Project, "build")
	own := filepath.Join(build, "contracts")
	sources := filepath.Join(o.Project, "contracts")
	paths := o.Paths
	if len(paths) == 0 {
		paths = []string{sources}
	}
	programs, err := Find(o.Arch, paths)
	if err != nil {
		return nil, nil, err
	}
	var chosen []Program
	for _, p := range programs {
		if o.Filter == nil || o.Filter.MatchString(p.Name) {
			chosen = append(chosen, p)
		}
	}
	if o.Shard[1] > 0 {
		chosen = Shard(chosen, o.Shard[0], o.Shard[1])
	}
	if len(chosen) == 0 {
		return nil, nil, fmt.Errorf("no contracts for %s among %d found", o.Arch, len(programs))
	}
	sourcesOf := append(slices.Clone(chosen), Program{Name: "driver", Source: filepath.Join(sources, "driver", "driver.c")})
	tools := Toolchains{}
	if err := tools.Build(ctx, o.Arch, o.Libc, filepath.Join(sources, "include"), filepath.Join(own, "programs"), sourcesOf, runtime.NumCPU()); err != nil {
		return nil, nil, err
	}
	chosen, driver := sourcesOf[:len(chosen)], sourcesOf[len(chosen)].Binary
	stage := filepath.Join(own, "stage", o.Arch+"-"+o.Libc)
	if err := Stage(stage, driver, chosen); err != nil {
		return nil, nil, err
	}
	roots := map[string]RootFS{}
	for _, p := range chosen {
		if p.Dynamic {
			if err := tools[p.Libc].stageLibraries(ctx, stage); err != nil {
				return nil, nil, err
			}
		}
		if _, known := roots[p.Root]; !known {
			if roots[p.Root], err = prepareRoot(build, o.Arch, p.Root); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", p.Name, err)
			}
		}
	}
	known, err := ReadDivergences(filepath.Join(sources, "known-divergences.json"), o.Arch)
	if err != nil {
		return nil, nil, err
	}
	s := &Suite{
		Programs: chosen, Timeout: o.Timeout, Jobs: o.Jobs, BatchSize: o.Batch, Expect: o.Expect, Known: known, Judged: o.Judged,
		Base: Batch{
			Folder: stage, Kernel: filepath.Join(build, o.Arch, "ringo.elf"), CPUs: o.CPUs, Memory: o.Memory, Guard: o.Guard,
		},
		Roots: roots, Turns: o.Turns,
	}
	worker := filepath.Join(build, o.Arch, "vmm")
	for _, needed := range []string{s.Base.Kernel, worker} {
		if _, err := os.Stat(needed); err != nil {
			return nil, nil, fmt.Errorf("%w (run `make build`)", err)
		}
	}
	inside := &Hosted{Arch: o.Arch, Worker: []string{worker, "contracts", "worker"}, Progress: o.Progress}
	s.Linux, s.Ringo = inside, inside
	linux := "hosted"
	if o.Arch == runtime.GOARCH {
		s.Linux, linux = Linux{}, release()
	}
	if o.Local {
		s.Ringo = Ringo{}
	}
	if o.Remember {
		s.Baselines = &Store{Folder: filepath.Join(own, "baselines"), Linux: o.Arch + " " + linux, Driver: driver}
	}
	return s, inside.Close, nil
}

// rootArchives are the root file systems a contract may name: the archive below build/ARCH, the memory of a guest, and how to make it.
var rootArchives = map[string]struct {
	archive string
	memory  uint64
	make    string
}{
	"":       {"initramfs.cpio", 0, "build"},
	"debian": {"debian.cpio", 1 << 30, "debian"},
}

// prepareRoot finds a root file system's archive and unpacks it for Linux.
func prepareRoot(build, arch, name string) (RootFS, error) {
	r, ok := rootArchives[name]
	if !ok {
		return RootFS{}, fmt.Errorf("there is no root file system %q", name)
	}
	fs := RootFS{Initrd: filepath.Join(build, arch, r.archive), Folder: filepath.Join(build, "contracts", "root"+name+"-"+arch), Memory: r.memory}
	if _, err := os.Stat(fs.Initrd); err != nil {
		return fs, fmt.Errorf("root file system: %w (run `make %s`)", err, r.make)
	}
	return fs, UnpackRoot(fs.Initrd, fs.Folder)
}

// release is the running Linux's.
func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
