package contracts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Toolchain compiles contracts for one architecture and C library. What it made it keeps, by a hash of all that
// went in.
type Toolchain struct {
	Compiler []string // program and flags
	Include  string   // folder of contract.h
	Cache    string   // folder for programs by content
	id       string   // of the compiler and headers
}

// compilers by architecture and C library.
var compilers = map[string]map[string][]string{
	"amd64": {"glibc": {"x86_64-linux-gnu-gcc", "gcc"}, "musl": {"x86_64-linux-musl-gcc", "musl-gcc"}},
	"arm64": {"glibc": {"aarch64-linux-gnu-gcc"}, "musl": {"aarch64-linux-musl-gcc"}},
}

// compilerFlags: static, warnings are errors because a contract is read as documentation.
var compilerFlags = []string{
	"-static", "-s", "-O1", "-std=gnu11", "-pthread", "-fno-strict-aliasing",
	"-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-Wno-nonnull", "-Wno-stringop-overread", "-Wno-stringop-overflow", "-Wno-infinite-recursion",
}

// NewToolchain finds the compiler. include is the folder of contract.h, cache is made when needed.
func NewToolchain(ctx context.Context, arch, libc, include, cache string) (*Toolchain, error) {
	names := compilers[arch][libc]
	if names == nil {
		return nil, fmt.Errorf("no C library %q for architecture %q", libc, arch)
	}
	var path string
	for _, name := range names {
		if path, _ = exec.LookPath(name); path != "" {
			break
		}
	}
	if path == "" {
		return nil, fmt.Errorf("no %s compiler for %s: %s is not installed (contracts/install-compilers.sh installs it)", libc, arch, names[len(names)-1])
	}
	t := &Toolchain{Compiler: append([]string{path}, compilerFlags...), Include: include, Cache: cache}
	if libc == "musl" {
		headers, err := kernelHeaders(arch, cache)
		if err != nil {
			return nil, err
		}
		t.Compiler = append(t.Compiler, "-idirafter", headers)
	}
	version, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", path, err)
	}
	h := sha256.New()
	fmt.Fprintln(h, t.Compiler, string(version))
	headers, err := filepath.Glob(filepath.Join(include, "*.h"))
	if err != nil {
		return nil, err
	}
	for _, header := range headers {
		if err := hashFile(h, header); err != nil {
			return nil, err
		}
	}
	t.id = hex.EncodeToString(h.Sum(nil))
	return t, os.MkdirAll(cache, 0o755)
}

// kernelHeaders makes a folder with Linux's own headers alone: musl's compiler sees no others, and must not see glibc's.
func kernelHeaders(arch, cache string) (string, error) {
	folder := filepath.Join(cache, "kernel-headers-"+arch)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	machine := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[arch]
	for name, target := range map[string]string{"linux": "/usr/include/linux", "asm-generic": "/usr/include/asm-generic", "asm": "/usr/include/" + machine + "/asm"} {
		if err := os.Symlink(target, filepath.Join(folder, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	return folder, nil
}

func hashFile(h io.Writer, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s %d\n", filepath.Base(path), len(b))
	_, err = h.Write(b)
	return err
}

// Compile returns the path of the program made from a source.
func (t *Toolchain) Compile(ctx context.Context, source string, flags []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, t.id, flags)
	if err := hashFile(h, source); err != nil {
		return "", err
	}
	made := filepath.Join(t.Cache, hex.EncodeToString(h.Sum(nil))[:32])
	if _, err := os.Stat(made); err == nil {
		return made, nil
	}
	temporary, err := os.CreateTemp(t.Cache, "making.*")
	if err != nil {
		return "", err
	}
	temporary.Close()
	defer os.Remove(temporary.Name())
	args := append(slices.Clone(t.Compiler[1:]), "-I", t.Include, "-o", temporary.Name(), source)
	c := exec.CommandContext(ctx, t.Compiler[0], append(args, flags...)...)
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("compiling %s: %w\n%s", source, err, tail(said.Bytes()[:min(said.Len(), 2000)], 12))
	}
	if err := os.Chmod(temporary.Name(), 0o755); err != nil {
		return "", err
	}
	return made, os.Rename(temporary.Name(), made)
}

// Build compiles what has a source, `jobs` at a time. All failures are reported, joined.
func (t *Toolchain) Build(ctx context.Context, programs []Program, jobs int) error {
	failures := make([]error, len(programs))
	var group errgroup.Group
	group.SetLimit(jobs)
	for i := range programs {
		p := &programs[i]
		if p.Source == "" {
			continue
		}
		group.Go(func() error {
			p.Binary, failures[i] = t.Compile(ctx, p.Source, p.Flags)
			return nil
		})
	}
	group.Wait()
	return errors.Join(failures...)
}
