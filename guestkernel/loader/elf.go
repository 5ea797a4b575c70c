package loader

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/mm"
)

// What is used of elf(5).
const (
	ehdrSize = 64
	phdrSize = 56
	etExec   = 2
	etDyn    = 3
	ptLoad   = 1
	ptInterp = 3
	ptPhdr   = 6
	ptStack  = 0x6474e551
	pfX      = 1
	pfW      = 2
	pfR      = 4

	maxPhdrBytes = 64 << 10

	// dynBase is where position-independent programs go (ELF_ET_DYN_BASE).
	dynBase      = mm.UserTop / 3 * 2 &^ (mm.PageSize - 1)
	dynRandPages = 1 << 28
)

type phdr struct {
	kind, flags                      uint32
	off, vaddr, filesz, memsz, align uint64
}

func (p *phdr) prot() (prot mm.Prot) {
	if p.flags&pfR != 0 {
		prot |= mm.Read
	}
	if p.flags&pfW != 0 {
		prot |= mm.Write
	}
	if p.flags&pfX != 0 {
		prot |= mm.Exec
	}
	return prot
}

// executable is a checked ELF file.
type executable struct {
	dyn        bool
	entry      uint64
	phoff      uint64
	phdrs      []phdr
	loads      []phdr
	interp     string
	execStack  bool
	start, end uint64 // of the loaded range, before bias; start is page aligned
	align      uint64
}

// parseELF reads and checks the headers. Errors: ENOEXEC, EIO, ENOMEM (addresses out of user space), EINVAL
// (offset and address disagree).
func parseELF(f File, machine uint16) (*executable, error) {
	var eh [ehdrSize]byte
	n, err := f.ReadAt(eh[:], 0)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if n < ehdrSize || string(eh[:4]) != "\x7fELF" || eh[4] != 2 || eh[5] != 1 || le.Uint16(eh[18:]) != machine {
		return nil, unix.ENOEXEC
	}
	x := &executable{entry: le.Uint64(eh[24:]), phoff: le.Uint64(eh[32:])}
	switch le.Uint16(eh[16:]) {
	case etExec:
	case etDyn:
		x.dyn = true
	default:
		return nil, unix.ENOEXEC
	}
	phnum := int(le.Uint16(eh[56:]))
	if le.Uint16(eh[54:]) != phdrSize || phnum == 0 || phnum*phdrSize > maxPhdrBytes || x.phoff > 1<<62 {
		return nil, unix.ENOEXEC
	}
	raw := make([]byte, phnum*phdrSize)
	if n, err := f.ReadAt(raw, int64(x.phoff)); err != nil || n < len(raw) {
		return nil, unix.ENOEXEC
	}
	for i := range phnum {
		b := raw[i*phdrSize:]
		p := phdr{
			kind: le.Uint32(b), flags: le.Uint32(b[4:]), off: le.Uint64(b[8:]), vaddr: le.Uint64(b[16:]),
			filesz: le.Uint64(b[32:]), memsz: le.Uint64(b[40:]), align: le.Uint64(b[48:]),
		}
		x.phdrs = append(x.phdrs, p)
		switch p.kind {
		case ptStack:
			x.execStack = p.flags&pfX != 0
		case ptInterp:
			if x.interp != "" {
				continue // the first counts
			}
			if x.interp, err = readInterp(f, p); err != nil {
				return nil, err
			}
		case ptLoad:
			if p.memsz == 0 {
				continue
			}
			if err := p.check(); err != nil {
				return nil, err
			}
			x.loads = append(x.loads, p)
		}
	}
	return x, x.measure()
}

// check validates one PT_LOAD.
func (p *phdr) check() error {
	const mask = mm.PageSize - 1
	switch {
	case p.filesz > p.memsz:
		return unix.EINVAL
	case p.vaddr >= mm.UserTop || p.memsz > mm.UserTop-p.vaddr:
		return unix.ENOMEM
	case p.off > 1<<62 || p.filesz > 1<<62 || p.off&mask != p.vaddr&mask:
		return unix.EINVAL
	}
	return nil
}

// measure finds the extent of the loaded segments.
func (x *executable) measure() error {
	if len(x.loads) == 0 {
		return unix.ENOEXEC
	}
	x.start, x.align = ^uint64(0), mm.PageSize
	for i, p := range x.loads {
		if i > 0 && p.vaddr < x.loads[i-1].vaddr {
			return unix.ENOEXEC // the standard asks for ascending order
		}
		x.start = min(x.start, p.vaddr&^(mm.PageSize-1))
		x.end = max(x.end, p.vaddr+p.memsz)
		if a := p.align; a&(a-1) == 0 && a > x.align && a <= 1<<30 {
			x.align = a
		}
	}
	return nil
}

func readInterp(f File, p phdr) (string, error) {
	if p.filesz < 2 || p.filesz > unix.PathMax || p.off > 1<<62 {
		return "", unix.ENOEXEC
	}
	b := make([]byte, p.filesz)
	if n, err := f.ReadAt(b, int64(p.off)); err != nil || n < len(b) {
		return "", unix.EIO
	}
	if b[len(b)-1] != 0 {
		return "", unix.ENOEXEC
	}
	name, _, _ := strings.Cut(string(b), "\x00")
	if name == "" {
		return "", unix.ENOENT
	}
	return name, nil
}

