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
	"strings"

	"golang.org/x/sync/errgroup"
)

// Toolchain compiles contracts for one architecture and C library. What it made it keeps, by a hash of all that
// went in.
type Toolchain struct {
	Arch, Libc string
	Compiler   []string // program and flags
	Include    string   // folder of contract.h
	Cache      string   // folder for programs by content
	id         string   // of the compiler and headers
}

// compilers by architecture and C library.
var compilers = map[string]map[string][]string{
	"amd64": {"glibc": {"x86_64-linux-gnu-gcc", "gcc"}, "musl": {"x86_64-linux-musl-gcc", "musl-gcc"}},
	"arm64": {"glibc": {"aarch64-linux-gnu-gcc"}, "musl": {"aarch64-linux-musl-gcc"}},
}

// compilerFlags: warnings are errors because a contract is read as documentation.
var (
	compilerFlags = []string{
		"-s", "-O1", "-pthread", "-fno-strict-aliasing",
		"-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-Wno-nonnull", "-Wno-stringop-overread", "-Wno-stringop-overflow", "-Wno-infinite-recursion",
	}
	languageFlags = map[string][]string{".c": {"-std=gnu11"}, ".cc": {"-std=gnu++17"}}
)

// NewToolchain finds the compiler. include is the folder of contract.h, cache is made when needed.
func NewToolchain(ctx context.Context, arch, libc, include, cache string) (*Toolchain, error) {
	names := compilers[arch][libc]
	if names == nil {
		return nil, fmt.Errorf("no C library %q for architecture %q", libc, arch)
	}
	// Compilers that install-compilers.sh made lie beside the cache.
	var path string
	for _, name := range names {
		if path, _ = exec.LookPath(name); path != "" {
			break
		}
		if path, _ = exec.LookPath(filepath.Join(madeCompilers(cache), name)); path != "" {
			break
		}
	}
	if path == "" {
		return nil, fmt.Errorf("no %s compiler for %s: %s is not installed (contracts/install-compilers.sh installs it)", libc, arch, names[len(names)-1])
	}
	t := &Toolchain{Arch: arch, Libc: libc, Compiler: append([]string{path}, compilerFlags...), Include: include, Cache: cache}
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
	asm := map[string][]string{
		"amd64": {"/usr/include/x86_64-linux-gnu/asm"},
		"arm64": {"/usr/aarch64-linux-gnu/include/asm", "/usr/include/aarch64-linux-gnu/asm"},
	}[arch]
	here := asm[0]
	for _, folder := range asm {
		if _, err := os.Stat(folder); err == nil {
			here = folder
			break
		}
	}
	for name, target := range map[string]string{"linux": "/usr/include/linux", "asm-generic": "/usr/include/asm-generic", "asm": here} {
		link := filepath.Join(folder, name)
		if old, err := os.Readlink(link); err == nil && old != target {
			os.Remove(link)
		}
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, os.ErrExist) {
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

// Compile returns the path of the program made from a C or C++ source.
func (t *Toolchain) Compile(ctx context.Context, p Program) (string, error) {
	compiler := t.Compiler[0]
	language := filepath.Ext(p.Source)
	if language == ".cc" {
		compiler = strings.TrimSuffix(compiler, "gcc") + "g++"
	}
	args := slices.Concat(t.Compiler[1:], languageFlags[language], []string{"-static"})
	if p.Dynamic {
		args[len(args)-1] = "-Wl,--disable-new-dtags"
		args = append(args, "-Wl,--dynamic-linker="+t.loader(), "-Wl,-rpath="+t.libraries())
	}
	h := sha256.New()
	fmt.Fprintln(h, t.id, compiler, args, p.Flags)
	if err := hashFile(h, p.Source); err != nil {
		return "", err
	}
	return t.make(h.Sum(nil), func(out string) error {
		c := exec.CommandContext(ctx, compiler, slices.Concat(args, []string{"-I", t.Include, "-o", out, p.Source}, p.Flags)...)
		return compile(c, p.Source)
	})
}

// compileGo returns the path of the static program made from a folder with a Go program.
func (t *Toolchain) compileGo(ctx context.Context, p Program) (string, error) {
	version, err := exec.CommandContext(ctx, "go", "version").Output()
	if err != nil {
		return "", fmt.Errorf("go version, to build %s: %w", p.Source, err)
	}
	h := sha256.New()
	fmt.Fprintln(h, string(version), t.Arch, p.Flags)
	files, err := filepath.Glob(filepath.Join(p.Source, "*.go"))
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if err := hashFile(h, f); err != nil {
			return "", err
		}
	}
	return t.make(h.Sum(nil), func(out string) error {
		c := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", out}, p.Flags, []string{"."})...)
		c.Dir, c.Env = p.Source, append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+t.Arch, "GOOS=linux")
		return compile(c, p.Source)
	})
}

func compile(c *exec.Cmd, source string) error {
	var said bytes.Buffer
	c.Stderr = &said
	if err := c.Run(); err != nil {
		return fmt.Errorf("compiling %s: %w\n%s", source, err, tail(said.Bytes()[:min(said.Len(), 2000)], 12))
	}
	return nil
}

// make answers the program of this hash, and has it made when there is none.
func (t *Toolchain) make(hash []byte, build func(out string) error) (string, error) {
	made := filepath.Join(t.Cache, hex.EncodeToString(hash)[:32])
	if _, err := os.Stat(made); err == nil {
		return made, nil
	}
	temporary, err := os.CreateTemp(t.Cache, "making.*")
	if err != nil {
		return "", err
	}
	temporary.Close()
	defer os.Remove(temporary.Name())
	if err := build(temporary.Name()); err != nil {
		return "", err
	}
	if err := os.Chmod(temporary.Name(), 0o755); err != nil {
		return "", err
	}
	return made, os.Rename(temporary.Name(), made)
}

// Toolchains are those of one architecture, by C library, made when they are first needed.
type Toolchains map[string]*Toolchain

// Build compiles what has a source, `jobs` at a time, with the program's C library or else libc. All failures are reported, joined.
func (ts Toolchains) Build(ctx context.Context, arch, libc, include, cache string, programs []Program, jobs int) error {
	for i := range programs {
		p := &programs[i]
		if p.Source != "" && p.Libc == "" {
			p.Libc = libc
		}
		if p.Source == "" || ts[p.Libc] != nil {
			continue
		}
		var err error
		if ts[p.Libc], err = NewToolchain(ctx, arch, p.Libc, include, cache); err != nil {
			return err
		}
	}
	failures := make([]error, len(programs))
	var group errgroup.Group
	group.SetLimit(jobs)
	for i := range programs {
		p := &programs[i]
		if p.Source == "" {
			continue
		}
		group.Go(func() error {
			t := ts[p.Libc]
			switch language := filepath.Ext(p.Source); {
			case p.Script():
				p.Binary = p.Source
			case language == ".c" || language == ".cc":
				p.Binary, failures[i] = t.Compile(ctx, *p)
			default:
				p.Binary, failures[i] = t.compileGo(ctx, *p)
			}
			return nil
		})
	}
	group.Wait()
	return errors.Join(failures...)
}
