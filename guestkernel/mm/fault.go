package mm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Fault says why an access is not allowed: the signal to raise, its si_code and the address.
type Fault struct {
	Signal unix.Signal
	Code   int32
	Addr   uint64
}

func (f *Fault) Error() string {
	return fmt.Sprintf("%v (code %d) at %#x", f.Signal, f.Code, f.Addr)
}

// si_code values of SIGSEGV and SIGBUS (sigaction(2)).
const (
	codeMapErr = 1 // SEGV_MAPERR
	codeAccErr = 2 // SEGV_ACCERR
	codeAdrErr = 2 // BUS_ADRERR
)

// aroundPages is how many pages one fault may bring in: an aligned window around the address.
const aroundPages = 16

// HandleFault resolves a page fault of user mode at addr; nil means that the instruction can be
// run again. Any goroutine that does not hold the space may call it.
func (s *Space) HandleFault(addr uint64, access Prot) *Fault {
	s.mu.Lock()
	defer s.unlock()
	s.faults++
	v, f := s.accessibleLocked(addr, access)
	if f != nil {
		return f
	}
	va := pageDown(addr)
	if _, f := s.faultLocked(v, va, access); f != nil {
		f.Addr = addr
		return f
	}
	s.enterAroundLocked(v, va)
	return nil
}

// accessibleLocked finds the VMA of addr, growing a stack, and checks the rights.
func (s *Space) accessibleLocked(addr uint64, access Prot) (*VMA, *Fault) {
	if s.dead || addr >= UserTop {
		return nil, &Fault{unix.SIGSEGV, codeMapErr, addr}
	}
	v := s.vmas.find(addr)
	if v == nil {
		if v = s.growLocked(addr); v == nil {
			return nil, &Fault{unix.SIGSEGV, codeMapErr, addr}
		}
	}
	if access&^v.Prot.effective() != 0 {
		return nil, &Fault{unix.SIGSEGV, codeAccErr, addr}
	}
	return v, nil
}

// growLocked extends the stack above addr down to it (expand_stack).
func (s *Space) growLocked(addr uint64) *VMA {
	i := s.vmas.firstFrom(addr)
	if i == len(s.vmas) || s.vmas[i].Flags&VMAGrowsDown == 0 || addr < MinAddr {
		return nil
	}
	v := s.vmas[i]
	start := pageDown(addr)
	if v.End-start > s.stackLimit || s.mapped+v.Start-start > s.addressLimit {
		return nil
	}
	if i > 0 {
		below := s.vmas[i-1]
		if below.Flags&VMAGrowsDown == 0 && below.Prot != 0 && start < below.End+stackGuard {
			return nil
		}
	}
	s.mapped += v.Start - start
	v.Start = start
	return v
}

// faultLocked makes the page at va (page aligned, inside v, access allowed) present with the
// rights that access needs, in page map and page table, and returns its entry.
func (s *Space) faultLocked(v *VMA, va uint64, access Prot) (pte, *Fault) {
	e := s.pages.get(va)
	write := access&Write != 0
	if e != 0 && e&pteMapped != 0 && (!write || e&pteWritable != 0) {
		// Somebody else was faster, or this CPU has the translation of before.
		s.table.Flush(va, va+PageSize)
		return e, nil
	}
	if s.mem.mapsFull(1) && s.pages.chunkOf(va) == nil {
		return 0, s.outOfMemory(va)
	}
	private := v.Flags&VMAShared == 0
	var stale pte // entry replaced by a copy: its frame is dropped when the new one is entered, which flushes
	switch {
	case e == 0 && v.Object == nil && write:
		phys, err := s.mem.hw.Alloc()
		if err != nil {
			return 0, s.outOfMemory(va)
		}
		e = pte(phys) | ptePresent
	case e == 0 && v.Object == nil:
		s.mem.hw.Ref(s.mem.zero)
		e = pte(s.mem.zero) | ptePresent | pteShared
	case e == 0:
		phys, err := v.Object.Page(v.offsetOf(va), write && !private)
		switch {
		case err == ErrBeyondEnd:
			return 0, &Fault{unix.SIGBUS, codeAdrErr, va}
		case err == unix.ENOMEM:
			return 0, s.outOfMemory(va)
		case err != nil:
			return 0, &Fault{unix.SIGBUS, codeAdrErr, va}
		}
		e = pte(phys) | ptePresent | pteShared
	}
	if e != 0 && s.pages.get(va) != 0 && write && !private && v.Object != nil {
		// The object learns of the first store; a hole may get a frame of its own now.
		phys, err := v.Object.Page(v.offsetOf(va), true)
		switch {
		case err == unix.ENOMEM:
			return 0, s.outOfMemory(va)
		case err != nil:
			return 0, &Fault{unix.SIGBUS, codeAdrErr, va}
		}
		stale = e
		e = pte(phys) | ptePresent | pteShared
	}
	if write && private && (e&pteShared != 0 || s.mem.hw.RefCount(e.phys()) > 1) {
		phys, err := s.mem.hw.Alloc()
		if err != nil {
			if s.pages.get(va) == 0 {
				s.mem.hw.Unref(e.phys())
			}
			return 0, s.outOfMemory(va)
		}
		if e.phys() != s.mem.zero {
			copy(s.mem.hw.Bytes(phys), s.mem.hw.Bytes(e.phys()))
		}
		stale = e
		e = pte(phys) | ptePresent
	}
	rights := v.Prot.effective()
	// A page that a write would have to copy first, or that a shared mapping has not been
	// told about, is entered read-only.
	writable := rights&Write != 0 && (write || private && e&pteShared == 0 && s.mem.hw.RefCount(e.phys()) == 1)
	if !writable {
		rights &^= Write
	}
	if err := s.table.Map(va, e.phys(), rights); err != nil {
		if stale != 0 {
			s.mem.hw.Unref(e.phys())
			e = stale
		}
		if s.pages.get(va) == 0 {
			s.mem.hw.Unref(e.phys())
		}
		return 0, s.outOfMemory(va)
	}
	e &^= pteWritable
	e |= pteMapped
	if writable {
		e |= pteWritable
	}
	s.pages.set(va, e)
	if stale != 0 {
		s.mem.hw.Unref(stale.phys())
	}
	return e, nil
}

// outOfMemory ends the program that needed the frame, as Linux's OOM killer would.
func (s *Space) outOfMemory(va uint64) *Fault { return &Fault{unix.SIGKILL, 0, va} }

// enterAroundLocked enters neighbours of va that cost nothing: pages of the page map that the
// page table does not have (after fork and mprotect) and pages of a file that is mapped.
func (s *Space) enterAroundLocked(v *VMA, va uint64) {
	start := max(v.Start, va&^(aroundPages*PageSize-1))
	end := min(v.End, va&^(aroundPages*PageSize-1)+aroundPages*PageSize)
	for p := start; p < end; p += PageSize {
		e := s.pages.get(p)
		if e&pteMapped != 0 || e == 0 && (v.Object == nil || v.Flags&VMAShared != 0) {
			continue
		}
		if _, f := s.faultLocked(v, p, Read); f != nil {
			return
		}
	}
}
