package boot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
)

// largeKernel is a kernel with 3 MiB of read-only segments that lie in the file as in memory, a gap
// between them, data from 5 MiB on and one relocation there.
func largeKernel(l *Layout) []byte {
	const size = 5<<20 + 0x2000
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i>>12) | 1
	}
	k := newKernelFile(l)
	k.header.Entry = 0x1000
	k.progs = []elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Filesz: 0x180800, Memsz: 0x180800, Align: 0x1000},
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Off: 0x181000, Vaddr: 0x181000, Filesz: 3<<20 - 0x181000, Memsz: 3<<20 - 0x181000, Align: 0x1000},
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: 5 << 20, Vaddr: 5 << 20, Filesz: 0x2000, Memsz: 0x4000, Align: 0x1000},
		{Type: uint32(elf.PT_DYNAMIC), Off: 5<<20 + 0x1000, Vaddr: 5<<20 + 0x1000, Filesz: 64, Memsz: 64, Align: 8},
	}
	k.header.Phnum = uint16(len(k.progs))
	put := func(at int, v any) {
		var w bytes.Buffer
		binary.Write(&w, binary.LittleEndian, v) // a bytes.Buffer does not fail
		copy(b[at:], w.Bytes())
	}
	put(0, k.header)
	put(64, k.progs)
	clear(b[0x180800:0x181000])
	put(5<<20+0x1000, []elf.Dyn64{{Tag: int64(elf.DT_RELA), Val: 0x2000}, {Tag: int64(elf.DT_RELASZ), Val: 24}, {Tag: int64(elf.DT_RELAENT), Val: 24}, {}})
	put(0x2000, elf.Rela64{Off: 5 << 20, Info: uint64(l.Relative), Addend: 0x1000})
	return b
}

// A loader that may share makes the same image as one that copies, and writes nothing to what is shared.
func TestLoadKernelShares(t *testing.T) {
	everyLayout(t, func(t *testing.T, l *Layout) {
		for _, c := range []struct {
			name   string
			change func(file []byte)
			shares int
		}{
			{"as built", func([]byte) {}, 1},
			{"bytes in the gap", func(f []byte) { f[0x180fff] = 1 }, 0},
			{"writable", func(f []byte) { f[64+56+4] |= byte(elf.PF_W) }, 0},
			{"displaced", func(f []byte) { binary.LittleEndian.PutUint64(f[64+56+8:], 0x182000) }, 0},
		} {
			t.Run(c.name, func(t *testing.T) {
				file := largeKernel(l)
				c.change(file)
				copied, shared := newRAM(l.RAMBase, 16<<20), newRAM(l.RAMBase, 16<<20)
				if _, err := LoadKernel(l, copied, bytes.NewReader(file), uint64(len(file)), nil); err != nil {
					t.Fatal(err)
				}
				shares := 0
				if _, err := LoadKernel(l, shared, bytes.NewReader(file), uint64(len(file)), func(gpa, size uint64, offset int64) error {
					shares++
					copy(shared.b[gpa-l.RAMBase:][:size], file[offset:])
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if shares != c.shares {
					t.Errorf("%d blocks shared, want %d", shares, c.shares)
				}
				if !bytes.Equal(copied.b, shared.b) {
					t.Error("the shared image differs from the copied one")
				}
				if shares > 0 && shared.touched(kernelOffset, kernelOffset+shareBlock) {
					t.Error("a shared block was written")
				}
			})
		}
	})
}
