package loader

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
	"ringo/guestkernel/vfs"
)

const machine = 62

// heap is physical memory in the Go heap, without page tables that anybody uses.
type heap struct {
	*vfs.HeapFrames
	refs map[uint64]int
}

func newHeap() heap { return heap{vfs.NewHeapFrames(20000), map[uint64]int{}} }

func (h heap) Alloc() (uint64, error) {
	p, err := h.HeapFrames.Alloc()
	if err == nil {
		h.refs[p] = 1
	}
	return p, err
}
func (h heap) Ref(p uint64)                  { h.refs[p]++; h.HeapFrames.Ref(p) }
func (h heap) Unref(p uint64)                { h.refs[p]--; h.HeapFrames.Unref(p) }
func (h heap) RefCount(p uint64) int         { return h.refs[p] }
func (heap) NewTable() (mm.PageTable, error) { return noTable{}, nil }

type noTable struct{}

func (noTable) Map(uint64, uint64, mm.Prot) error { return nil }
func (noTable) Unmap(uint64, uint64)              {}
func (noTable) Flush(uint64, uint64)              {}
func (noTable) Root() uint64                      { return 1 }
func (noTable) Release()                          {}

// memFile is a File of bytes that cannot be mapped.
type memFile struct {
	data   []byte
	closed *int
}

func (f memFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.data)) {
		return 0, nil
	}
	return copy(p, f.data[off:]), nil
}
func (memFile) Object() mm.Object    { return nil }
func (memFile) Executing() mm.Holder { return nil }
func (f memFile) Close()             { *f.closed++ }

// segment is a PT_LOAD of a made-up executable.
type segment struct {
	vaddr, memsz uint64
	flags        uint32
	data         []byte
}

type image struct {
	kind     uint16
	machine  uint16
	entry    uint64
	interp   string
	segments []segment
	stack    uint32 // PT_GNU_STACK flags, 0: none
}

// elf lays an executable out: headers in the first page, each segment's data at a page boundary plus its address's offset.
func (i image) elf() []byte {
	le := binary.LittleEndian
	var phdrs []byte
	body := make([]byte, mm.PageSize)
	ph := func(kind, flags uint32, off, vaddr, filesz, memsz, align uint64) {
		b := make([]byte, phdrSize)
		le.PutUint32(b, kind)
		le.PutUint32(b[4:], flags)
		le.PutUint64(b[8:], off)
		le.PutUint64(b[16:], vaddr)
		le.PutUint64(b[32:], filesz)
		le.PutUint64(b[40:], memsz)
		le.PutUint64(b[48:], align)
		phdrs = append(phdrs, b...)
	}
	if i.interp != "" {
		copy(body[2048:], i.interp+"\x00")
		ph(ptInterp, pfR, 2048, 0, uint64(len(i.interp)+1), 0, 1)
	}
	if i.stack != 0 {
		ph(ptStack, i.stack, 0, 0, 0, 0, 0)
	}
	for _, s := range i.segments {
		off := uint64(len(body)) + s.vaddr%mm.PageSize
		body = append(body, make([]byte, s.vaddr%mm.PageSize)...)
		body = append(body, s.data...)
		for len(body)%mm.PageSize != 0 {
			body = append(body, 0xee) // rubbish that must not show in .bss
		}
		ph(ptLoad, s.flags, off, s.vaddr, uint64(len(s.data)), s.memsz, mm.PageSize)
	}
	h := body[:ehdrSize]
	copy(h, "\x7fELF\x02\x01\x01")
	le.PutUint16(h[16:], i.kind)
	le.PutUint16(h[18:], i.machine)
	le.PutUint64(h[24:], i.entry)
	le.PutUint64(h[32:], ehdrSize)
	le.PutUint16(h[54:], phdrSize)
	le.PutUint16(h[56:], uint16(len(phdrs)/phdrSize))
	copy(body[ehdrSize:], phdrs)
	return body
}

func static() image {
	return image{kind: etExec, machine: machine, entry: 0x400010, segments: []segment{
		{vaddr: 0x400000, memsz: 0x20, flags: pfR | pfX, data: []byte("text text text text ")},
		{vaddr: 0x402010, memsz: 0x3000, flags: pfR | pfW, data: []byte("data")},
	}}
}

// world is a file tree and a space to load into.
type world struct {
	t      *testing.T
	frames heap
	mem    *mm.Memory
	space  *mm.Space
	files  map[string][]byte
	opened int
	closed int
}

func newWorld(t *testing.T, files map[string][]byte) *world {
	w := &world{t: t, frames: newHeap(), files: files}
	var err error
	if w.mem, err = mm.NewMemory(w.frames); err != nil {
		t.Fatal(err)
	}
	if w.space, err = w.mem.NewSpace(zero, 8<<20); err != nil {
		t.Fatal(err)
	}
	return w
}

func zero() uint64 { return 0 }

func (w *world) open(path string) (File, error) {
	b, ok := w.files[path]
	if !ok {
		return nil, unix.ENOENT
	}
	w.opened++
	return memFile{b, &w.closed}, nil
}

