package boot

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits on what a kernel file may ask for. A Go kernel has 6 program headers, 10 MiB and
// some 10,000 relocations.
const (
	maxSegments    = 64
	maxImage       = 256 << 20
	maxRelocations = 4 << 20
	maxDynamic     = 1024
)

// ErrKernel is wrapped by every complaint about a kernel file.
var ErrKernel = errors.New("not a kernel this monitor can boot")

// Kernel is a loaded image.
type Kernel struct {
	Phys  uint64 // GPA of the lowest PT_LOAD
	Size  uint64 // bytes in memory, page aligned
	Virt  uint64 // GVA of Phys
	Bias  uint64 // GVA minus address in the file
	Entry uint64 // GVA
}

// segment is a validated PT_LOAD; addresses as in the file.
type segment struct {
	off, vaddr, filesz, memsz uint64
	exec, write               bool
}

type image struct {
	l                   *Layout
	r                   io.ReaderAt
	size                uint64 // of the file
	phoff               uint64
	phnum               int
	entry               uint64
	low, high           uint64 // page-aligned addresses in the file
	segments            []segment
	shared              []span // parts that need no copy, ordered
	dynamic             *segment
	rela, relasz, relan uint64
}

func bad(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrKernel, fmt.Sprintf(format, a...))
}

// CheckKernel says whether LoadKernel would take the headers of the file, without memory.
func CheckKernel(l *Layout, r io.ReaderAt, size uint64) error {
	im := &image{l: l, r: r, size: size}
	if err := im.header(); err != nil {
		return err
	}
	if err := im.programHeaders(); err != nil {
		return err
	}
	return im.findRelocations()
}

// LoadKernel places the ELF PIE of size bytes in r at the kernel's home in mem: PT_LOADs
// relative to the lowest, the rest of their memory zeroed, RELATIVE relocations applied.
// Every field is checked before anything is written; memory use is bounded. share, if not nil, may
// be used in place of copying, see Request.Share.
func LoadKernel(l *Layout, mem Memory, r io.ReaderAt, size uint64, share func(gpa, size uint64, offset int64) error) (*Kernel, error) {
	im := &image{l: l, r: r, size: size}
	if err := im.header(); err != nil {
		return nil, err
	}
	if err := im.programHeaders(); err != nil {
		return nil, err
	}
	k, err := im.place(mem)
	if err != nil {
		return nil, err
	}
	if err := im.findRelocations(); err != nil {
		return nil, err
	}
	if share != nil {
		if err := im.share(k, share); err != nil {
			return nil, err
		}
	}
	if err := im.copySegments(mem, k); err != nil {
		return nil, err
	}
	return k, im.relocate(mem, k)
}

func (im *image) read(off uint64, p []byte, what string) error {
	if off > im.size || uint64(len(p)) > im.size-off {
		return bad("%s at offset %#x, %d bytes, is beyond the end of the file (%d bytes): truncated?", what, off, len(p), im.size)
	}
	if n, err := im.r.ReadAt(p, int64(off)); n < len(p) {
		return fmt.Errorf("read %s of the kernel: %w", what, err)
	}
	return nil
}

const (
	ehdrSize = 64
	phdrSize = 56
	relaSize = 24
	dynSize  = 16
	pageSize = 4096
)

func (im *image) header() error {
	var h [ehdrSize]byte
	if im.size < ehdrSize {
		return bad("%d bytes is less than an ELF header", im.size)
	}
	if err := im.read(0, h[:], "ELF header"); err != nil {
		return err
	}
	u16 := func(off int) uint16 { return binary.LittleEndian.Uint16(h[off:]) }
	machine := elf.Machine(u16(18))
	switch {
	case string(h[:4]) != elf.ELFMAG:
		return bad("no ELF file (starts with % x)", h[:4])
	case elf.Class(h[4]) != elf.ELFCLASS64:
		return bad("ELF class %d, want 64 bit", h[4])
	case elf.Data(h[5]) != elf.ELFDATA2LSB:
		return bad("ELF data encoding %d, want little-endian", h[5])
	case elf.Version(h[6]) != elf.EV_CURRENT || binary.LittleEndian.Uint32(h[20:]) != uint32(elf.EV_CURRENT):
		return bad("ELF version %d", h[6])
	case machine != im.l.Machine:
		return bad("built for %s, this machine is %s (%s)", archName(machine), im.l.Arch, im.l.Machine)
	case elf.Type(u16(16)) != elf.ET_DYN:
		return bad("ELF type %s, want a position-independent executable (-buildmode=pie)", elf.Type(u16(16)))
	case u16(52) != ehdrSize:
		return bad("ELF header of %d bytes, want %d", u16(52), ehdrSize)
	case u16(54) != phdrSize:
		return bad("program headers of %d bytes, want %d", u16(54), phdrSize)
	}
	im.entry = binary.LittleEndian.Uint64(h[24:])
	im.phoff = binary.LittleEndian.Uint64(h[32:])
	im.phnum = int(u16(56))
	if im.phnum == 0 || im.phnum > maxSegments {
		return bad("%d program headers, want 1 to %d", im.phnum, maxSegments)
	}
	return nil
}