// place picks the load bias: 0 for a program with fixed addresses, a random place above dynBase for a position-independent
// one, a place among the mappings for an interpreter (random is nil).
func (x *executable) place(space *mm.Space, random mm.Random) (bias uint64, err error) {
	if !x.dyn {
		return 0, nil
	}
	size := x.end - x.start + x.align
	if random != nil {
		base := dynBase + random()%dynRandPages*mm.PageSize
		base = base &^ (x.align - 1)
		if base+size < mm.UserTop-(1<<38) {
			return base - x.start, nil
		}
	}
	// Find room, then give it back: nobody else maps in this space.
	addr, err := space.Map(mm.Request{Len: size})
	if err != nil {
		return 0, err
	}
	if err := space.Unmap(addr, size); err != nil {
		return 0, err
	}
	return (addr+x.align-1)&^(x.align-1) - x.start, nil
}

// mapInto maps the segments at bias. Errors: ENOMEM, EEXIST (segments that overlap), EIO.
func (x *executable) mapInto(space *mm.Space, f File, bias uint64, name string) error {
	object := f.Object()
	if f, ok := f.(interface{ Name() string }); ok {
		name = f.Name() // without symbolic links: what /proc/PID/maps shows
	}
	for i := range x.loads {
		p := &x.loads[i]
		start := (p.vaddr + bias) &^ (mm.PageSize - 1)
		skew := p.vaddr & (mm.PageSize - 1)
		fileEnd := p.vaddr + bias + p.filesz
		filePages := (fileEnd + mm.PageSize - 1) &^ (mm.PageSize - 1)
		memEnd := (p.vaddr + bias + p.memsz + mm.PageSize - 1) &^ (mm.PageSize - 1)
		r := mm.Request{Addr: start, Prot: p.prot(), Fixed: true, NoReplace: i > 0, Name: name}
		if p.filesz > 0 {
			r.Len = filePages - start
			if object != nil {
				r.Object, r.Offset = object, p.off-skew
			} else {
				r.Prot |= mm.Write
			}
			if _, err := space.Map(r); err != nil {
				return err
			}
			if object == nil {
				if err := copySegment(space, f, p, bias); err != nil {
					return err
				}
				if err := space.Protect(start, r.Len, p.prot()); err != nil {
					return err
				}
			}
		} else {
			filePages = start
		}
		if memEnd > filePages {
			if _, err := space.Map(mm.Request{Addr: filePages, Len: memEnd - filePages, Prot: p.prot(), Fixed: true, NoReplace: true}); err != nil {
				return err
			}
		}
		if p.filesz > 0 && p.memsz > p.filesz && fileEnd < filePages {
			// Only a writable segment has a .bss that matters (padzero).
			if err := space.Zero(fileEnd, int(filePages-fileEnd)); err != nil && p.flags&pfW != 0 {
				return err
			}
		}
	}
	return nil
}

// copySegment fills a segment of a file that cannot be mapped.
func copySegment(space *mm.Space, f File, p *phdr, bias uint64) error {
	buf := make([]byte, 64<<10)
	for done := uint64(0); done < p.filesz; {
		n, err := f.ReadAt(buf[:min(uint64(len(buf)), p.filesz-done)], int64(p.off+done))
		if err != nil {
			return err
		}
		if n == 0 {
			return nil // behind the end of the file: zero here, SIGBUS on Linux
		}
		if _, err := space.CopyOut(p.vaddr+bias+done, buf[:n]); err != nil {
			return unix.ENOMEM
		}
		done += uint64(n)
	}
	return nil
}

// phdrAddr is where the program headers are in memory (AT_PHDR), 0 if no segment holds them.
func (x *executable) phdrAddr(bias uint64) uint64 {
	for _, p := range x.phdrs {
		if p.kind == ptPhdr {
			return p.vaddr + bias
		}
	}
	for _, p := range x.loads {
		if p.off <= x.phoff && x.phoff < p.off+p.filesz {
			return x.phoff - p.off + p.vaddr + bias
		}
	}
	return 0
}

// image describes the program for /proc and prctl.
func (x *executable) image(bias uint64) mm.Image {
	img := mm.Image{CodeStart: ^uint64(0)}
	for _, p := range x.loads {
		start, end := p.vaddr+bias, p.vaddr+bias+p.filesz
		if start < img.CodeStart {
			img.CodeStart = start
		}
		if p.flags&pfX != 0 && end > img.CodeEnd {
			img.CodeEnd = end
		}
		if start > img.DataStart {
			img.DataStart = start
		}
		if end > img.DataEnd {
			img.DataEnd = end
		}
	}
	return img
}

// loadInterpreter maps the program's ELF interpreter and answers its entry point and base.
func loadInterpreter(space *mm.Space, interp, program string, open Opener, hw Hardware) (entry, base uint64, err error) {
	f, err := open(interp)
	if err != nil {
		return 0, 0, &ErrNoInterpreter{program, interp, err}
	}
	defer f.Close()
	x, err := parseELF(f, hw.Machine)
	if err != nil {
		if err == unix.ENOEXEC {
			err = unix.ELIBBAD
		}
		return 0, 0, &ErrNoInterpreter{program, interp, err}
	}
	bias, err := x.place(space, nil)
	if err != nil {
		return 0, 0, err
	}
	if err := x.mapInto(space, f, bias, interp); err != nil {
		return 0, 0, err
	}
	return x.entry + bias, x.start + bias, nil
}