func (w *world) load(path string, argv, envv []string) (Loaded, error) {
	f, err := w.open(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return Load(w.space, Program{Path: path, File: f, Argv: argv, Envv: envv, UID: 7}, w.open,
		Hardware{Machine: machine, Platform: "plat", HWCAP: 0x123}, zero, 8<<20)
}

// done checks that every file was closed and that the space gives everything back.
func (w *world) done() {
	w.t.Helper()
	if w.opened != w.closed {
		w.t.Errorf("%d files opened, %d closed", w.opened, w.closed)
	}
	w.space.Release()
	w.mem.Close()
	if n := w.frames.InUse(); n != 0 {
		w.t.Errorf("%d frames leaked", n)
	}
}

func (w *world) word(addr uint64) uint64 {
	w.t.Helper()
	var b [8]byte
	if _, err := w.space.CopyIn(addr, b[:]); err != nil {
		w.t.Fatalf("reading %#x: %v", addr, err)
	}
	return binary.LittleEndian.Uint64(b[:])
}

func (w *world) str(addr uint64) string {
	w.t.Helper()
	s, err := w.space.CopyInString(addr, 1000)
	if err != nil {
		w.t.Fatalf("string at %#x: %v", addr, err)
	}
	return s
}

// stack reads the initial stack back.
func (w *world) stack(sp uint64) (argv, envv []string, aux map[uint64]uint64) {
	argc := w.word(sp)
	at := sp + 8
	for range argc {
		argv = append(argv, w.str(w.word(at)))
		at += 8
	}
	for at += 8; w.word(at) != 0; at += 8 {
		envv = append(envv, w.str(w.word(at)))
	}
	aux = map[uint64]uint64{}
	for at += 8; ; at += 16 {
		k := w.word(at)
		if k == atNull {
			return argv, envv, aux
		}
		aux[k] = w.word(at + 8)
	}
}

func TestStaticProgram(t *testing.T) {
	w := newWorld(t, map[string][]byte{"/p": static().elf()})
	l, err := w.load("/p", []string{"p", "", "b c"}, []string{"A=1", "B="})
	if err != nil {
		t.Fatal(err)
	}
	if l.Entry != 0x400010 || l.SP%16 != 0 || l.Path != "/p" {
		t.Errorf("%+v", l)
	}
	argv, envv, aux := w.stack(l.SP)
	if strings.Join(argv, "|") != "p||b c" || strings.Join(envv, "|") != "A=1|B=" {
		t.Errorf("argv %q envv %q", argv, envv)
	}
	for k, want := range map[uint64]uint64{
		atPagesz: mm.PageSize, atPhent: phdrSize, atPhnum: 2, atEntry: 0x400010, atBase: 0, atUID: 7, atHWCAP: 0x123, atSecure: 0, atClktck: 100,
	} {
		if aux[k] != want {
			t.Errorf("auxv %d = %#x, want %#x", k, aux[k], want)
		}
	}
	if w.str(aux[atExecfn]) != "/p" || w.str(aux[atPlatform]) != "plat" || aux[atRandom] == 0 {
		t.Errorf("auxv %v", aux)
	}
	if w.str(0x402010) != "data" || w.word(0x402018) != 0 || w.word(0x404f00) != 0 {
		t.Error("data or .bss is wrong")
	}
	if _, err := w.space.CopyOut(0x400000, []byte{1}); err != unix.EFAULT {
		t.Errorf("text can be written: %v", err)
	}
	if brk := w.space.Brk(0, ^uint64(0)); brk != 0x406000 {
		t.Errorf("brk %#x", brk)
	}
	w.done()
}

func TestPositionIndependentWithInterpreter(t *testing.T) {
	p := static()
	p.kind, p.interp = etDyn, "/lib/ld.so"
	for i := range p.segments {
		p.segments[i].vaddr -= 0x400000
	}
	p.entry = 0x10
	ld := p
	ld.interp, ld.entry = "", 0x14
	w := newWorld(t, map[string][]byte{"/p": p.elf(), "/lib/ld.so": ld.elf()})
	l, err := w.load("/p", []string{"p"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, aux := w.stack(l.SP)
	if aux[atEntry] != dynBase+0x10 || l.Entry != aux[atBase]+0x14 || aux[atBase] == 0 || aux[atBase] == dynBase {
		t.Errorf("entry %#x, auxv entry %#x base %#x", l.Entry, aux[atEntry], aux[atBase])
	}
	if w.str(dynBase+0x2010) != "data" || w.str(aux[atBase]+0x2010) != "data" {
		t.Error("segments are not where they should be")
	}
	w.done()
}

func TestScripts(t *testing.T) {
	w := newWorld(t, map[string][]byte{"/bin/sh": static().elf(), "/s": []byte("#! /bin/sh  -x y \nbody"), "/t": []byte("#!/s\n")})
	l, err := w.load("/t", []string{"ignored", "arg"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	argv, _, aux := w.stack(l.SP)
	if got := strings.Join(argv, "|"); got != "/bin/sh|-x y|/s|/t|arg" || l.Path != "/bin/sh" {
		t.Errorf("argv %q path %s", got, l.Path)
	}
	if w.str(aux[atExecfn]) != "/t" {
		t.Errorf("execfn %q", w.str(aux[atExecfn]))
	}
	w.done()
}

func TestFailures(t *testing.T) {
	with := func(f func(*image)) []byte {
		i := static()
		f(&i)
		return i.elf()
	}
	patch := func(off int, b ...byte) []byte {
		e := static().elf()
		copy(e[off:], b)
		return e
	}
	loop := map[string][]byte{"/loop": []byte("#!/loop\n")}
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, unix.ENOEXEC},
		{"short", []byte("\x7fELF"), unix.ENOEXEC},
		{"text", bytes.Repeat([]byte("hello "), 50), unix.ENOEXEC},
		{"other machine", with(func(i *image) { i.machine = 40 }), unix.ENOEXEC},
		{"relocatable", with(func(i *image) { i.kind = 1 }), unix.ENOEXEC},
		{"32 bit", patch(4, 1), unix.ENOEXEC},
		{"big endian", patch(5, 2), unix.ENOEXEC},
		{"header size", patch(54, 55), unix.ENOEXEC},
		{"no headers", patch(56, 0, 0), unix.ENOEXEC},
		{"headers behind the end", patch(32, 0, 0, 0, 0, 1), unix.ENOEXEC},
		{"negative header offset", patch(32, 0, 0, 0, 0, 0, 0, 0, 0xff), unix.ENOEXEC},
		{"too many headers", patch(56, 0xff, 0xff), unix.ENOEXEC},
		{"nothing to load", with(func(i *image) { i.segments = nil; i.stack = pfR }), unix.ENOEXEC},
		{"file larger than memory", with(func(i *image) { i.segments[0].memsz = 3 }), unix.EINVAL},
		{"kernel address", with(func(i *image) { i.segments[1].vaddr = 1 << 63 }), unix.ENOMEM},
		{"wrapping size", with(func(i *image) { i.segments[1].memsz = ^uint64(0) }), unix.ENOMEM},
		{"address below the minimum", with(func(i *image) { i.segments[0].vaddr = 0x1000 }), unix.EPERM},
		{"descending", with(func(i *image) { i.segments[0], i.segments[1] = i.segments[1], i.segments[0] }), unix.ENOEXEC},
		{"overlapping", with(func(i *image) { i.segments[1].vaddr = 0x400010 }), unix.EEXIST},
		{"no interpreter", with(func(i *image) { i.interp = "/lib/none" }), unix.ENOENT},
		{"script without interpreter", []byte("#!\n"), unix.ENOEXEC},
		{"script of blanks", []byte("#!   \t \nx"), unix.ENOEXEC},
		{"script of a long name", append([]byte("#!/"), bytes.Repeat([]byte("a"), 400)...), unix.ENOEXEC},
		{"script of nothing", []byte("#!/none\n"), unix.ENOENT},
		{"script for ever", []byte("#!/loop\n"), unix.ELOOP},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, map[string][]byte{"/p": c.data, "/loop": loop["/loop"]})
			_, err := w.load("/p", []string{"p"}, nil)
			if !errors.Is(err, c.want) {
				t.Errorf("err = %v, want %v", err, c.want)
			}
			var interp *ErrNoInterpreter
			if c.name == "no interpreter" && (!errors.As(err, &interp) || interp.Interpreter != "/lib/none") {
				t.Errorf("err = %#v", err)
			}
			w.done()
		})
	}
}

