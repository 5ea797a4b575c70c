package contracts

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A dynamic contract asks for a loader and libraries that lie beside it: /contracts/.lib-LIBC, the compiler's own, on Linux as in
// Ringo. So the root file system needs none, and both C libraries can be tried in one run.

// libraryFolder is the name of the folder, which is staged and goes into guests with dynamic programs.
func libraryFolder(libc string) string { return ".lib-" + libc }

// libraries is the folder's path for programs; loader that of the program interpreter.
func (t *Toolchain) libraries() string { return guestFolder + "/" + libraryFolder(t.Libc) }
func (t *Toolchain) loader() string    { return t.libraries() + "/" + loaders[t.Libc][t.Arch] }

// loaders are the names under which the interpreters are staged.
var loaders = map[string]map[string]string{
	"glibc": {"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"},
	"musl":  {"amd64": "ld-musl-x86_64.so.1", "arm64": "ld-musl-aarch64.so.1"},
}

// libraryFiles are what is staged, by name, with the name that the compiler knows. musl's loader is its C library.
func (t *Toolchain) libraryFiles() map[string]string {
	loader := loaders[t.Libc][t.Arch]
	if t.Libc == "musl" {
		return map[string]string{loader: "libc.so"}
	}
	return map[string]string{loader: loader, "libc.so.6": "libc.so.6", "libm.so.6": "libm.so.6", "libgcc_s.so.1": "libgcc_s.so.1", "libdl.so.2": "libdl.so.2"}
}

// stageLibraries puts the compiler's loader and libraries into the stage.
func (t *Toolchain) stageLibraries(ctx context.Context, stage string) error {
	for name, known := range t.libraryFiles() {
		path, err := t.libraryPath(ctx, known)
		if err != nil {
			return err
		}
		if err := place(path, filepath.Join(stage, libraryFolder(t.Libc), name)); err != nil {
			return err
		}
	}
	return nil
}

// libraryPath is where the compiler has a library. musl's is a wrapper around another library's compiler, which would name that one's.
func (t *Toolchain) libraryPath(ctx context.Context, name string) (string, error) {
	if t.Libc == "musl" {
		for _, path := range []string{"/usr/lib/" + muslName[t.Arch] + "/" + name, filepath.Join(madeCompilers(t.Cache), muslName[t.Arch], name)} {
			if _, err := os.Stat(path); err == nil {
				return filepath.EvalSymlinks(path)
			}
		}
		return "", fmt.Errorf("musl's %s for %s is nowhere: contracts/install-compilers.sh installs it", name, t.Arch)
	}
	out, err := exec.CommandContext(ctx, t.Compiler[0], "-print-file-name="+name).Output()
	if err != nil {
		return "", fmt.Errorf("%s, asked for %s: %w", t.Compiler[0], name, err)
	}
	path := strings.TrimSpace(string(out))
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s does not know where %s is", t.Compiler[0], name)
	}
	return filepath.EvalSymlinks(path)
}

// muslName is how musl's packages call an architecture; madeCompilers the folder of compilers that install-compilers.sh made.
var muslName = map[string]string{"amd64": "x86_64-linux-musl", "arm64": "aarch64-linux-musl"}

func madeCompilers(cache string) string { return filepath.Join(filepath.Dir(cache), "compilers") }
