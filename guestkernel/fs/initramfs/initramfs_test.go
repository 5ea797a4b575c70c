package initramfs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/fs/tmpfs"
	"ringo/guestkernel/vfs"
	"ringo/guestkernel/vfs/vfstest"
)

type record struct {
	name  string
	mode  uint32
	ino   uint32
	nlink uint32
	rdev  uint64
	data  string
}

// archive lays out records in the newc format.
func archive(records ...record) []byte {
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	for _, r := range append(records, record{name: trailer}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", r.ino, r.mode, 7, 8, max(r.nlink, 1), 1000000000, len(r.data), 0, 0,
			unix.Major(r.rdev), unix.Minor(r.rdev), len(r.name)+1, 0)
		b.WriteString(r.name + "\x00")
		pad()
		b.WriteString(r.data)
		pad()
	}
	return b.Bytes()
}

func compress(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func newTree(frames vfs.Frames) *vfstest.Caller {
	ns := vfs.NewNamespace(tmpfs.New(tmpfs.Options{Frames: frames, Mode: 0o755}), "rootfs", 0)
	c := vfstest.NewCaller(ns.Root())
	c.FS().SetUmask(0)
	return c
}

func content(t *testing.T, c vfs.Caller, path string) string {
	t.Helper()
	d, err := vfs.Open(c, vfs.AtCwd(c), path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	defer d.Unref()
	var out []byte
	for {
		b := make(vfs.Bytes, 5000)
		n, err := d.Read(c, b)
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		if n == 0 {
			return string(out)
		}
		out = append(out, b[:n]...)
	}
}

var sample = []record{
	{name: ".", mode: unix.S_IFDIR | 0o750},
	{name: "bin", mode: unix.S_IFDIR | 0o755},
	{name: "bin/tool", mode: unix.S_IFREG | 0o4755, data: strings.Repeat("tool", 3000)},
	{name: "bin/sh", mode: unix.S_IFLNK | 0o777, data: "tool"},
	{name: "dev/null", mode: unix.S_IFCHR | 0o666, rdev: unix.Mkdev(1, 3)},
	{name: "./etc/empty", mode: unix.S_IFREG | 0o644},
	{name: "a1", mode: unix.S_IFREG | 0o600, ino: 5, nlink: 2},
	{name: "/deep/er/a2", mode: unix.S_IFREG | 0o600, ino: 5, nlink: 2, data: "linked"},
	{name: "../../escape", mode: unix.S_IFREG | 0o600, data: "stays inside"},
}

func TestUnpack(t *testing.T) {
	second := archive(record{name: "bin/tool", mode: unix.S_IFREG | 0o755, data: "newer"}, record{name: "bin", mode: unix.S_IFDIR | 0o711})
	for name, data := range map[string][]byte{
		"plain":      append(append(archive(sample...), make([]byte, 512)...), second...),
		"compressed": append(compress(archive(sample...)), compress(second)...),
		"mixed":      append(append(archive(sample...), 0, 0, 0, 0), compress(second)...),
	} {
		t.Run(name, func(t *testing.T) {
			c := newTree(vfs.NewHeapFrames(100))
			n, err := Unpack(c, data)
			if err != nil || n != len(sample)+2 {
				t.Fatalf("Unpack: %d entries, %v; want %d", n, err, len(sample)+2)
			}
			for path, want := range map[string]string{"/bin/sh": "newer", "/etc/empty": "", "/a1": "linked", "/deep/er/a2": "linked", "/escape": "stays inside"} {
				if got := content(t, c, path); got != want {
					t.Errorf("%s holds %q, want %q", path, got, want)
				}
			}
			for path, want := range map[string]vfs.Stat{
				"/":         {Mode: unix.S_IFDIR | 0o750, UID: 7, GID: 8},
				"/bin":      {Mode: unix.S_IFDIR | 0o711, UID: 7, GID: 8},
				"/bin/sh":   {Mode: unix.S_IFLNK | 0o777, UID: 7, GID: 8},
				"/bin/tool": {Mode: unix.S_IFREG | 0o755, UID: 7, GID: 8},
				"/a1":       {Mode: unix.S_IFREG | 0o600, UID: 7, GID: 8},
				"/dev/null": {Mode: unix.S_IFCHR | 0o666, UID: 7, GID: 8, Rdev: unix.Mkdev(1, 3)},
				"/deep/er":  {Mode: unix.S_IFDIR | 0o755},
			} {
				p, err := vfs.Lookup(c, vfs.AtCwd(c), path, 0)
				if err != nil {
					t.Errorf("%s: %v", path, err)
					continue
				}
				s := vfs.StatOf(p.Inode())
				if got := (vfs.Stat{Mode: s.Mode, UID: s.UID, GID: s.GID, Rdev: s.Rdev}); got != want {
					t.Errorf("%s: mode %#o uid %d gid %d rdev %#x, want %#o %d %d %#x", path, got.Mode, got.UID, got.GID, got.Rdev, want.Mode, want.UID, want.GID, want.Rdev)
				}
			}
		})
	}
}

// TestUnpackCopiesNothing: data takes no frames until it is written to, and the archive is never written to.
func TestUnpackCopiesNothing(t *testing.T) {
	frames := vfs.NewHeapFrames(100)
	c := newTree(frames)
	data := archive(record{name: "f", mode: unix.S_IFREG | 0o644, data: strings.Repeat("x", 10000)})
	before := string(data)
	if _, err := Unpack(c, data); err != nil {
		t.Fatal(err)
	}
	if n := frames.InUse(); n != 0 {
		t.Errorf("%d frames in use after unpacking", n)
	}
	d, err := vfs.Open(c, vfs.AtCwd(c), "f", unix.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Unref()
	if _, err := d.WriteAt(c, vfs.Bytes("hello"), 5000); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("x", 5000) + "hello" + strings.Repeat("x", 4995)
	if got := content(t, c, "f"); got != want {
		t.Errorf("after a write: wrong content, %d bytes", len(got))
	}
	if n := frames.InUse(); n != 1 {
		t.Errorf("%d frames in use after writing to one page", n)
	}
	if string(data) != before {
		t.Error("the archive was changed")
	}
}

func TestUnpackErrors(t *testing.T) {
	good := archive(sample...)
	for name, data := range map[string][]byte{
		"not an archive":    []byte("hello, world, this is no archive"),
		"cut in header":     good[:50],
		"cut in name":       good[:headerSize+1],
		"cut in data":       good[:headerSize*3+100],
		"bad hex":           append([]byte("070701zzzzzzzz"), good[14:]...),
		"huge name":         []byte("070701" + strings.Repeat("0", 8*11) + "ffffffff" + "00000000"),
		"huge size":         []byte("070701" + strings.Repeat("0", 8*6) + "ffffffff" + strings.Repeat("0", 8*4) + "00000002" + "00000000a\x00"),
		"file as directory": archive(record{name: "f", mode: unix.S_IFREG}, record{name: "f/g", mode: unix.S_IFREG}),
		"broken gzip":       compress(good)[:200],
		"gzip in gzip":      compress(compress(good)),
	} {
		if n, err := Unpack(newTree(vfs.NewHeapFrames(100)), data); err == nil {
			t.Errorf("%s: %d entries and no error", name, n)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(archive(sample...))
	f.Add(compress(archive(sample...)))
	f.Add(archive(record{name: "l", mode: unix.S_IFLNK, data: "/l"}, record{name: "l/x", mode: unix.S_IFREG}))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames := vfs.NewHeapFrames(1000)
		c := newTree(frames)
		_, _ = Unpack(c, data)
	})
}

func BenchmarkUnpackBusybox(b *testing.B) {
	records := []record{{name: "bin", mode: unix.S_IFDIR | 0o755}, {name: "bin/busybox", mode: unix.S_IFREG | 0o755, data: strings.Repeat("0123456789abcdef", 128<<10)}}
	for i := range 400 {
		records = append(records, record{name: fmt.Sprintf("bin/applet%d", i), mode: unix.S_IFLNK | 0o777, data: "busybox"})
	}
	data := archive(records...)
	frames := vfs.NewHeapFrames(1000)
	for b.Loop() {
		if _, err := Unpack(newTree(frames), data); err != nil {
			b.Fatal(err)
		}
	}
}