func TestArgumentLimits(t *testing.T) {
	for _, c := range []struct {
		name string
		argv []string
		want error
	}{
		{"longest string", []string{strings.Repeat("x", MaxString-1)}, nil},
		{"string too long", []string{strings.Repeat("x", MaxString)}, unix.E2BIG},
		{"2 MiB", strings.Split(strings.Repeat(strings.Repeat("x", 1<<16)+",", 33), ","), unix.E2BIG},
	} {
		w := newWorld(t, map[string][]byte{"/p": static().elf()})
		if _, err := w.load("/p", c.argv, nil); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		w.done()
	}
}

// FuzzLoad feeds damaged files to the whole loader. It must answer with an errno or a program, give everything back, and never panic.
func FuzzLoad(f *testing.F) {
	p := static()
	f.Add(p.elf())
	p.kind, p.interp, p.stack = etDyn, "/p", pfR|pfW|pfX
	f.Add(p.elf())
	f.Add([]byte("#!/p -a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		begin := time.Now()
		w := newWorld(t, map[string][]byte{"/p": data})
		_, err := w.load("/p", []string{"p"}, nil)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("%d bytes took %v", len(data), d)
		}
		var errno unix.Errno
		if err != nil && !errors.As(err, &errno) {
			t.Errorf("error without an errno: %v", err)
		}
		w.done()
	})
}
