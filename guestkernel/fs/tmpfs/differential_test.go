package tmpfs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
)

// The differential test runs the same random operations on a tmpfs of the Linux host and on ours and compares results, errors and
// the attributes they leave behind.

// system is one side of the comparison. Results are text so that they compare as a whole.
type system interface {
	open(path string, flags, mode uint32) (fd int, err error)
	close(fd int) error
	read(fd, n int) (string, error)
	write(fd int, data string) (int, error)
	pwrite(fd int, data string, off int64) (int, error)
	pread(fd, n int, off int64) (string, error)
	lseek(fd int, off int64, whence int) (int64, error)
	ftruncate(fd int, size int64) error
	fallocate(fd int, mode uint32, off, n int64) error
	getfl(fd int) (int, error)
	mkdir(path string, mode uint32) error
	mknod(path string, mode uint32) error
	rmdir(path string) error
	unlink(path string) error
	symlink(target, path string) error
	readlink(path string) (string, error)
	link(old, path string, follow bool) error
	rename(old, path string, flags uint32) error
	stat(path string, follow bool) (stat, error)
	chmod(path string, mode uint32) error
	chown(path string, uid, gid uint32, follow bool) error
	truncate(path string, size int64) error
	access(path string, mode uint32) error
	chdir(path string) error
	getcwd() (string, error)
	list(path string) (string, error)
	become(uid, gid uint32)
}

var (
	names = []string{"a", "b", "c", "d", "l", "a/a", "a/b", "b/c", "d/l", "l/a", "a/b/c", "b/a/l", "l/l"}
	decor = []string{"", "", "", "", "", "", "/", "/.", "/..", "//"}
)

func randomPath(r *rand.Rand) string {
	switch r.IntN(40) {
	case 0:
		return ""
	case 1:
		return "."
	case 2:
		return ".."
	case 3:
		return strings.Repeat("n", 255+r.IntN(2))
	case 4:
		return "./" + names[r.IntN(len(names))]
	case 5:
		return "a/../" + names[r.IntN(len(names))]
	}
	return names[r.IntN(len(names))] + decor[r.IntN(len(decor))]
}

// step is one operation with its arguments chosen: run gives a text with everything that can be observed.
type step struct {
	name string
	run  func(s system) string
}

func errText(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := err.(unix.Errno); ok {
		return unix.ErrnoName(e)
	}
	return err.Error()
}

