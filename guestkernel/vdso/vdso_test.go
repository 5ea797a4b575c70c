package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"ringo/guestkernel/mm"
)

// lookup finds a versioned function as a dynamic linker does: through the program headers and the dynamic section alone.
func lookup(t *testing.T, image []byte, name, version string) (uint64, bool) {
	t.Helper()
	le := binary.LittleEndian
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_DYN || f.Machine != machine || len(f.Progs) != 2 || f.Progs[0].Type != elf.PT_LOAD || f.Progs[0].Vaddr != 0 || f.Progs[1].Type != elf.PT_DYNAMIC {
		t.Fatalf("headers: %+v", f.FileHeader)
	}
	tag := map[elf.DynTag]uint64{}
	for b := image[f.Progs[1].Off:]; le.Uint64(b) != 0; b = b[16:] {
		tag[elf.DynTag(le.Uint64(b))] = le.Uint64(b[8:])
	}
	cstring := func(at uint32) string {
		b := image[tag[elf.DT_STRTAB]+uint64(at):]
		return string(b[:bytes.IndexByte(b, 0)])
	}
	if got := cstring(uint32(tag[elf.DT_SONAME])); got != "linux-vdso.so.1" {
		t.Errorf("soname %q", got)
	}
	wanted := uint16(0)
	at := tag[elf.DT_VERDEF]
	for range tag[elf.DT_VERDEFNUM] {
		b := image[at:]
		if cstring(le.Uint32(b[le.Uint32(b[12:]):])) == version && le.Uint32(b[8:]) == sysvHash(version) {
			wanted = le.Uint16(b[4:])
		}
		at += uint64(le.Uint32(b[16:]))
	}
	if wanted == 0 {
		t.Fatalf("version %s is not defined", version)
	}
	hash := image[tag[elf.DT_HASH]:]
	buckets := le.Uint32(hash)
	word := func(i uint32) uint32 { return le.Uint32(hash[4*i:]) }
	for i := word(2 + sysvHash(name)%buckets); i != 0; i = word(2 + buckets + i) {
		sym := image[tag[elf.DT_SYMTAB]+24*uint64(i):]
		if cstring(le.Uint32(sym)) == name && le.Uint16(image[tag[elf.DT_VERSYM]+2*uint64(i):]) == wanted && le.Uint16(sym[6:]) != 0 {
			return le.Uint64(sym[8:]), true
		}
	}
	return 0, false
}

func TestImageHasItsFunctions(t *testing.T) {
	text := code()
	if len(text) == 0 || len(text)%4 != 0 && machine != int(elf.EM_X86_64) {
		t.Fatalf("%d bytes of code", len(text))
	}
	b, err := build(text, symbols)
	if err != nil {
		t.Fatal(err)
	}
	for i, names := range symbols {
		for _, name := range names {
			at, ok := lookup(t, b.bytes, name, version)
			if !ok {
				t.Errorf("%s@%s is not found", name, version)
				continue
			}
			if at != b.entries[name] || !bytes.Equal(b.bytes[at:at+16], text[16*i:16*i+16]) {
				t.Errorf("%s is at %#x and holds % x, want entry %d: % x", name, at, b.bytes[at:at+16], i, text[16*i:16*i+16])
			}
		}
	}
	if _, ok := lookup(t, b.bytes, "__vdso_nothing", version); ok {
		t.Error("found a function that does not exist")
	}
	if _, err := build(make([]byte, mm.PageSize), symbols); err == nil {
		t.Error("code that leaves no room for headers was taken")
	}
}

func TestSysvHash(t *testing.T) {
	for s, want := range map[string]uint32{"": 0, "printf": 0x077905a6, "LINUX_2.6": 0x3ae75f6, "syscall": 0x0b09985c} {
		if got := sysvHash(s); got != want {
			t.Errorf("sysvHash(%q) = %#x, want %#x", s, got, want)
		}
	}
}

func TestDataLayout(t *testing.T) {
	b := Clock{Base: 1, Mult: 2, Wall: 3, Start: 4, CPUNumber: true}.data()
	for i := range 5 {
		want := uint64(i + 1)
		if i == 4 {
			want = 1
		}
		if got := binary.LittleEndian.Uint64(b[8*i:]); got != want {
			t.Errorf("word %d is %d, want %d", i, got, want)
		}
	}
}
