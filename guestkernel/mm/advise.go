package mm

import "golang.org/x/sys/unix"

// Advise is madvise(2). Errors: EINVAL, ENOMEM (a hole; the rest is done, as on Linux).
func (s *Space) Advise(addr, length uint64, advice int) error {
	if length > UserTop {
		return unix.EINVAL
	}
	end, err := checkRange(addr, length)
	if err != nil {
		return err
	}
	switch advice {
	case unix.MADV_NORMAL, unix.MADV_RANDOM, unix.MADV_SEQUENTIAL, unix.MADV_WILLNEED, unix.MADV_DONTNEED, unix.MADV_FREE,
		unix.MADV_DONTFORK, unix.MADV_DOFORK, unix.MADV_WIPEONFORK, unix.MADV_KEEPONFORK, unix.MADV_DONTDUMP, unix.MADV_DODUMP,
		unix.MADV_COLD, unix.MADV_PAGEOUT, unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE,
		unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE, unix.MADV_MERGEABLE, unix.MADV_UNMERGEABLE:
	default:
		return unix.EINVAL
	}
	if addr == end {
		return nil
	}
	s.mu.Lock()
	defer s.unlock()
	var set, clear VMAFlags
	switch advice {
	case unix.MADV_DONTNEED, unix.MADV_FREE:
		for i := s.vmas.at(addr); i < len(s.vmas) && s.vmas[i].Start < end; i++ {
			v := s.vmas[i]
			if v.Flags&VMALocked != 0 || advice == unix.MADV_FREE && (v.Object != nil || v.Flags&VMAShared != 0) {
				return unix.EINVAL
			}
			s.dropLocked(max(addr, v.Start), min(end, v.End))
		}
	case unix.MADV_POPULATE_READ, unix.MADV_POPULATE_WRITE:
		access := Read
		if advice == unix.MADV_POPULATE_WRITE {
			access = Write
		}
		for va := addr; va < end; va += PageSize {
			v := s.vmas.find(va)
			if v == nil {
				return unix.ENOMEM
			}
			if access&^v.Prot.effective() != 0 {
				return unix.EFAULT
			}
			if _, f := s.faultLocked(v, va, access); f != nil {
				return unix.EFAULT
			}
		}
	case unix.MADV_DONTFORK:
		set = VMADontFork
	case unix.MADV_DOFORK:
		clear = VMADontFork
	case unix.MADV_WIPEONFORK:
		set = VMAWipeOnFork
	case unix.MADV_KEEPONFORK:
		clear = VMAWipeOnFork
	}
	if set|clear != 0 {
		lo, hi := s.carve(addr, end)
		for _, v := range s.vmas[lo:hi] {
			if set == VMAWipeOnFork && (v.Object != nil || v.Flags&VMAShared != 0) {
				s.joinAround(addr, end)
				return unix.EINVAL
			}
			v.Flags = v.Flags&^clear | set
		}
		s.joinAround(addr, end)
	}
	if !s.vmas.covered(addr, end) {
		return unix.ENOMEM
	}
	return nil
}

// Remove is madvise(MADV_REMOVE): it frees the memory or file space behind shared mappings. Errors: EINVAL (private, anonymous or locked),
// ENOMEM (a hole), EACCES (read-only), EOPNOTSUPP. Objects are told the caller.
func (s *Space) Remove(caller any, addr, length uint64) error {
	if length > UserTop {
		return unix.EINVAL
	}
	end, err := checkRange(addr, length)
	if err != nil {
		return err
	}
	for addr < end {
		s.mu.Lock()
		v := s.vmas.find(addr)
		if v == nil {
			s.unlock()
			return unix.ENOMEM
		}
		object, off, stop, flags := v.Object, v.offsetOf(addr), min(end, v.End), v.Flags
		if object != nil {
			object.Attach(s)
		}
		s.unlock()
		switch p, ok := object.(Puncher); {
		case object == nil || flags&VMAShared == 0 || flags&VMALocked != 0:
			err = unix.EINVAL
		case flags&VMAReadOnly != 0:
			err = unix.EACCES
		case !ok:
			err = unix.EOPNOTSUPP
		default:
			err = p.Punch(caller, off, stop-addr)
		}
		if object != nil {
			object.Detach(s)
		}
		if err != nil {
			return err
		}
		addr = stop
	}
	return nil
}

// Resident reports for each page of a range whether it is in memory (mincore(2)). The answer is a byte a page: callers
// bound length. Errors: EINVAL, ENOMEM.
func (s *Space) Resident(addr, length uint64) ([]byte, error) {
	if length > UserTop {
		return nil, unix.ENOMEM
	}
	end, err := checkRange(addr, length)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.unlock()
	if !s.vmas.covered(addr, end) {
		return nil, unix.ENOMEM
	}
	out := make([]byte, (end-addr)>>PageShift)
	s.pages.each(addr, end, func(va uint64, _ *pte) { out[(va-addr)>>PageShift] = 1 })
	return out, nil
}

// ResidentSize is how many bytes of a range are in memory.
func (s *Space) ResidentSize(start, end uint64) (n uint64) {
	s.mu.Lock()
	defer s.unlock()
	s.pages.each(start, end, func(uint64, *pte) { n += PageSize })
	return n
}

// Covered says whether the whole range is mapped (msync(2) answers ENOMEM otherwise).
func (s *Space) Covered(addr, length uint64) bool {
	end, err := checkRange(pageDown(addr), length+addr&pageMask)
	if err != nil {
		return false
	}
	s.mu.Lock()
	defer s.unlock()
	return s.vmas.covered(pageDown(addr), end)
}

// populateLocked faults pages in; failures are left to the access itself.
func (s *Space) populateLocked(start, end uint64) {
	for i := s.vmas.at(start); i < len(s.vmas) && s.vmas[i].Start < end; i++ {
		v := s.vmas[i]
		if v.Prot == 0 {
			continue
		}
		access := Read
		if v.Prot&Write != 0 && v.Flags&VMAShared == 0 {
			access = Write
		}
		for va := max(start, v.Start); va < min(end, v.End); va += PageSize {
			if _, f := s.faultLocked(v, va, access); f != nil {
				return
			}
		}
	}
}
