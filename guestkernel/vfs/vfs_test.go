package vfs_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
	"ringo/guestkernel/wait"
)

func newTree(t *testing.T) (*vfstest.Caller, *vfs.HeapFrames) {
	t.Helper()
	frames := vfs.NewHeapFrames(1000)
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: frames, Mode: 0o755}), "root", 0)
	return vfstest.NewCaller(ns.Root()), frames
}

func mkdir(t *testing.T, c vfs.Caller, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := vfs.Mkdir(c, vfs.AtCwd(c), p, 0o755); err != nil {
			t.Fatalf("mkdir %s: %v", p, err)
		}
	}
}

func create(t *testing.T, c vfs.Caller, path, content string) {
	t.Helper()
	d, err := vfs.Open(c, vfs.AtCwd(c), path, unix.O_CREAT|unix.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("create %s: %v", path, err)
	}
	defer d.Unref()
	if _, err := d.Write(c, vfs.Bytes(content)); err != nil {
		t.Fatal(err)
	}
}

func mountAt(t *testing.T, c vfs.Caller, path string) *vfs.Mount {
	t.Helper()
	p, err := vfs.Lookup(c, vfs.AtCwd(c), path, vfs.Follow)
	if err != nil {
		t.Fatal(err)
	}
	m, err := vfs.MountAt(tmpfs.New(tmpfs.Options{Frames: vfs.NewHeapFrames(100)}), "none", 0, p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func where(t *testing.T, c vfs.Caller, path string) string {
	t.Helper()
	p, err := vfs.Lookup(c, vfs.AtCwd(c), path, vfs.Follow)
	if err != nil {
		return err.Error()
	}
	return p.String()
}

func TestMounts(t *testing.T) {
	c, _ := newTree(t)
	mkdir(t, c, "/a", "/a/m", "/other")
	create(t, c, "/a/m/hidden", "")
	m := mountAt(t, c, "/a/m")
	mkdir(t, c, "/a/m/in")
	create(t, c, "/a/m/in/f", "")
	upper := mountAt(t, c, "/a/m") // on top of the first
	for path, want := range map[string]string{
		"/a/m":             "/a/m",
		"/a/m/..":          "/a",
		"/a/m/../m/../../": "/",
		"/a/m/in":          unix.ENOENT.Error(), // covered
		"/a/m/hidden":      unix.ENOENT.Error(),
		"/../a/../../a/m/": "/a/m",
	} {
		if got := where(t, c, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if err := m.Unmount(false); err != unix.EBUSY {
		t.Errorf("unmounting under another mount: %v, want EBUSY", err)
	}
	if err := upper.Unmount(false); err != nil {
		t.Fatal(err)
	}
	if got := where(t, c, "/a/m/in/f"); got != "/a/m/in/f" {
		t.Errorf("after unmounting the upper one: %s", got)
	}
	at := vfs.AtCwd(c)
	for what, err := range map[string]error{
		"rmdir of a mount point":  vfs.Rmdir(c, at, "/a/m"),
		"rename of a mount point": vfs.Rename(c, at, "/a/m", at, "/b", 0),
	} {
		if err != unix.EBUSY {
			t.Errorf("%s: %v, want EBUSY", what, err)
		}
	}
	if err := vfs.Rename(c, at, "/a/m/in", at, "/a/in", 0); err != unix.EXDEV {
		t.Errorf("rename across mounts: %v, want EXDEV", err)
	}
	d, err := vfs.Open(c, at, "/a/m/in/f", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unmount(false); err != unix.EBUSY {
		t.Errorf("unmounting with an open file: %v, want EBUSY", err)
	}
	if err := m.Unmount(true); err != nil {
		t.Errorf("lazy unmount: %v", err)
	}
	if got := where(t, c, "/a/m/hidden"); got != "/a/m/hidden" {
		t.Errorf("after the lazy unmount: %s", got)
	}
	if _, err := d.Read(c, make(vfs.Bytes, 1)); err != nil {
		t.Errorf("reading a file of a detached mount: %v", err)
	}
	d.Unref()

	ro := mountAt(t, c, "/other")
	create(t, c, "/other/f", "data")
	ro.SetFlags(unix.MS_RDONLY)
	for what, err := range map[string]error{
		"mkdir":  vfs.Mkdir(c, at, "/other/d", 0o755),
		"unlink": vfs.Unlink(c, at, "/other/f"),
		"open for writing": func() error {
			_, err := vfs.Open(c, at, "/other/f", unix.O_RDWR, 0)
			return err
		}(),
	} {
		if err != unix.EROFS {
			t.Errorf("%s on a read-only mount: %v, want EROFS", what, err)
		}
	}
}

func TestChroot(t *testing.T) {
	c, _ := newTree(t)
	mkdir(t, c, "/jail", "/jail/in", "/out")
	outside, err := vfs.Lookup(c, vfs.AtCwd(c), "/out", 0)
	if err != nil {
		t.Fatal(err)
	}
	jail, err := vfs.Lookup(c, vfs.AtCwd(c), "/jail", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.FS().SetRoot(jail)
	if got := where(t, c, "/../../in/.."); got != "/jail" {
		t.Errorf(".. leaves the root: %s", got)
	}
	if name, ok := jail.From(jail); name != "/" || !ok {
		t.Errorf("the root is %s, %v", name, ok)
	}
	if _, ok := outside.From(jail); ok {
		t.Error("a directory outside counts as reachable")
	}
}

func TestRestrictedResolution(t *testing.T) {
	c, _ := newTree(t)
	mkdir(t, c, "/d", "/d/e", "/d/m", "/x")
	create(t, c, "/d/e/f", "")
	create(t, c, "/f", "")
	mountAt(t, c, "/d/m")
	for link, target := range map[string]string{"/d/abs": "/f", "/d/rel": "e/f", "/d/up": "../f"} {
		if err := vfs.Symlink(c, target, vfs.AtCwd(c), link); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := vfs.Lookup(c, vfs.AtCwd(c), "/d", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		how  uint64
		path string
		want error
	}{
		{vfs.ResolveBeneath, "e/f", nil}, {vfs.ResolveBeneath, "rel", nil}, {vfs.ResolveBeneath, "e/../e/f", nil},
		{vfs.ResolveBeneath, "abs", unix.EXDEV}, {vfs.ResolveBeneath, "up", unix.EXDEV}, {vfs.ResolveBeneath, "../d/e/f", unix.EXDEV}, {vfs.ResolveBeneath, "/d/e/f", unix.EXDEV},
		{vfs.ResolveInRoot, "abs", unix.ENOENT}, {vfs.ResolveInRoot, "../../e/f", nil}, {vfs.ResolveInRoot, "/e/f", nil},
		{vfs.ResolveNoSymlinks, "rel", unix.ELOOP}, {vfs.ResolveNoSymlinks, "e/f", nil},
		{vfs.ResolveNoXDev, "m", unix.EXDEV}, {vfs.ResolveNoXDev, "e/f", nil},
	} {
		d, err := vfs.Open(c, vfs.AtPath(dir).Restrict(k.how), k.path, unix.O_RDONLY, 0)
		if err != k.want {
			t.Errorf("resolve %#x %s: %v, want %v", k.how, k.path, err, k.want)
		}
		if err == nil {
			d.Unref()
		}
	}
}

func TestSymlinkLimit(t *testing.T) {
	c, _ := newTree(t)
	create(t, c, "/l0", "")
	for i := 1; i <= 41; i++ {
		if err := vfs.Symlink(c, "l"+strings.Repeat("i", i-1), vfs.AtCwd(c), "l"+strings.Repeat("i", i)); err != nil {
			t.Fatal(err)
		}
	}
	create(t, c, "/l", "")
	if _, err := vfs.Lookup(c, vfs.AtCwd(c), "l"+strings.Repeat("i", 40), vfs.Follow); err != nil {
		t.Errorf("40 links: %v", err)
	}
	if _, err := vfs.Lookup(c, vfs.AtCwd(c), "l"+strings.Repeat("i", 41), vfs.Follow); err != unix.ELOOP {
		t.Errorf("41 links: %v, want ELOOP", err)
	}
}

// TestContentsOutliveTheName: frames go with the last of names, descriptions and mappings, and not before.
func TestContentsOutliveTheName(t *testing.T) {
	c, frames := newTree(t)
	at := vfs.AtCwd(c)
	create(t, c, "/f", "contents")
	d, err := vfs.Open(c, at, "/f", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	d.Ref() // a duplicate
	if err := vfs.Unlink(c, at, "/f"); err != nil {
		t.Fatal(err)
	}
	d.Unref()
	b := make(vfs.Bytes, 20)
	if n, err := d.Read(c, b); string(b[:n]) != "contents" || err != nil {
		t.Errorf("unlinked file reads %q, %v", b[:n], err)
	}
	if s := d.Path().String(); s != "/f (deleted)" {
		t.Errorf("its path is %q", s)
	}
	d.Unref()
	if n := frames.InUse(); n != 0 {
		t.Errorf("%d frames in use after the last close", n)
	}
	tmp, err := vfs.Open(c, at, "/", unix.O_TMPFILE|unix.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmp.Write(c, vfs.Bytes("x")); err != nil {
		t.Fatal(err)
	}
	tmp.Unref()
	if n := frames.InUse(); n != 0 {
		t.Errorf("%d frames in use after O_TMPFILE", n)
	}
}

func TestFDTable(t *testing.T) {
	c, _ := newTree(t)
	open := func() *vfs.Description {
		d, err := vfs.Open(c, vfs.AtCwd(c), "/", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	table := vfs.NewFDTable()
	install := func(min int, limit uint64) (int, error) {
		d := open()
		fd, err := table.Install(d, min, false, limit)
		if err != nil {
			d.Unref()
		}
		return fd, err
	}
	for want := range 5 {
		if fd, err := install(0, 100); fd != want || err != nil {
			t.Fatalf("descriptor %d, %v, want %d", fd, err, want)
		}
	}
	for _, k := range []struct {
		min   int
		limit uint64
		want  int
		err   error
	}{{10, 100, 10, nil}, {0, 100, 5, nil}, {10, 100, 11, nil}, {0, 6, 0, unix.EMFILE}, {100, 100, 0, unix.EINVAL}, {-1, 100, 0, unix.EINVAL}, {10, 12, 0, unix.EMFILE}} {
		if fd, err := install(k.min, k.limit); fd != k.want || err != k.err {
			t.Errorf("from %d below %d: %d, %v, want %d, %v", k.min, k.limit, fd, err, k.want, k.err)
		}
	}
	if err := table.HasRoom(6); err != unix.EMFILE {
		t.Errorf("room below 6: %v, want EMFILE", err)
	}
	remove := func(fd int) {
		d, err := table.Remove(fd)
		if err != nil {
			t.Fatal(err)
		}
		d.Unref()
	}
	remove(3)
	remove(1)
	if err := table.HasRoom(6); err != nil {
		t.Errorf("room below 6 after closing: %v", err)
	}
	for _, want := range []int{1, 3, 6} {
		if fd, err := install(0, 100); fd != want || err != nil {
			t.Errorf("lowest free: %d, %v, want %d", fd, err, want)
		}
	}
	if _, err := table.Remove(50); err != unix.EBADF {
		t.Errorf("closing a free one: %v, want EBADF", err)
	}
	if err := table.Replace(open(), 2, true, 100); err != nil {
		t.Fatal(err)
	}
	if err := table.SetCloseOnExec(0, true); err != nil {
		t.Fatal(err)
	}
	child := table.Fork()
	child.Exec()
	if got := child.Numbers(); len(got) != 7 || got[0] != 1 || got[1] != 3 {
		t.Errorf("after exec: %v", got)
	}
	child.CloseRange(3, 10, true)
	child.CloseRange(0, 1, false)
	child.Exec()
	if got := child.Numbers(); len(got) != 1 || got[0] != 11 {
		t.Errorf("after close_range: %v", got)
	}
	child.Leave()
	d, err := table.Get(11)
	if err != nil {
		t.Fatalf("the parent lost a descriptor: %v", err)
	}
	d.Unref()
	table.Leave()
}

func TestFlock(t *testing.T) {
	c, _ := newTree(t)
	create(t, c, "/f", "")
	open := func() *vfs.Description {
		d, err := vfs.Open(c, vfs.AtCwd(c), "/f", unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, b := open(), open()
	for _, k := range []struct {
		d    *vfs.Description
		op   int
		want error
	}{
		{a, unix.LOCK_SH, nil}, {b, unix.LOCK_SH, nil}, {a, unix.LOCK_EX | unix.LOCK_NB, unix.EAGAIN}, {b, unix.LOCK_UN, nil},
		{a, unix.LOCK_EX | unix.LOCK_NB, nil}, {b, unix.LOCK_SH | unix.LOCK_NB, unix.EAGAIN}, {a, 0, unix.EINVAL}, {b, unix.LOCK_UN, nil},
	} {
		if err := k.d.Flock(c, k.op); err != k.want {
			t.Errorf("flock %d: %v, want %v", k.op, err, k.want)
		}
	}
	got := make(chan error)
	go func() { got <- b.Flock(vfstest.NewCaller(c.FS().Root()), unix.LOCK_EX) }()
	select {
	case err := <-got:
		t.Fatalf("the lock was not waited for: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	a.Unref() // closing unlocks
	if err := <-got; err != nil {
		t.Error(err)
	}
	a = open()
	c.Interrupt <- struct{}{}
	if err := a.Flock(c, unix.LOCK_SH); err != wait.ErrRestart {
		t.Errorf("interrupted: %v, want ErrRestart", err)
	}
	a.Unref()
	b.Unref()
}

func TestTextBusy(t *testing.T) {
	c, _ := newTree(t)
	create(t, c, "/prog", "x")
	p, err := vfs.Lookup(c, vfs.AtCwd(c), "/prog", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Inode().Attributes().DenyWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := vfs.Open(c, vfs.AtCwd(c), "/prog", unix.O_WRONLY, 0); err != unix.ETXTBSY {
		t.Errorf("writing to a running program: %v, want ETXTBSY", err)
	}
	p.Inode().Attributes().AllowWrite()
	d, err := vfs.Open(c, vfs.AtCwd(c), "/prog", unix.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Inode().Attributes().DenyWrite(); err != unix.ETXTBSY {
		t.Errorf("running a program that is written to: %v, want ETXTBSY", err)
	}
	d.Unref()
}

func TestFileSizeLimit(t *testing.T) {
	c, _ := newTree(t)
	c.Limits = map[int]uint64{unix.RLIMIT_FSIZE: 100}
	d, err := vfs.Open(c, vfs.AtCwd(c), "/f", unix.O_CREAT|unix.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Unref()
	if n, err := d.Write(c, make(vfs.Bytes, 150)); n != 100 || err != nil || len(c.Signals()) != 0 {
		t.Errorf("write across the limit: %d, %v", n, err)
	}
	if _, err := d.Write(c, make(vfs.Bytes, 1)); err != unix.EFBIG {
		t.Errorf("write at the limit: %v, want EFBIG", err)
	}
	if err := d.Truncate(c, 101); err != unix.EFBIG {
		t.Errorf("truncate beyond the limit: %v, want EFBIG", err)
	}
	if s := c.Signals(); len(s) != 2 || s[0] != unix.SIGXFSZ || s[1] != unix.SIGXFSZ {
		t.Errorf("signals %v, want SIGXFSZ twice", s)
	}
}
