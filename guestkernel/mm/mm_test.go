package mm

import (
	"bytes"
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

const base = 0x10000000

func TestAnonymousIsZeroAndOneFrameAPage(t *testing.T) {
	h, m, s := testSpace(t)
	a := mustMap(t, s, Request{Len: 3 * PageSize, Prot: Read | Write})
	b, f := s.access(t, a+5, Read)
	if f != nil || b[0] != 0 || h.inUse() != 1 {
		t.Fatalf("read of untouched page: %v %v, %d frames", b[:1], f, h.inUse())
	}
	b, f = s.access(t, a+5, Write)
	if f != nil || h.inUse() != 2 {
		t.Fatalf("write: %v, %d frames", f, h.inUse())
	}
	b[0] = 7
	var got [2]byte
	if _, err := s.CopyIn(a+4, got[:]); err != nil || got != [2]byte{0, 7} {
		t.Errorf("CopyIn = %v %v", got, err)
	}
	s.check(t)
	s.Release()
	drained(t, h, m)
}

func TestFaults(t *testing.T) {
	h, m, s := testSpace(t)
	f := newFile(h, 1, 1)
	mustMap(t, s, Request{Addr: base, Len: PageSize, Prot: Read, Fixed: true})
	mustMap(t, s, Request{Addr: base + PageSize, Len: PageSize, Fixed: true})
	mustMap(t, s, Request{Addr: base + 2*PageSize, Len: 2 * PageSize, Prot: Read, Object: f, Fixed: true})
	for _, c := range []struct {
		name   string
		addr   uint64
		access Prot
		sig    unix.Signal
		code   int32
	}{
		{"hole", base - 1, Read, unix.SIGSEGV, 1},
		{"read-only", base, Write, unix.SIGSEGV, 2},
		{"not executable", base, Exec, unix.SIGSEGV, 2},
		{"no access", base + PageSize, Read, unix.SIGSEGV, 2},
		{"behind the file", base + 3*PageSize, Read, unix.SIGBUS, 2},
		{"kernel", UserTop, Read, unix.SIGSEGV, 1},
		{"top", ^uint64(0), Write, unix.SIGSEGV, 1},
	} {
		_, flt := s.access(t, c.addr, c.access)
		if flt == nil || flt.Signal != c.sig || flt.Code != c.code || flt.Addr != c.addr {
			t.Errorf("%s: %v", c.name, flt)
		}
	}
	s.Release()
	f.free()
	if f.users != 0 {
		t.Errorf("file has %d mappings left", f.users)
	}
	drained(t, h, m)
}

func TestForkCopiesOnWrite(t *testing.T) {
	h, m, s := testSpace(t)
	f := newFile(h, 0x40, 2)
	mustMap(t, s, Request{Addr: base, Len: 2 * PageSize, Prot: Read | Write, Fixed: true})
	mustMap(t, s, Request{Addr: base + 4*PageSize, Len: 2 * PageSize, Prot: Read | Write, Object: f, Fixed: true})
	shared := m.NewShared(PageSize)
	mustMap(t, s, Request{Addr: base + 8*PageSize, Len: PageSize, Prot: Read | Write, Object: shared, Flags: VMAShared, Fixed: true})
	for _, a := range []uint64{base, base + 4*PageSize, base + 8*PageSize} {
		if _, err := s.CopyOut(a, []byte("parent")); err != nil {
			t.Fatal(err)
		}
	}
	c, err := s.Fork()
	if err != nil {
		t.Fatal(err)
	}
	s.check(t)
	c.check(t)
	for _, sp := range []*Space{s, c} {
		for _, a := range []uint64{base, base + 4*PageSize, base + 8*PageSize} {
			var b [6]byte
			if _, err := sp.CopyIn(a, b[:]); err != nil || string(b[:]) != "parent" {
				t.Errorf("%#x: %q %v", a, b, err)
			}
		}
	}
	before := h.inUse()
	w, _ := c.access(t, base, Write)
	copy(w, "child!")
	c.CopyOut(base+4*PageSize, []byte("child!"))
	c.CopyOut(base+8*PageSize, []byte("child!"))
	if h.inUse() != before+2 {
		t.Errorf("%d frames for two copies", h.inUse()-before)
	}
	for i, want := range []string{"parent", "parent", "child!"} {
		var b [6]byte
		s.CopyIn(base+uint64(i)*4*PageSize, b[:])
		if string(b[:]) != want {
			t.Errorf("parent sees %q at %d, want %q", b, i, want)
		}
	}
	// The last owner writes in place.
	before = h.inUse()
	s.access(t, base, Write)
	if h.inUse() != before {
		t.Errorf("sole owner copied the page")
	}
	s.check(t)
	c.check(t)
	if f.Bytes0()[0] != 0x40 {
		t.Error("private write reached the file")
	}
	c.Release()
	s.Release()
	f.free()
	drained(t, h, m)
}

func (f *fakeFile) Bytes0() []byte { return f.h.Bytes(f.frames[0]) }

func TestStackGrows(t *testing.T) {
	h, m, s := testSpace(t)
	top := uint64(0x7fff00000000)
	mustMap(t, s, Request{Addr: top - PageSize, Len: PageSize, Prot: Read | Write, Flags: VMAGrowsDown | VMAStack, Fixed: true})
	mustMap(t, s, Request{Addr: top - 4<<20, Len: PageSize, Prot: Read, Fixed: true})
	if _, f := s.access(t, top-1<<20, Write); f != nil {
		t.Errorf("stack does not grow: %v", f)
	}
	if _, f := s.access(t, top-4<<20+PageSize, Write); f == nil {
		t.Error("stack grew into its guard gap")
	}
	s.SetLimits(1<<21, ^uint64(0))
	if _, f := s.access(t, top-3<<20, Write); f == nil {
		t.Error("stack grew beyond its limit")
	}
	s.check(t)
	s.Release()
	drained(t, h, m)
}

func TestBrk(t *testing.T) {
	h, m, s := testSpace(t)
	s.SetImage(Image{}, base)
	inf := ^uint64(0)
	for _, c := range []struct{ ask, limit, want uint64 }{
		{0, inf, base}, {base + 100, inf, base + 100}, {base + 3*PageSize, inf, base + 3*PageSize}, {base - 1, inf, base + 3*PageSize},
		{base + PageSize, inf, base + PageSize}, {base + 9*PageSize, 4 * PageSize, base + PageSize}, {UserTop + 1, inf, base + PageSize},
	} {
		if got := s.Brk(c.ask, c.limit); got != c.want {
			t.Errorf("brk(%#x) = %#x, want %#x", c.ask, got, c.want)
		}
		s.check(t)
	}
	if _, err := s.CopyOut(base+PageSize, []byte{1}); err != unix.EFAULT {
		t.Errorf("write behind brk: %v", err)
	}
	s.Release()
	drained(t, h, m)
}

func TestMapErrors(t *testing.T) {
	h, m, s := testSpace(t)
	mustMap(t, s, Request{Addr: base, Len: PageSize, Prot: Read, Fixed: true})
	for _, c := range []struct {
		name string
		r    Request
		want error
	}{
		{"empty", Request{}, unix.EINVAL},
		{"huge", Request{Len: ^uint64(0)}, unix.ENOMEM},
		{"user space twice", Request{Len: UserTop + PageSize}, unix.ENOMEM},
		{"unaligned", Request{Addr: base + 1, Len: 1, Fixed: true}, unix.EINVAL},
		{"too high", Request{Addr: UserTop, Len: 1, Fixed: true}, unix.ENOMEM},
		{"wraps", Request{Addr: ^uint64(0) &^ pageMask, Len: PageSize, Fixed: true}, unix.ENOMEM},
		{"too low", Request{Addr: 0, Len: 1, Fixed: true}, unix.EPERM},
		{"taken", Request{Addr: base, Len: 1, Fixed: true, NoReplace: true}, unix.EEXIST},
		{"offset", Request{Len: 2 * PageSize, Object: newFile(h, 0, 0), Offset: ^uint64(0) &^ pageMask}, unix.EOVERFLOW},
	} {
		if _, err := s.Map(c.r); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	s.check(t)
	s.Release()
	drained(t, h, m)
}

func TestHintIsTaken(t *testing.T) {
	h, m, s := testSpace(t)
	if a := mustMap(t, s, Request{Addr: base + 5, Len: 1, Prot: Read}); a != base {
		t.Errorf("free hint: %#x", a)
	}
	if a := mustMap(t, s, Request{Addr: base, Len: 1, Prot: Read}); a == base {
		t.Error("hint replaced a mapping")
	}
	s.Release()
	drained(t, h, m)
}

func TestUserCopies(t *testing.T) {
	h, m, s := testSpace(t)
	mustMap(t, s, Request{Addr: base, Len: 2 * PageSize, Prot: Read | Write, Fixed: true})
	mustMap(t, s, Request{Addr: base + 2*PageSize, Len: PageSize, Prot: Read, Fixed: true})
	text := bytes.Repeat([]byte("0123456789"), 700)
	if n, err := s.CopyOut(base+PageSize/2, text[:PageSize]); n != PageSize || err != nil {
		t.Fatalf("CopyOut = %d, %v", n, err)
	}
	got := make([]byte, PageSize)
	if n, err := s.CopyIn(base+PageSize/2, got); n != PageSize || err != nil || !bytes.Equal(got, text[:PageSize]) {
		t.Fatalf("CopyIn = %d, %v", n, err)
	}
	if n, err := s.CopyOut(base+PageSize, text); n != PageSize || err != unix.EFAULT {
		t.Errorf("CopyOut into read-only = %d, %v", n, err)
	}
	for _, at := range []uint64{base + 5, base + PageSize - 3} { // within a page, and over the end of one
		var b [8]byte
		s.CopyIn(at, b[:])
		if v, err := s.Load64(at); err != nil || v != binary.LittleEndian.Uint64(b[:]) {
			t.Errorf("64 bits at %#x: %#x %v, want the bytes %x", at, v, err, b)
		}
	}
	if v, err := s.Load64(base + 3*PageSize - 3); err != unix.EFAULT {
		t.Errorf("64 bits over the end: %#x %v, want EFAULT", v, err)
	}
	if n, err := s.CopyIn(base+3*PageSize-3, got); n != 3 || err != unix.EFAULT {
		t.Errorf("CopyIn over the end = %d, %v", n, err)
	}
	if _, err := s.CopyIn(^uint64(0)-3, got); err != unix.EFAULT {
		t.Errorf("CopyIn that wraps: %v", err)
	}
	s.CopyOut(base+PageSize-2, []byte("abc\x00d"))
	if str, err := s.CopyInString(base+PageSize-2, 10); str != "abc" || err != nil {
		t.Errorf("CopyInString = %q, %v", str, err)
	}
	if _, err := s.CopyInString(base+PageSize-2, 2); err != unix.ENAMETOOLONG {
		t.Errorf("long string: %v", err)
	}
	var b Buffer
	b.Reset(s)
	for _, v := range []Range{{base, 3}, {base + 10, 0}, {base + 100, 4}} {
		b.Add(v)
	}
	if n, err := b.CopyOut(1, []byte("UVWXYZ")); n != 6 || err != nil || b.Len() != 7 {
		t.Errorf("vector CopyOut = %d, %v", n, err)
	}
	var six [6]byte
	if n, err := b.CopyIn(1, six[:]); n != 6 || err != nil || string(six[:]) != "UVWXYZ" {
		t.Errorf("vector CopyIn = %d, %v, %q", n, err, six)
	}
	s.Release()
	drained(t, h, m)
}

func TestOutOfMemoryLeaksNothing(t *testing.T) {
	for fail := range 12 {
		h, m, s := testSpace(t)
		f := newFile(h, 1, 4)
		mustMap(t, s, Request{Addr: base, Len: 4 * PageSize, Prot: Read | Write, Fixed: true})
		mustMap(t, s, Request{Addr: base + 4*PageSize, Len: 4 * PageSize, Prot: Read | Write, Object: f, Fixed: true})
		s.CopyOut(base, []byte{1})
		s.access(t, base+4*PageSize, Read)
		h.limit, h.failMap = h.inUse()+fail/4, fail%4
		for va := uint64(base); va < base+8*PageSize; va += PageSize {
			s.access2(va)
		}
		s.check(t)
		h.limit, h.failMap = 0, 0
		s.Release()
		f.free()
		drained(t, h, m)
	}
}

// access2 writes without insisting.
func (s *Space) access2(va uint64) { s.HandleFault(va, Write) }

func TestInvalidateDropsPages(t *testing.T) {
	h, m, s := testSpace(t)
	f := newFile(h, 1, 3)
	mustMap(t, s, Request{Addr: base, Len: 2 * PageSize, Prot: Read, Object: f, Offset: PageSize, Flags: VMAShared, Fixed: true})
	s.access(t, base, Read)
	s.access(t, base+PageSize, Read)
	last := f.frames[2]
	f.frames = f.frames[:2]
	s.Invalidate(f, 2*PageSize, ^uint64(0)-2*PageSize, true)
	h.Unref(last)
	s.check(t)
	if _, flt := s.access(t, base, Read); flt != nil {
		t.Errorf("page that stayed: %v", flt)
	}
	if _, flt := s.access(t, base+PageSize, Read); flt == nil || flt.Signal != unix.SIGBUS {
		t.Errorf("page that went: %v", flt)
	}
	s.Release()
	f.free()
	drained(t, h, m)
}

func TestRemap(t *testing.T) {
	h, m, s := testSpace(t)
	mustMap(t, s, Request{Addr: base, Len: 2 * PageSize, Prot: Read | Write, Fixed: true})
	s.CopyOut(base+PageSize, []byte("tail"))
	if a, err := s.Remap(base, 2*PageSize, 4*PageSize, false, false, false, 0); a != base || err != nil {
		t.Errorf("grow in place: %#x %v", a, err)
	}
	mustMap(t, s, Request{Addr: base + 4*PageSize, Len: PageSize, Prot: Read, Fixed: true})
	if _, err := s.Remap(base, 4*PageSize, 5*PageSize, false, false, false, 0); err != unix.ENOMEM {
		t.Errorf("grow without room: %v", err)
	}
	a, err := s.Remap(base, 4*PageSize, 5*PageSize, true, false, false, 0)
	if err != nil || a == base {
		t.Fatalf("move: %#x %v", a, err)
	}
	s.check(t)
	var b [4]byte
	if _, err := s.CopyIn(a+PageSize, b[:]); err != nil || string(b[:]) != "tail" {
		t.Errorf("moved content %q %v", b, err)
	}
	if _, err := s.CopyIn(base, b[:]); err != unix.EFAULT {
		t.Errorf("old place: %v", err)
	}
	if got, err := s.Remap(a, 5*PageSize, 2*PageSize, true, true, false, base); got != base || err != nil {
		t.Errorf("fixed: %#x %v", got, err)
	}
	if _, err := s.Remap(base, PageSize, PageSize, true, true, false, base); err != unix.EINVAL {
		t.Errorf("overlap: %v", err)
	}
	s.check(t)
	s.Release()
	drained(t, h, m)
}

func TestSparseTouchesAreBounded(t *testing.T) {
	h, m, s := testSpace(t)
	m.LimitMaps(10 * chunkBytes)
	a := mustMap(t, s, Request{Len: 1 << 40, Prot: Read | Write})
	var f *Fault
	n := 0
	for ; n < 100 && f == nil; n++ {
		_, f = s.access(t, a+uint64(n)<<30, Read)
	}
	if n != 11 || f == nil || f.Signal != unix.SIGKILL {
		t.Errorf("killed after %d touches: %v", n, f)
	}
	if _, err := s.Fork(); err != unix.ENOMEM {
		t.Errorf("fork of a space that fills the limit: %v", err)
	}
	s.check(t)
	s.Release()
	if n := m.chunks.Load(); n != 0 {
		t.Errorf("%d chunks counted after the end", n)
	}
	drained(t, h, m)
}
