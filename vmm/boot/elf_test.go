package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// kernelFile is an ELF PIE in parts that a test can spoil.
type kernelFile struct {
	header elf.Header64
	progs  []elf.Prog64
	dyn    []elf.Dyn64
	rela   []elf.Rela64
	text   []byte
}

// Layout of the file made by newKernelFile: headers, then at 0x1000 text, at 0x2000 data with the
// relocation table at 0x2100 and the dynamic section at 0x2800, then .bss to 0x5000.
const (
	textAt, dataAt, relaAt, dynAt, bssEnd = 0x1000, 0x2000, 0x2100, 0x2800, 0x5000
	fileEnd                               = 0x3000
)

func newKernelFile(l *Layout) *kernelFile {
	k := &kernelFile{
		header: elf.Header64{
			Type: uint16(elf.ET_DYN), Machine: uint16(l.Machine), Version: 1, Entry: textAt + 0x10,
			Phoff: 64, Ehsize: 64, Phentsize: 56,
		},
		progs: []elf.Prog64{
			{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: textAt, Vaddr: textAt, Filesz: 0x800, Memsz: 0x800, Align: 0x1000},
			{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: dataAt, Vaddr: dataAt, Filesz: fileEnd - dataAt, Memsz: bssEnd - dataAt, Align: 0x1000},
			{Type: uint32(elf.PT_DYNAMIC), Off: dynAt, Vaddr: dynAt, Filesz: 4 * 16, Memsz: 4 * 16, Align: 8},
		},
		dyn: []elf.Dyn64{
			{Tag: int64(elf.DT_RELA), Val: relaAt}, {Tag: int64(elf.DT_RELASZ), Val: 2 * 24}, {Tag: int64(elf.DT_RELAENT), Val: 24}, {},
		},
		rela: []elf.Rela64{
			{Off: dataAt, Info: uint64(l.Relative), Addend: textAt + 0x10},
			{Off: bssEnd - 8, Info: uint64(l.Relative), Addend: dataAt},
		},
		text: bytes.Repeat([]byte{0xaa}, 0x800),
	}
	copy(k.header.Ident[:], "\x7fELF\x02\x01\x01")
	return k
}

func (k *kernelFile) bytes() []byte {
	k.header.Phnum = uint16(len(k.progs))
	b := make([]byte, fileEnd)
	put := func(at int, v any) {
		var w bytes.Buffer
		binary.Write(&w, binary.LittleEndian, v) // a bytes.Buffer does not fail
		copy(b[at:], w.Bytes())
	}
	put(0, k.header)
	put(64, k.progs)
	copy(b[textAt:], k.text)
	put(relaAt, k.rela)
	put(dynAt, k.dyn)
	return b
}

func everyLayout(t *testing.T, f func(t *testing.T, l *Layout)) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			l, err := LayoutOf(arch)
			if err != nil {
				t.Fatal(err)
			}
			f(t, l)
		})
	}
}

func TestLoadKernelPlacesZeroesAndRelocates(t *testing.T) {
	everyLayout(t, func(t *testing.T, l *Layout) {
		mem := newRAM(l.RAMBase, 8<<20)
		file := newKernelFile(l).bytes()
		k, err := LoadKernel(l, mem, bytes.NewReader(file), uint64(len(file)), nil)
		if err != nil {
			t.Fatal(err)
		}
		phys := l.RAMBase + kernelOffset
		want := Kernel{Phys: phys, Size: bssEnd - textAt, Virt: l.KernelMap + phys, Bias: l.KernelMap + phys - textAt, Entry: l.KernelMap + phys + 0x10}
		if *k != want {
			t.Errorf("kernel = %#x, want %#x", *k, want)
		}
		image := mem.b[kernelOffset:][:k.Size]
		if !bytes.Equal(image[:0x800], bytes.Repeat([]byte{0xaa}, 0x800)) {
			t.Error("text is not what the file holds")
		}
		if gap := image[0x800:0x1000]; !bytes.Equal(gap, make([]byte, len(gap))) {
			t.Error("the gap between two segments is not zero")
		}
		if bss := image[fileEnd-textAt : len(image)-8]; !bytes.Equal(bss, make([]byte, len(bss))) {
			t.Error(".bss is not zero")
		}
		for _, r := range []struct{ at, want uint64 }{
			{dataAt, want.Bias + textAt + 0x10}, {bssEnd - 8, want.Bias + dataAt},
		} {
			if got := binary.LittleEndian.Uint64(image[r.at-textAt:]); got != r.want {
				t.Errorf("word at %#x = %#x, want %#x", r.at, got, r.want)
			}
		}
		if mem.touched(0, kernelOffset) || mem.touched(kernelOffset+k.Size, uint64(len(mem.b))) {
			t.Error("memory outside the image was written")
		}
	})
}

func TestLoadKernelRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(k *kernelFile)
	}{
		{"magic", "no ELF file", func(k *kernelFile) { k.header.Ident[0] = 'M' }},
		{"32 bit", "ELF class", func(k *kernelFile) { k.header.Ident[4] = 1 }},
		{"big-endian", "data encoding", func(k *kernelFile) { k.header.Ident[5] = 2 }},
		{"version", "ELF version", func(k *kernelFile) { k.header.Version = 2 }},
		{"machine", "built for EM_RISCV", func(k *kernelFile) { k.header.Machine = uint16(elf.EM_RISCV) }},
		{"not PIE", "ET_EXEC", func(k *kernelFile) { k.header.Type = uint16(elf.ET_EXEC) }},
		{"header size", "ELF header of", func(k *kernelFile) { k.header.Ehsize = 63 }},
		{"program header size", "program headers of", func(k *kernelFile) { k.header.Phentsize = 32 }},
		{"program header offset", "program headers at offset", func(k *kernelFile) { k.header.Phoff = fileEnd - 8 }},
		{"wrapping program header offset", "program headers at offset", func(k *kernelFile) { k.header.Phoff = ^uint64(0) - 16 }},
		{"no program headers", "0 program headers", func(k *kernelFile) { k.progs = nil }},
		{"too many program headers", "65 program headers", func(k *kernelFile) { k.progs = make([]elf.Prog64, 65) }},
		{"no PT_LOAD", "no PT_LOAD", func(k *kernelFile) { k.progs = k.progs[2:] }},
		{"offset beyond the file", "truncated", func(k *kernelFile) { k.progs[0].Off = fileEnd + 0x1000 }},
		{"size beyond the file", "truncated", func(k *kernelFile) { k.progs[1].Filesz = 0x2000 }},
		{"wrapping offset", "truncated", func(k *kernelFile) { k.progs[0].Off = ^uint64(0) &^ 0xfff }},
		{"file size over memory size", "larger than memory size", func(k *kernelFile) { k.progs[0].Memsz = 0x10 }},
		{"wrapping address", "too large", func(k *kernelFile) { k.progs[1].Vaddr, k.progs[1].Align = ^uint64(0)-0x10, 1 }},
		{"huge memory size", "too large", func(k *kernelFile) { k.progs[1].Memsz = 1 << 40 }},
		{"far apart", "MiB in memory", func(k *kernelFile) { k.progs[1].Vaddr = 1 << 40 }},
		{"alignment not a power of two", "alignment", func(k *kernelFile) { k.progs[0].Align = 0x1800 }},
		{"huge alignment", "alignment", func(k *kernelFile) { k.progs[0].Align = 1 << 30 }},
		{"misaligned", "disagree modulo", func(k *kernelFile) { k.progs[1].Vaddr += 8 }},
		{"overlap", "overlaps", func(k *kernelFile) { k.progs[0].Memsz = 0x2000 }},
		{"descending", "overlaps or precedes", func(k *kernelFile) { k.progs[0], k.progs[1] = k.progs[1], k.progs[0] }},
		{"entry outside", "entry point", func(k *kernelFile) { k.header.Entry = 0x99999 }},
		{"entry in data", "entry point", func(k *kernelFile) { k.header.Entry = dataAt }},
		{"entry in .bss", "entry point", func(k *kernelFile) { k.header.Entry = bssEnd - 16 }},
		{"two PT_DYNAMIC", "second PT_DYNAMIC", func(k *kernelFile) { k.progs = append(k.progs, k.progs[2]) }},
		{"dynamic beyond the file", "PT_DYNAMIC at offset", func(k *kernelFile) { k.progs[2].Off = fileEnd - 16 }},
		{"dynamic too large", "PT_DYNAMIC of", func(k *kernelFile) { k.progs[2].Filesz = 1 << 40 }},
		{"shared library", "shared library", func(k *kernelFile) { k.dyn[0] = elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: 1} }},
		{"PLT relocations", "PLT", func(k *kernelFile) { k.dyn[3] = elf.Dyn64{Tag: int64(elf.DT_PLTRELSZ), Val: 24} }},
		{"REL relocations", "DT_REL", func(k *kernelFile) { k.dyn[0].Tag = int64(elf.DT_REL) }},
		{"relocation entry size", "relocation entries of", func(k *kernelFile) { k.dyn[2].Val = 16 }},
		{"relocation table size", "relocation table of", func(k *kernelFile) { k.dyn[1].Val = 25 }},
		{"huge relocation table", "relocation table of", func(k *kernelFile) { k.dyn[1].Val = 24 << 40 }},
		{"relocation table outside", "not in a segment", func(k *kernelFile) { k.dyn[0].Val = 0x100000 }},
		{"relocation table in .bss", "not in a segment", func(k *kernelFile) { k.dyn[0].Val = fileEnd - 8 }},
		{"relocation type", "only RELATIVE", func(k *kernelFile) { k.rela[1].Info = 6 }},
		{"relocation symbol", "only RELATIVE", func(k *kernelFile) { k.rela[1].Info |= 1 << 32 }},
		{"relocation below", "outside the image", func(k *kernelFile) { k.rela[0].Off = textAt - 8 }},
		{"relocation above", "outside the image", func(k *kernelFile) { k.rela[1].Off = bssEnd - 7 }},
		{"relocation wraps", "outside the image", func(k *kernelFile) { k.rela[1].Off = ^uint64(0) - 3 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyLayout(t, func(t *testing.T, l *Layout) {
				k := newKernelFile(l)
				c.spoil(k)
				file := k.bytes()
				_, err := LoadKernel(l, newRAM(l.RAMBase, 8<<20), bytes.NewReader(file), uint64(len(file)), nil)
				if !errors.Is(err, ErrKernel) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("err = %v, want ErrKernel with %q", err, c.want)
				}
				if err != nil && strings.Contains(err.Error(), "\n") {
					t.Errorf("message has more than one line: %q", err)
				}
			})
		})
	}
}