func archName(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	}
	return m.String()
}

func (im *image) programHeaders() error {
	table := make([]byte, im.phnum*phdrSize)
	if err := im.read(im.phoff, table, "program headers"); err != nil {
		return err
	}
	for i := range im.phnum {
		p := table[i*phdrSize:]
		u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(p[off:]) }
		kind, flags := elf.ProgType(binary.LittleEndian.Uint32(p)), elf.ProgFlag(binary.LittleEndian.Uint32(p[4:]))
		s := segment{off: u64(8), vaddr: u64(16), filesz: u64(32), memsz: u64(40), exec: flags&elf.PF_X != 0, write: flags&elf.PF_W != 0}
		var err error
		switch kind {
		case elf.PT_LOAD:
			err = im.load(s, u64(48))
		case elf.PT_DYNAMIC:
			if im.dynamic != nil {
				err = errors.New("a second PT_DYNAMIC")
			}
			im.dynamic = &s
		}
		if err != nil {
			return bad("program header %d: %v", i, err)
		}
	}
	return im.finishSegments()
}

// load checks one PT_LOAD.
func (im *image) load(s segment, align uint64) error {
	if s.memsz == 0 {
		return nil
	}
	switch {
	case s.filesz > s.memsz:
		return fmt.Errorf("file size %#x is larger than memory size %#x", s.filesz, s.memsz)
	case s.off > im.size || s.filesz > im.size-s.off:
		return fmt.Errorf("bytes %#x to %#x are beyond the end of the file (%d bytes): truncated?", s.off, s.off+s.filesz, im.size)
	case s.memsz > maxImage || s.vaddr+s.memsz < s.vaddr || s.vaddr+s.memsz > 1<<63:
		return fmt.Errorf("address %#x, memory size %#x: too large", s.vaddr, s.memsz)
	case align > 1 && (align&(align-1) != 0 || align > kernelOffset):
		return fmt.Errorf("alignment %#x, want a power of two up to %#x", align, kernelOffset)
	case align > 1 && (s.vaddr-s.off)%align != 0:
		return fmt.Errorf("address %#x and offset %#x disagree modulo the alignment %#x", s.vaddr, s.off, align)
	}
	if n := len(im.segments); n > 0 {
		if last := im.segments[n-1]; s.vaddr < last.vaddr+last.memsz {
			return fmt.Errorf("address %#x overlaps or precedes the segment before, which ends at %#x", s.vaddr, last.vaddr+last.memsz)
		}
	}
	im.segments = append(im.segments, s)
	return nil
}

func (im *image) finishSegments() error {
	if len(im.segments) == 0 {
		return bad("no PT_LOAD segment")
	}
	first, last := im.segments[0], im.segments[len(im.segments)-1]
	im.low = first.vaddr &^ (pageSize - 1)
	im.high = (last.vaddr + last.memsz + pageSize - 1) &^ (pageSize - 1)
	if im.high-im.low > maxImage {
		return bad("%d MiB in memory, want at most %d MiB", (im.high-im.low)>>20, maxImage>>20)
	}
	for _, s := range im.segments {
		if s.exec && im.entry >= s.vaddr && im.entry-s.vaddr < s.filesz {
			return nil
		}
	}
	return bad("entry point %#x is not in an executable segment", im.entry)
}

// place says where the image goes and that it fits.
func (im *image) place(mem Memory) (*Kernel, error) {
	phys := im.l.RAMBase + kernelOffset
	k := &Kernel{Phys: phys, Size: im.high - im.low, Virt: im.l.KernelMap + phys}
	k.Bias = k.Virt - im.low
	k.Entry = im.entry + k.Bias
	if phys+k.Size > im.l.KernelLimit {
		return nil, bad("%d MiB in memory does not fit the kernel's address range", k.Size>>20)
	}
	if err := mem.Check(phys, k.Size); err != nil {
		return nil, fmt.Errorf("the kernel needs %d MiB of memory from %#x, which the guest does not have: give it more with --mem", k.Size>>20+1, phys)
	}
	return k, nil
}

// inFile is the file offset of n bytes at an address that a segment's file part holds.
func (im *image) inFile(addr, n uint64) (uint64, bool) {
	for _, s := range im.segments {
		if off := addr - s.vaddr; addr >= s.vaddr && off <= s.filesz && n <= s.filesz-off {
			return s.off + off, true
		}
	}
	return 0, false
}

