// Package core writes a guest as an ELF core file (ELF64, ET_CORE) that gdb, dlv and tools for kernel dumps open: one
// PT_NOTE with the registers of each vCPU, and PT_LOADs whose physical addresses are GPAs and whose virtual addresses
// are the kernel's.
//
// A piece of guest memory is in the file once, however many virtual addresses show it, and what is all zero is not there: such
// pages share one block of zeroes.
package core

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Thread is a vCPU or task in the file.
type Thread struct {
	PID  int
	Regs []byte // struct user_regs_struct of the machine
}

// Mapping is a run of virtual addresses that shows a run of RAM.
type Mapping struct {
	GVA, GPA, Size uint64 // multiples of PageSize
	Write, Exec    bool
}

// Range is a run of guest-physical memory, page aligned.
type Range struct{ Base, Size uint64 }

// Input is what a core file is made of.
type Input struct {
	Machine elf.Machine
	Threads []Thread
	// Auxv is pairs for NT_AUXV: AT_ENTRY tells debuggers where a position-independent kernel lies.
	Auxv [][2]uint64
	// RAM is what may be other than zero, ordered and disjoint. Read fills p from it.
	RAM  []Range
	Read func(gpa uint64, p []byte) error
	// Mappings are ordered by GVA. What they show outside RAM reads as zero.
	Mappings []Mapping
}

// PageSize is the unit of everything, in bytes.
const PageSize = 4096

const (
	block     = 64 << 10 // zero or not is decided for so many bytes
	zeroes    = 1 << 20  // the shared block
	headerLen = 64
	progLen   = 56
	sectLen   = 64
	// maxSegments bounds the program headers of a guest with hostile page tables.
	maxSegments = 1 << 19
)

// AT_ENTRY and others of auxv (include/uapi/linux/auxvec.h).
const (
	ATPHDR   = 3
	ATPHENT  = 4
	ATPHNUM  = 5
	ATPAGESZ = 6
	ATBASE   = 7
	ATENTRY  = 9
)

const (
	noteStatus = 1 // NT_PRSTATUS
	noteAuxv   = 6 // NT_AUXV
	// Offsets in struct elf_prstatus, equal on both architectures.
	statusPID  = 32
	statusRegs = 112
)

// piece is RAM in the file.
type piece struct {
	Range
	offset uint64 // in the file, behind the headers
}