// Every prefix of a kernel is refused, by a message and not by a crash.
func TestLoadKernelTruncated(t *testing.T) {
	everyLayout(t, func(t *testing.T, l *Layout) {
		file := newKernelFile(l).bytes()
		mem := newRAM(l.RAMBase, 8<<20)
		for n := range len(file) {
			if _, err := LoadKernel(l, mem, bytes.NewReader(file[:n]), uint64(n), nil); err == nil {
				t.Fatalf("the first %d of %d bytes were accepted", n, len(file))
			}
		}
	})
}

func TestKernelOfTheOtherArchitecture(t *testing.T) {
	amd, _ := LayoutOf("amd64")
	arm, _ := LayoutOf("arm64")
	file := newKernelFile(arm).bytes()
	_, err := LoadKernel(amd, newRAM(0, 8<<20), bytes.NewReader(file), uint64(len(file)), nil)
	if err == nil || !strings.Contains(err.Error(), "built for arm64") {
		t.Errorf("err = %v, want one that says arm64", err)
	}
}

func TestKernelLargerThanMemory(t *testing.T) {
	l, _ := LayoutOf("amd64")
	k := newKernelFile(l)
	k.progs[1].Memsz = 64 << 20
	file := k.bytes()
	mem := newRAM(0, 16<<20)
	_, err := LoadKernel(l, mem, bytes.NewReader(file), uint64(len(file)), nil)
	if err == nil || !strings.Contains(err.Error(), "--mem") {
		t.Errorf("err = %v, want one that names --mem", err)
	}
	if mem.touched(0, 16<<20) {
		t.Error("memory was written before the size was checked")
	}
}

// FuzzLoadKernel: no file makes the loader panic, write outside the image, or enter outside it.
func FuzzLoadKernel(f *testing.F) {
	for _, arch := range []string{"amd64", "arm64"} {
		l, _ := LayoutOf(arch)
		f.Add(arch == "arm64", newKernelFile(l).bytes())
		for _, spoil := range []func(*kernelFile){
			func(k *kernelFile) { k.progs[1].Memsz = 1 << 62 },
			func(k *kernelFile) { k.rela[1].Off = ^uint64(0) - 7 },
			func(k *kernelFile) { k.progs[0].Vaddr, k.progs[0].Off = 0, 0 },
			func(k *kernelFile) { k.dyn[0].Val = fileEnd - 24 },
		} {
			k := newKernelFile(l)
			spoil(k)
			f.Add(arch == "arm64", k.bytes())
		}
	}
	memory := map[string]*ram{}
	f.Fuzz(func(t *testing.T, arm bool, file []byte) {
		arch := "amd64"
		if arm {
			arch = "arm64"
		}
		l, err := LayoutOf(arch)
		if err != nil {
			t.Fatal(err)
		}
		if memory[arch] == nil {
			memory[arch] = newRAM(l.RAMBase, 4<<20)
		}
		mem := memory[arch]
		mem.lo, mem.hi = 0, 0
		k, err := LoadKernel(l, mem, bytes.NewReader(file), uint64(len(file)), nil)
		if mem.touched(0, kernelOffset) {
			t.Fatal("wrote below the image")
		}
		if err != nil {
			return
		}
		if mem.touched(kernelOffset+k.Size, uint64(len(mem.b))) {
			t.Fatal("wrote above the image")
		}
		if k.Entry < k.Virt || k.Entry-k.Virt >= k.Size {
			t.Fatalf("entry %#x is outside the image at %#x, %#x bytes", k.Entry, k.Virt, k.Size)
		}
	})
}
