package core

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// ram is 4 MiB at 1 MiB: some bytes here and there.
type ram struct{ b []byte }

func newRAM() *ram {
	r := &ram{make([]byte, 4<<20)}
	r.b[0] = 1
	r.b[block+5] = 2
	r.b[2<<20+PageSize] = 3
	return r
}

const ramBase = 1 << 20

func (r *ram) read(gpa uint64, p []byte) error {
	if gpa < ramBase || gpa-ramBase+uint64(len(p)) > uint64(len(r.b)) {
		return errors.New("not RAM")
	}
	copy(p, r.b[gpa-ramBase:])
	return nil
}

func TestCore(t *testing.T) {
	r := newRAM()
	in := &Input{
		Machine: elf.EM_X86_64,
		Threads: []Thread{{1, bytes.Repeat([]byte{0x11}, 216)}, {2, bytes.Repeat([]byte{0x22}, 216)}},
		Auxv:    [][2]uint64{{ATENTRY, 0xffffffff80201000}},
		RAM:     []Range{{ramBase, 4 << 20}}, Read: r.read,
		Mappings: []Mapping{
			{GVA: 0xffff888000000000 + ramBase, GPA: ramBase, Size: 4 << 20, Write: true},
			{GVA: 0xffffffff80000000, GPA: ramBase + 2<<20, Size: 2 * PageSize, Exec: true},
			{GVA: 0xffffffffff000000, GPA: 0xfee00000, Size: PageSize}, // a device
		},
	}
	var b bytes.Buffer
	if err := Write(&b, in); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 3<<20 {
		t.Errorf("%d bytes for three that are not zero", b.Len())
	}
	f, err := elf.NewFile(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_CORE || f.Progs[0].Type != elf.PT_NOTE {
		t.Fatalf("type %v, first segment %v", f.Type, f.Progs[0].Type)
	}
	// What a debugger reads at a virtual address.
	at := func(gva uint64) byte {
		for _, p := range f.Progs[1:] {
			if gva >= p.Vaddr && gva < p.Vaddr+p.Filesz {
				var c [1]byte
				if _, err := p.ReadAt(c[:], int64(gva-p.Vaddr)); err != nil {
					t.Fatalf("%#x: %v", gva, err)
				}
				return c[0]
			}
		}
		t.Fatalf("%#x is in no segment", gva)
		return 0
	}
	for gva, want := range map[uint64]byte{
		0xffff888000000000 + ramBase: 1, 0xffff888000000000 + ramBase + block + 5: 2, 0xffff888000000000 + ramBase + 1: 0,
		0xffff888000000000 + ramBase + 3<<20: 0, 0xffff888000000000 + ramBase + 2<<20 + PageSize: 3, 0xffffffff80000000 + PageSize: 3,
		0xffffffff80000000: 0, 0xffffffffff000000: 0,
	} {
		if got := at(gva); got != want {
			t.Errorf("%#x is %d, want %d", gva, got, want)
		}
	}
	notes, err := io.ReadAll(f.Progs[0].Open())
	if err != nil {
		t.Fatal(err)
	}
	if pid := binary.LittleEndian.Uint32(notes[20+statusPID:]); pid != 1 || notes[20+statusRegs] != 0x11 {
		t.Errorf("first thread: pid %d, registers % x", pid, notes[20+statusRegs:20+statusRegs+8])
	}
}

// More segments than e_phnum counts.
func TestManySegments(t *testing.T) {
	r := newRAM()
	in := &Input{Machine: elf.EM_AARCH64, Threads: []Thread{{1, make([]byte, 272)}}, RAM: []Range{{ramBase, 4 << 20}}, Read: r.read}
	for i := range uint64(70_000) {
		in.Mappings = append(in.Mappings, Mapping{GVA: 0x900000000000 + 2*i*PageSize, GPA: ramBase, Size: PageSize})
	}
	var b bytes.Buffer
	if err := Write(&b, in); err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	phnum := binary.LittleEndian.Uint16(b.Bytes()[56:])
	if phnum != 0xffff || f.Sections[0].Info != 70_001 {
		t.Errorf("e_phnum %#x, section 0 says %d", phnum, f.Sections[0].Info)
	}
	in.Mappings = append(in.Mappings, make([]Mapping, maxSegments)...)
	for i := range in.Mappings {
		in.Mappings[i].Size = PageSize
	}
	if err := Write(io.Discard, in); err == nil {
		t.Error("no bound on segments")
	}
}

func TestJoin(t *testing.T) {
	var l []Mapping
	for _, m := range []Mapping{{GVA: 0, GPA: 8192, Size: 4096}, {GVA: 4096, GPA: 12288, Size: 4096}, {GVA: 8192, GPA: 0, Size: 4096}, {GVA: 12288, GPA: 4096, Size: 4096, Exec: true}} {
		l = Join(l, m)
	}
	if len(l) != 3 || l[0].Size != 8192 {
		t.Errorf("%+v", l)
	}
}
