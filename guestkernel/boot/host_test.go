//go:build amd64

package boot

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/stdio"
	"ringo/guestkernel/mm"
	"ringo/guestkernel/syscalls"
	"ringo/guestkernel/task"
	"ringo/guestkernel/vdso"
	"ringo/guestkernel/vfs"
	"ringo/internal/command"
)

// bufferPort is a console port that collects output and offers input.
type bufferPort struct {
	mu  sync.Mutex
	in  []byte
	out bytes.Buffer
}

func (p *bufferPort) TryRead(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n
}
func (p *bufferPort) TryWrite(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Write(b)
	return len(b)
}
func (p *bufferPort) Readable() bool    { p.mu.Lock(); defer p.mu.Unlock(); return len(p.in) > 0 }
func (p *bufferPort) Writable() bool    { return true }
func (p *bufferPort) Gone() bool        { return false }
func (p *bufferPort) OnReadable(func()) {}
func (p *bufferPort) OnWritable(func()) {}
func (p *bufferPort) String() string    { p.mu.Lock(); defer p.mu.Unlock(); return p.out.String() }

// guest is a kernel on the host CPU.
type guest struct {
	t     testing.TB
	m     *hostMachine
	k     *task.Kernel
	ns    *vfs.Namespace
	table *syscalls.Table
	root  RootConfig
	dir   string // where programs start; "": /

	patience time.Duration // how long a program may take; at least 30 s
}

func newGuest(t testing.TB, files map[string][]byte, options ...func(*task.Config)) *guest {
	t.Helper()
	m := newHostMachine(t)
	memory, err := mm.NewMemory(m)
	if err != nil {
		t.Fatal(err)
	}
	archive := cpio(files)
	root := RootConfig{Frames: m, Archive: archive, Random: func(b []byte) { rand.Read(b) }, Log: func([]byte) {}, Devices: vfs.NewDevices()}
	ns, err := NewRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, m: m, ns: ns, root: root, table: syscalls.NewTable(task.SyscallNumbers)}
	c := task.Config{Machine: m, Memory: memory, Syscalls: g.table, Random: smallRandom()}
	if os.Getenv("RINGO_STRACE") != "" {
		c.Trace = func(tk *task.Task, nr uint64, args [6]uint64, ret uint64, err error) {
			t.Logf("[%d] %s(%#x, %#x, %#x, %#x) = %#x %v", tk.TID(), g.table.Name(nr), args[0], args[1], args[2], args[3], ret, err)
		}
	}
	// Without a clock: its functions make system calls.
	if c.Auxv.VDSO, err = vdso.New(m, vdso.Clock{}); err != nil {
		t.Fatal(err)
	}
	for _, o := range options {
		o(&c)
	}
	g.k = task.New(c)
	return g
}

// smallRandom keeps addresses away from the host CPU's stub, which lies half a gigabyte below the top.
func smallRandom() mm.Random {
	var mu sync.Mutex
	n := uint64(0)
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		n++
		return n % 4000
	}
}

// run runs a program and answers its output, errors and status.
func (g *guest) run(stdin string, argv ...string) (stdout, stderr string, e *command.Exit) {
	g.t.Helper()
	out, errp := &bufferPort{in: []byte(stdin)}, &bufferPort{}
	in, d0, err := stdio.OpenInput(out)
	if err != nil {
		g.t.Fatal(err)
	}
	in.End(int64(len(stdin)))
	d1, err1 := stdio.OpenOutput(out)
	d2, err2 := stdio.OpenOutput(errp)
	if err1 != nil || err2 != nil {
		g.t.Fatal(err1, err2)
	}
	grp, failed := Start(g.k, g.ns, &command.Start{Path: argv[0], Args: argv, Env: []string{"PATH=/bin", "HOME=/"}, Dir: g.dir}, Streams{d0, d1, d2}, nil)
	if failed != nil {
		g.t.Fatalf("%v: %+v", argv, failed)
	}
	select {
	case <-grp.Ended():
	case <-time.After(max(g.patience, 30*time.Second)):
		g.t.Fatalf("%v: no end. stdout %q stderr %q missing %v", argv, out, errp, g.table.Missing())
	}
	return out.String(), errp.String(), exitOf(grp)
}

// cpio makes a newc archive. Names that end in / are directories.
func cpio(files map[string][]byte) []byte {
	var b bytes.Buffer
	entry := func(name string, mode uint32, data []byte) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", b.Len(), mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
		b.Write(data)
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	made := map[string]bool{}
	for name, data := range files {
		for i := range name {
			if dir := name[:i]; i > 0 && name[i] == '/' && !made[dir] {
				made[dir] = true
				entry(dir, unix.S_IFDIR|0o755, nil)
			}
		}
		if target, ok := strings.CutPrefix(string(data), "-> "); ok {
			entry(name, unix.S_IFLNK|0o777, []byte(target))
		} else if !strings.HasSuffix(name, "/") {
			entry(name, unix.S_IFREG|0o755, data)
		}
	}
	entry("TRAILER!!!", 0, nil)
	return b.Bytes()
}

// compile builds a static C program.
func compile(t testing.TB, cc, source string, flags ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	src, bin := filepath.Join(dir, "p.c"), filepath.Join(dir, "p")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-static", "-O1", "-o", bin, src}, flags...)
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Skipf("%s: %v %s", cc, err, out)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var _ = binary.LittleEndian

func TestHello(t *testing.T) {
	const src = `#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) { printf("hello %s %d\n", argv[1], getpid() > 1); return 7; }`
	for _, cc := range []string{"gcc", "musl-gcc"} {
		t.Run(cc, func(t *testing.T) {
			g := newGuest(t, map[string][]byte{"bin/p": compile(t, cc, src)})
			out, errs, e := g.run("", "/bin/p", "world")
			if out != "hello world 1\n" || e.Code != 7 || e.Signal != 0 || errs != "" {
				t.Errorf("out %q err %q exit %+v missing %v", out, errs, e, g.table.Missing())
			}
		})
	}
}

// compileDynamic builds a program that needs the C library's interpreter.
func compileDynamic(t *testing.T, source string) []byte {
	t.Helper()
	dir := t.TempDir()
	src, bin := filepath.Join(dir, "p.c"), filepath.Join(dir, "p")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-o", bin, src).CombinedOutput(); err != nil {
		t.Skipf("gcc: %v %s", err, out)
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