func randomStep(r *rand.Rand, fds int) step {
	p, q := randomPath(r), randomPath(r)
	fd := 1000
	if fds > 0 {
		fd = r.IntN(fds)
	}
	mode := []uint32{0o644, 0o755, 0o700, 0, 0o4755, 0o2775, 0o1777, 0o600, 0o777}[r.IntN(9)]
	off := []int64{0, 1, 10, 4095, 4096, 5000, 9000, 1 << 20, -1}[r.IntN(9)]
	data := strings.Repeat(string(rune('a'+r.IntN(26))), []int{0, 1, 7, 100, 4096, 5000}[r.IntN(6)])
	follow := r.IntN(2) == 0
	simple := func(name string, f func(s system) error) step {
		return step{name, func(s system) string { return errText(f(s)) }}
	}
	switch r.IntN(34) {
	case 0, 1, 2, 3, 4, 5:
		flags := uint32(r.IntN(4))
		for _, f := range []uint32{unix.O_CREAT, unix.O_CREAT, unix.O_EXCL, unix.O_TRUNC, unix.O_APPEND, unix.O_DIRECTORY, unix.O_NOFOLLOW, unix.O_PATH, unix.O_NOATIME} {
			if r.IntN(4) == 0 {
				flags |= f
			}
		}
		flags |= unix.O_NONBLOCK // fifos
		return step{fmt.Sprintf("open(%q, %#x, %#o)", p, flags, mode), func(s system) string {
			fd, err := s.open(p, flags, mode)
			if err != nil {
				return errText(err)
			}
			fl, err := s.getfl(fd)
			return fmt.Sprintf("opened flags %#x %s", fl, errText(err))
		}}
	case 6, 7, 8:
		return simple(fmt.Sprintf("mkdir(%q, %#o)", p, mode), func(s system) error { return s.mkdir(p, mode) })
	case 9:
		return simple(fmt.Sprintf("rmdir(%q)", p), func(s system) error { return s.rmdir(p) })
	case 10, 11:
		return simple(fmt.Sprintf("unlink(%q)", p), func(s system) error { return s.unlink(p) })
	case 12, 13:
		return simple(fmt.Sprintf("symlink(%q, %q)", q, p), func(s system) error { return s.symlink(q, p) })
	case 14:
		return step{fmt.Sprintf("readlink(%q)", p), func(s system) string {
			t, err := s.readlink(p)
			return t + " " + errText(err)
		}}
	case 15, 16:
		return simple(fmt.Sprintf("link(%q, %q, %v)", p, q, follow), func(s system) error { return s.link(p, q, follow) })
	case 17, 18, 19, 20:
		flags := []uint32{0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE}[r.IntN(6)]
		return simple(fmt.Sprintf("rename(%q, %q, %d)", p, q, flags), func(s system) error { return s.rename(p, q, flags) })
	case 21:
		return simple(fmt.Sprintf("chmod(%q, %#o)", p, mode), func(s system) error { return s.chmod(p, mode) })
	case 22:
		uid, gid := []uint32{0, 1000, 1001, ^uint32(0)}[r.IntN(4)], []uint32{0, 1000, 1001, ^uint32(0)}[r.IntN(4)]
		return simple(fmt.Sprintf("chown(%q, %d, %d, %v)", p, int32(uid), int32(gid), follow), func(s system) error { return s.chown(p, uid, gid, follow) })
	case 23:
		return simple(fmt.Sprintf("truncate(%q, %d)", p, off), func(s system) error { return s.truncate(p, off) })
	case 24:
		want := uint32(r.IntN(8))
		return simple(fmt.Sprintf("access(%q, %d)", p, want), func(s system) error { return s.access(p, want) })
	case 25:
		return step{fmt.Sprintf("read(%d, %d)", fd, len(data)), func(s system) string {
			t, err := s.read(fd, len(data))
			return t + " " + errText(err)
		}}
	case 26:
		return step{fmt.Sprintf("write(%d, %d)", fd, len(data)), func(s system) string {
			n, err := s.write(fd, data)
			return fmt.Sprint(n, errText(err))
		}}
	case 27:
		return step{fmt.Sprintf("pwrite(%d, %d, %d)", fd, len(data), off), func(s system) string {
			n, err := s.pwrite(fd, data, off)
			return fmt.Sprint(n, errText(err))
		}}
	case 28:
		return step{fmt.Sprintf("pread(%d, %d, %d)", fd, 8000, off), func(s system) string {
			t, err := s.pread(fd, 8000, off)
			return t + " " + errText(err)
		}}
	case 29:
		whence := r.IntN(6)
		return step{fmt.Sprintf("lseek(%d, %d, %d)", fd, off, whence), func(s system) string {
			n, err := s.lseek(fd, off, whence)
			return fmt.Sprint(n, errText(err))
		}}
	case 30:
		switch r.IntN(4) {
		case 0:
			return simple(fmt.Sprintf("fallocate(%d, 0, %d, 5000)", fd, off), func(s system) error { return s.fallocate(fd, 0, off, 5000) })
		case 1:
			m := uint32(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE)
			return simple(fmt.Sprintf("punch(%d, %d, 6000)", fd, off), func(s system) error { return s.fallocate(fd, m, off, 6000) })
		}
		return simple(fmt.Sprintf("ftruncate(%d, %d)", fd, off), func(s system) error { return s.ftruncate(fd, off) })
	case 31:
		k := []uint32{unix.S_IFIFO, unix.S_IFREG, 0, unix.S_IFCHR, unix.S_IFSOCK, unix.S_IFDIR, unix.S_IFLNK}[r.IntN(7)]
		return simple(fmt.Sprintf("mknod(%q, %#o)", p, k|mode), func(s system) error { return s.mknod(p, k|mode) })
	case 32:
		return step{fmt.Sprintf("chdir(%q)", p), func(s system) string {
			err := s.chdir(p)
			cwd, err2 := s.getcwd()
			return errText(err) + " " + cwd + " " + errText(err2)
		}}
	default:
		return step{fmt.Sprintf("list(%q)", p), func(s system) string {
			t, err := s.list(p)
			return t + " " + errText(err)
		}}
	}
}

// observe gives the attributes of every name the test uses.
func observe(s system) string {
	var b strings.Builder
	for _, n := range names {
		st, err := s.stat(n, false)
		fmt.Fprintf(&b, "%s: %+v %s\n", n, st, errText(err))
	}
	return b.String()
}

