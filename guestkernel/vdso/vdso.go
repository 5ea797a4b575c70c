// Package vdso makes the user's vDSO (vdso(7)): a shared object in every address space whose functions read the clock without a
// system call. It is two pages: data ([vvar]), and behind it the ELF image ([vdso]), whose code finds the data one page below itself.
package vdso

import (
	"encoding/binary"
	"fmt"

	"ringo/guestkernel/mm"
)

// Clock says how the counter that user mode reads becomes time: ns = (counter - Base) * Mult >> 32. The zero value says that there is
// no such counter: the functions then make system calls.
type Clock struct {
	Base, Mult uint64
	Wall       uint64 // ns from 1970 to Base
	Start      uint64 // ns from Base to the zero of CLOCK_MONOTONIC
	// CPUNumber says that user mode can read the number of its CPU (amd64: RDTSCP).
	CPUNumber bool
}

// data is the content of the data page; arch/*/vdso's code knows the layout.
func (c Clock) data() []byte {
	b := make([]byte, 40)
	for i, v := range []uint64{c.Base, c.Mult, c.Wall, c.Start} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	if c.CPUNumber {
		b[32] = 1
	}
	return b
}

// Image is the vDSO as address spaces map it: an mm.Object of two pages that live as long as the kernel.
type Image struct {
	frames    mm.Frames
	page      [2]uint64 // GPAs: data, code
	sigreturn uint64    // offset of the return code in the code page, 0: none
}

// New makes the image in two frames of memory.
func New(memory mm.Frames, c Clock) (*Image, error) {
	elf, err := build(code(), symbols)
	if err != nil {
		return nil, err
	}
	im := &Image{frames: memory, sigreturn: elf.entries[sigreturn]}
	for i, content := range [][]byte{c.data(), elf.bytes} {
		phys, err := memory.Alloc()
		if err != nil {
			return nil, fmt.Errorf("no memory for the vDSO: %w", err)
		}
		copy(memory.Bytes(phys), content)
		im.page[i] = phys
	}
	return im, nil
}

// Map puts the image into an address space. It answers the address of the ELF header, for AT_SYSINFO_EHDR, and where signal handlers without a
// restorer return to, 0 if there is no such place. Errors: those of mm.Space.Map.
func (im *Image) Map(s *mm.Space) (header, sigreturn uint64, err error) {
	at, err := s.Map(mm.Request{Len: 2 * mm.PageSize, Prot: mm.Read, Object: im, Name: "[vvar]"})
	if err != nil {
		return 0, 0, err
	}
	header = at + mm.PageSize
	if _, err := s.Map(mm.Request{Addr: header, Fixed: true, Len: mm.PageSize, Prot: mm.Read | mm.Exec, Object: im, Offset: mm.PageSize, Name: "[vdso]"}); err != nil {
		return 0, 0, err
	}
	if im.sigreturn != 0 {
		sigreturn = header + im.sigreturn
	}
	return header, sigreturn, nil
}

// Page implements mm.Object.
func (im *Image) Page(off uint64, _ bool) (uint64, error) {
	i := off >> mm.PageShift
	if i >= uint64(len(im.page)) {
		return 0, mm.ErrBeyondEnd
	}
	im.frames.Ref(im.page[i])
	return im.page[i], nil
}

// Attach implements mm.Object: the image stays without users.
func (im *Image) Attach(*mm.Space) {}

// Detach implements mm.Object.
func (im *Image) Detach(*mm.Space) {}

// Identity implements mm.Object.
func (im *Image) Identity() any { return im }