// Write writes the file. Memory is read once, in order.
func Write(w io.Writer, in *Input) error {
	pieces, err := in.scan()
	if err != nil {
		return err
	}
	notes := in.notes()
	segments := in.segments(pieces)
	if len(segments) > maxSegments {
		return fmt.Errorf("core file: %d runs of memory, at most %d: the guest's page tables are damaged", len(segments), maxSegments)
	}
	// Header, program headers, the section header of PN_XNUM, notes, zeroes, memory.
	count := 1 + len(segments)
	sectAt := uint64(headerLen + progLen*count)
	notesAt := sectAt + sectLen
	zeroAt := align(notesAt + uint64(len(notes)))
	dataAt := zeroAt + zeroes

	var b bytes.Buffer
	h := elf.Header64{
		Type: uint16(elf.ET_CORE), Machine: uint16(in.Machine), Version: 1, Phoff: headerLen, Ehsize: headerLen, Phentsize: progLen,
		Phnum: uint16(count), Shentsize: sectLen,
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var section elf.Section64
	if count >= 0xffff { // PN_XNUM: the number is in section 0 (gABI, "ELF Header")
		h.Phnum, h.Shnum, h.Shoff = 0xffff, 1, sectAt
		section.Info = uint32(count)
	}
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a bytes.Buffer takes everything
	put(h)
	put(elf.Prog64{Type: uint32(elf.PT_NOTE), Off: notesAt, Filesz: uint64(len(notes)), Align: 4})
	for _, s := range segments {
		if s.Off == ^uint64(0) {
			s.Off = zeroAt
		} else {
			s.Off += dataAt
		}
		put(s)
	}
	put(section)
	b.Write(notes)
	b.Write(make([]byte, int(dataAt)-b.Len()))
	if _, err := w.Write(b.Bytes()); err != nil {
		return err
	}
	buf := make([]byte, block)
	for _, p := range pieces {
		for off := uint64(0); off < p.Size; {
			n := min(p.Size-off, block)
			if err := in.Read(p.Base+off, buf[:n]); err != nil {
				return err
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			off += n
		}
	}
	return nil
}

func align(n uint64) uint64 { return (n + PageSize - 1) &^ (PageSize - 1) }

// scan finds the blocks that are not zero.
func (in *Input) scan() ([]piece, error) {
	var out []piece
	buf := make([]byte, block)
	offset := uint64(0)
	for _, r := range in.RAM {
		for at := r.Base; at < r.Base+r.Size; {
			n := min(block-at%block, r.Base+r.Size-at)
			if err := in.Read(at, buf[:n]); err != nil {
				return nil, err
			}
			if !isZero(buf[:n]) {
				if last := len(out) - 1; last >= 0 && out[last].Base+out[last].Size == at {
					out[last].Size += n
				} else {
					out = append(out, piece{Range{at, n}, offset})
				}
				offset += n
			}
			at += n
		}
	}
	return out, nil
}

var zeroPage [PageSize]byte

func isZero(p []byte) bool {
	for len(p) >= PageSize {
		if !bytes.Equal(p[:PageSize], zeroPage[:]) {
			return false
		}
		p = p[PageSize:]
	}
	return bytes.Equal(p, zeroPage[:len(p)])
}

// segments are the program headers of memory. An offset of all ones means the zeroes.
func (in *Input) segments(pieces []piece) []elf.Prog64 {
	var out []elf.Prog64
	for _, m := range in.Mappings {
		flags := uint32(elf.PF_R)
		if m.Write {
			flags |= uint32(elf.PF_W)
		}
		if m.Exec {
			flags |= uint32(elf.PF_X)
		}
		for done := uint64(0); done < m.Size && len(out) <= maxSegments; {
			gpa, rest := m.GPA+done, m.Size-done
			i, found := slices.BinarySearchFunc(pieces, gpa, func(p piece, gpa uint64) int {
				switch {
				case p.Base+p.Size <= gpa:
					return -1
				case p.Base > gpa:
					return 1
				}
				return 0
			})
			s := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: flags, Vaddr: m.GVA + done, Paddr: gpa, Off: ^uint64(0), Align: PageSize}
			n := min(rest, zeroes)
			if found {
				p := pieces[i]
				n = min(rest, p.Base+p.Size-gpa)
				s.Off = p.offset + gpa - p.Base
			} else if i < len(pieces) {
				n = min(n, pieces[i].Base-gpa)
			}
			s.Filesz, s.Memsz = n, n
			out = append(out, s)
			done += n
		}
	}
	return out
}

func (in *Input) notes() []byte {
	var b []byte
	add := func(kind uint32, desc []byte) {
		b = binary.LittleEndian.AppendUint32(b, 5)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
		b = binary.LittleEndian.AppendUint32(b, kind)
		b = append(b, "CORE\x00\x00\x00\x00"...)
		b = append(b, desc...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	for i, t := range in.Threads {
		desc := make([]byte, statusRegs, statusRegs+len(t.Regs)+8)
		binary.LittleEndian.PutUint32(desc[statusPID:], uint32(t.PID))
		desc = append(append(desc, t.Regs...), make([]byte, 8)...) // pr_fpvalid and its padding
		add(noteStatus, desc)
		if i == 0 && len(in.Auxv) > 0 {
			var auxv []byte
			for _, a := range append(slices.Clone(in.Auxv), [2]uint64{}) {
				auxv = binary.LittleEndian.AppendUint64(auxv, a[0])
				auxv = binary.LittleEndian.AppendUint64(auxv, a[1])
			}
			add(noteAuxv, auxv)
		}
	}
	return b
}

// Join makes one run of two where the second follows the first in both address spaces. Append mappings in the order of
// their GVAs through it.
func Join(list []Mapping, m Mapping) []Mapping {
	if n := len(list); n > 0 {
		if l := &list[n-1]; l.GVA+l.Size == m.GVA && l.GPA+l.Size == m.GPA && l.Write == m.Write && l.Exec == m.Exec {
			l.Size += m.Size
			return list
		}
	}
	return append(list, m)
}