func TestLikeLinux(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to compare permissions under several users")
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skip("needs a tmpfs on /dev/shm")
	}
	runtime.LockOSThread() // setfsuid and unshare are the thread's; it ends with the test
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_FILES); err != nil {
		t.Skipf("unshare: %v", err)
	}
	unix.Umask(0o022)
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	for seed := range rounds {
		if !compare(t, uint64(seed)) {
			return
		}
	}
}

func compare(t *testing.T, seed uint64) bool {
	base, err := os.MkdirTemp("/dev/shm", "ringo")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	dir := filepath.Join(base, "x/y/z")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{base, base + "/x", base + "/x/y", dir} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	root, err := unix.Open("/", unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(root)
	if err := unix.Chroot(base); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Fchdir(root); err != nil {
			t.Error(err)
		}
		if err := unix.Chroot("."); err != nil {
			t.Error(err)
		}
	}()
	if err := unix.Chdir("/x/y/z"); err != nil {
		t.Fatal(err)
	}
	frames := vfs.NewHeapFrames(1 << 16)
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: frames, Devices: vfs.NewDevices(), Mode: 0o777}), "none", 0)
	g := guest{vfstest.NewCaller(ns.Root())}
	for _, d := range []string{"/x", "/x/y", "/x/y/z"} {
		if err := g.mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := g.chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.chdir("/x/y/z"); err != nil {
		t.Fatal(err)
	}
	h := host{}
	defer h.become(0, 0)

	r := rand.New(rand.NewPCG(seed, 1))
	var hostFDs, guestFDs []int
	defer func() {
		for _, fd := range hostFDs {
			unix.Close(fd)
		}
	}()
	var log []string
	for range 150 {
		s := randomStep(r, len(hostFDs))
		if r.IntN(20) == 0 {
			uid := []uint32{0, 0, 1000, 1001}[r.IntN(4)]
			log = append(log, fmt.Sprintf("become(%d)", uid))
			h.become(uid, uid)
			g.become(uid, uid)
		}
		want := s.run(mapped{h, &hostFDs})
		got := s.run(mapped{g, &guestFDs})
		log = append(log, s.name+" = "+abbreviate(want))
		if got != want {
			t.Errorf("seed %d:\n%s\nLinux: %s\nours:  %s", seed, strings.Join(log, "\n"), abbreviate(want), abbreviate(got))
			return false
		}
		h.become(0, 0)
		creds := g.c.Credentials
		g.become(0, 0)
		want, got = observe(h), observe(g)
		h.become(creds.FSUID, creds.FSGID)
		g.c.Credentials = creds
		if got != want {
			t.Errorf("seed %d:\n%s\nLinux:\n%s\nours:\n%s", seed, strings.Join(log, "\n"), want, got)
			return false
		}
	}
	return true
}

func abbreviate(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%s... (%d)", s[:200], len(s))
	}
	return s
}

// mapped lets both sides use the same small descriptor numbers.
type mapped struct {
	system
	fds *[]int
}

func (m mapped) fd(n int) int {
	if n < len(*m.fds) {
		return (*m.fds)[n]
	}
	return 1000
}
func (m mapped) open(path string, flags, mode uint32) (int, error) {
	fd, err := m.system.open(path, flags, mode)
	if err == nil {
		*m.fds = append(*m.fds, fd)
		fd = len(*m.fds) - 1
	}
	return fd, err
}
func (m mapped) read(fd, n int) (string, error)           { return m.system.read(m.fd(fd), n) }
func (m mapped) write(fd int, s string) (int, error)      { return m.system.write(m.fd(fd), s) }
func (m mapped) getfl(fd int) (int, error)                { return m.system.getfl(m.fd(fd)) }
func (m mapped) ftruncate(fd int, size int64) error       { return m.system.ftruncate(m.fd(fd), size) }
func (m mapped) pread(fd, n int, o int64) (string, error) { return m.system.pread(m.fd(fd), n, o) }
func (m mapped) pwrite(fd int, s string, o int64) (int, error) {
	return m.system.pwrite(m.fd(fd), s, o)
}
func (m mapped) lseek(fd int, o int64, w int) (int64, error) { return m.system.lseek(m.fd(fd), o, w) }
func (m mapped) fallocate(fd int, mode uint32, o, n int64) error {
	return m.system.fallocate(m.fd(fd), mode, o, n)
}