// findRelocations reads PT_DYNAMIC.
func (im *image) findRelocations() error {
	d := im.dynamic
	if d == nil {
		return nil // nothing to relocate: position independent in the strictest sense
	}
	if d.filesz%dynSize != 0 || d.filesz/dynSize > maxDynamic {
		return bad("PT_DYNAMIC of %d bytes", d.filesz)
	}
	table := make([]byte, d.filesz)
	if err := im.read(d.off, table, "PT_DYNAMIC"); err != nil {
		return err
	}
	entry := uint64(relaSize)
	for ; len(table) > 0; table = table[dynSize:] {
		tag, v := elf.DynTag(binary.LittleEndian.Uint64(table)), binary.LittleEndian.Uint64(table[8:])
		switch tag {
		case elf.DT_NULL:
			table = table[:dynSize]
		case elf.DT_RELA:
			im.rela = v
		case elf.DT_RELASZ:
			im.relasz = v
		case elf.DT_RELAENT:
			entry = v
		case elf.DT_REL, elf.DT_RELSZ, elf.DT_JMPREL:
			if v != 0 {
				return bad("relocations of kind %s", tag)
			}
		case elf.DT_PLTRELSZ:
			if v != 0 {
				return bad("%d bytes of PLT relocations: linked against a shared library?", v)
			}
		case elf.DT_NEEDED:
			return bad("needs a shared library: build with CGO_ENABLED=0")
		}
	}
	switch {
	case entry != relaSize:
		return bad("relocation entries of %d bytes, want %d", entry, relaSize)
	case im.relasz%relaSize != 0 || im.relasz/relaSize > maxRelocations:
		return bad("relocation table of %d bytes", im.relasz)
	}
	im.relan = im.relasz / relaSize
	return nil
}

// copySegments fills the image: file parts, and zeroes for everything else.
func (im *image) copySegments(mem Memory, k *Kernel) error {
	zero := func(from, to uint64) error {
		return im.apart(from, to, func(from, to uint64) error {
			return mem.Zero(k.Phys+(from-im.low), to-from, loader)
		})
	}
	at := im.low
	for _, s := range im.segments {
		if err := zero(at, s.vaddr); err != nil {
			return err
		}
		at = s.vaddr + s.filesz
		if err := im.apart(s.vaddr, at, func(from, to uint64) error {
			b, err := mem.Slice(k.Phys+(from-im.low), to-from, true, loader)
			if err != nil {
				return err
			}
			return im.read(s.off+(from-s.vaddr), b, "a segment")
		}); err != nil {
			return err
		}
		if err := zero(at, s.vaddr+s.memsz); err != nil {
			return err
		}
		at = s.vaddr + s.memsz
	}
	return zero(at, im.high)
}

// relocate applies the relocation table, read from the file in pieces.
func (im *image) relocate(mem Memory, k *Kernel) error {
	if im.relan == 0 {
		return nil
	}
	off, ok := im.inFile(im.rela, im.relasz)
	if !ok {
		return bad("relocation table at %#x, %d bytes, is not in a segment", im.rela, im.relasz)
	}
	const batch = 2048
	buf := make([]byte, batch*relaSize)
	var w relocWindow
	for left := im.relan; left > 0; {
		n := min(left, batch)
		part := buf[:n*relaSize]
		if err := im.read(off, part, "relocations"); err != nil {
			return err
		}
		for ; len(part) > 0; part = part[relaSize:] {
			target, info, addend := binary.LittleEndian.Uint64(part), binary.LittleEndian.Uint64(part[8:]), binary.LittleEndian.Uint64(part[16:])
			switch {
			case uint32(info) == 0: // NONE
				continue
			case uint32(info) != im.l.Relative || info>>32 != 0:
				return bad("relocation of type %d with symbol %d at %#x: only RELATIVE ones can be applied", uint32(info), info>>32, target)
			case target < im.low || target > im.high-8:
				return bad("relocation at %#x is outside the image (%#x to %#x)", target, im.low, im.high)
			}
			if w.b == nil || target-w.from > w.last {
				if err := w.move(im, mem, k, target); err != nil {
					return err
				}
			}
			binary.LittleEndian.PutUint64(w.b[target-w.from:], addend+k.Bias)
		}
		off, left = off+n*relaSize, left-n
	}
	return nil
}

// relocWindow is the memory of the segment that the last relocation was in. Nearly all are in
// one or two segments, and asking for 8 bytes at a time made this the longest step of the load.
type relocWindow struct {
	from, last uint64 // addresses as in the file: of the first byte, and how far behind it a word may start
	b          []byte
}

// move makes the window hold the word at target, which lies in the image.
func (w *relocWindow) move(im *image, mem Memory, k *Kernel, target uint64) error {
	from, to := target, target+8
	for _, s := range im.segments {
		if s.write && target >= s.vaddr && target-s.vaddr+8 <= s.memsz {
			from, to = s.vaddr, s.vaddr+s.memsz
		}
	}
	b, err := mem.Slice(k.Phys+(from-im.low), to-from, true, loader)
	if err != nil {
		return err
	}
	w.from, w.last, w.b = from, to-from-8, b
	return nil
}
