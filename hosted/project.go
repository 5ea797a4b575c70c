package hosted

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Environment variables that change where and how machines run.
const (
	EnvRoot   = "RINGO_ROOT"           // the project folder, instead of looking for it
	EnvDir    = "RINGO_HOSTED_DIR"     // instead of <project>/build/hosted
	EnvRunDir = "RINGO_HOSTED_RUN_DIR" // instead of run/ in that folder: machines of one's own from the same prepared files
	EnvIdle   = "RINGO_HOSTED_IDLE"    // how long a machine without commands is kept, as a Go duration; "20m" unless set
	EnvAppend = "RINGO_HOSTED_APPEND"  // more kernel command line, such as initcall_debug
	EnvMirror = "RINGO_DEBIAN_MIRROR"  // instead of http://deb.debian.org
)

// Arches are the machines that exist.
var Arches = []string{"amd64", "arm64"}

func checkArch(arch string) error {
	if !slices.Contains(Arches, arch) {
		return fmt.Errorf("no hosted machine of architecture %q: choose amd64 or arm64", arch)
	}
	return nil
}

// Root returns the project folder: RINGO_ROOT, or the nearest folder above the working folder or the executable that holds
// the go.mod of module ringo.
func Root() (string, error) {
	if r := os.Getenv(EnvRoot); r != "" {
		if !isRoot(r) {
			return "", fmt.Errorf("%s=%s is not the project folder: it has no go.mod of module ringo", EnvRoot, r)
		}
		return filepath.Abs(r)
	}
	var tried []string
	if wd, err := os.Getwd(); err == nil {
		tried = append(tried, wd)
	}
	if exe, err := os.Executable(); err == nil {
		tried = append(tried, filepath.Dir(exe))
	}
	for _, from := range tried {
		for dir := from; ; dir = filepath.Dir(dir) {
			if isRoot(dir) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("project folder not found above %s: run inside it or set %s", strings.Join(tried, " or "), EnvRoot)
}

func isRoot(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == "module ringo" {
			return true
		}
	}
	return false
}

// layout is where things are. All paths are absolute.
type layout struct {
	root string // the project folder
	dir  string // build/hosted
	run  string // build/hosted/run
}

func newLayout() (layout, error) {
	root, err := Root()
	if err != nil {
		return layout{}, err
	}
	l := layout{root: root, dir: filepath.Join(root, "build", "hosted")}
	if d := os.Getenv(EnvDir); d != "" {
		if l.dir, err = filepath.Abs(d); err != nil {
			return layout{}, err
		}
	}
	l.run = filepath.Join(l.dir, "run")
	if d := os.Getenv(EnvRunDir); d != "" {
		if l.run, err = filepath.Abs(d); err != nil {
			return layout{}, err
		}
	}
	return l, nil
}

func (l layout) cache() string             { return filepath.Join(l.dir, "cache") }
func (l layout) qemu() string              { return filepath.Join(l.dir, "qemu") }
func (l layout) kernel(arch string) string { return filepath.Join(l.dir, arch) }
func (l layout) agent(arch string) string {
	return filepath.Join(l.root, "build", arch, "hosted-agent")
}
func (l layout) runDir(arch string) string  { return filepath.Join(l.run, arch) }
func (l layout) console(arch string) string { return filepath.Join(l.runDir(arch), consoleName) }
func (l layout) lock(name string) string    { return filepath.Join(l.dir, name+".lock") }
func (l layout) startLock(a string) string  { return filepath.Join(l.runDir(a), "start.lock") }
func (l layout) ownerLock(a string) string  { return filepath.Join(l.runDir(a), "owner.lock") }
func (l layout) initramfs(a string) string  { return filepath.Join(l.runDir(a), "initramfs.cpio") }

// Names in a machine's run folder.
const (
	consoleName = "console.log"
	logName     = "supervisor.log"
	socketName  = "commands.sock"
	filesSocket = "files.sock"
)

// ErrUnsupported is wrapped by errors that say that this computer cannot have hosted machines at all.
var ErrUnsupported = errors.New("hosted machines are not possible here")
