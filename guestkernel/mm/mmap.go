package mm

import "golang.org/x/sys/unix"

// Request describes a mapping to make.
type Request struct {
	Addr      uint64 // a hint, or the exact place with Fixed; page aligned unless a hint
	Len       uint64 // bytes, rounded up to pages
	Prot      Prot
	Flags     VMAFlags
	Fixed     bool // MAP_FIXED: replaces what is there
	NoReplace bool // with Fixed: EEXIST if anything is there (MAP_FIXED_NOREPLACE)
	Populate  bool // MAP_POPULATE
	Low       bool // may lie below MinAddr when Fixed (CAP_SYS_RAWIO)
	Object    Object
	Offset    uint64
	Name      string
}

// maxVMAs is vm.max_map_count.
const maxVMAs = 65530

// Map makes a mapping and returns its address (mmap(2)). The caller keeps its own reference
// to r.Object. Errors: EINVAL, ENOMEM, EEXIST, EPERM (below MinAddr).
func (s *Space) Map(r Request) (uint64, error) {
	if r.Len == 0 {
		return 0, unix.EINVAL
	}
	length := pageUp(r.Len)
	if length < r.Len || length > UserTop {
		return 0, unix.ENOMEM
	}
	if r.Object != nil && r.Offset+length < r.Offset {
		return 0, unix.EOVERFLOW
	}
	s.mu.Lock()
	defer s.unlock()
	if err := s.checkAlive(); err != nil {
		return 0, err
	}
	addr := r.Addr
	if r.Fixed {
		switch {
		case addr&pageMask != 0:
			return 0, unix.EINVAL
		case addr > UserTop-length:
			return 0, unix.ENOMEM
		case addr < MinAddr && !r.Low:
			return 0, unix.EPERM
		case r.NoReplace && !s.vmas.free(addr, addr+length):
			return 0, unix.EEXIST
		}
	} else {
		addr = pageDown(addr)
		if addr < MinAddr || addr > UserTop-length || !s.roomAtLocked(addr, addr+length) {
			var ok bool
			if addr, ok = s.findLocked(length); !ok {
				return 0, unix.ENOMEM
			}
		}
	}
	if err := s.lockNewLocked(&r, length); err != nil {
		return 0, err
	}
	replaced := uint64(0)
	if r.Fixed {
		replaced = s.mappedInLocked(addr, addr+length)
	}
	if s.mapped-replaced+length > s.addressLimit || len(s.vmas) >= maxVMAs {
		return 0, unix.ENOMEM
	}
	if r.Fixed {
		s.unmapLocked(addr, addr+length)
	}
	v := &VMA{Start: addr, End: addr + length, Prot: r.Prot, Flags: r.Flags, Object: r.Object, Name: r.Name}
	if r.Object != nil {
		r.Object.Attach(s)
		v.Offset = r.Offset
	}
	s.insertVMA(v)
	s.mapped += length
	if r.Populate {
		s.populateLocked(addr, addr+length)
	}
	return addr, nil
}

// roomAtLocked says whether [start, end) is free and keeps off the guard gap of a stack above.
func (s *Space) roomAtLocked(start, end uint64) bool {
	if !s.vmas.free(start, end) {
		return false
	}
	i := s.vmas.firstFrom(end)
	return i == len(s.vmas) || s.vmas[i].Flags&VMAGrowsDown == 0 || s.vmas[i].Start-end >= stackGuard
}

// findLocked looks for a hole of length bytes: the highest below mmapBase, else the lowest above.
func (s *Space) findLocked(length uint64) (uint64, bool) {
	end := s.mmapBase
	for i := s.vmas.at(end); ; i-- {
		if i < len(s.vmas) && s.vmas[i].Start < end {
			end = s.vmas[i].Start
			if s.vmas[i].Flags&VMAGrowsDown != 0 {
				end = max(end, stackGuard) - stackGuard
			}
		}
		low := uint64(MinAddr)
		if i > 0 {
			low = max(low, s.vmas[i-1].End)
		}
		if end >= low && end-low >= length {
			return end - length, true
		}
		if i == 0 {
			break
		}
	}
	for start, i := s.mmapBase, s.vmas.at(s.mmapBase); ; i++ {
		high := uint64(UserTop)
		if i < len(s.vmas) {
			high = s.vmas[i].Start
			if s.vmas[i].Flags&VMAGrowsDown != 0 {
				high = max(high, stackGuard) - stackGuard
			}
		}
		if high >= start && high-start >= length {
			return start, true
		}
		if i >= len(s.vmas) {
			return 0, false
		}
		start = max(start, s.vmas[i].End)
	}
}

func (s *Space) mappedInLocked(start, end uint64) (n uint64) {
	for i := s.vmas.at(start); i < len(s.vmas) && s.vmas[i].Start < end; i++ {
		n += min(end, s.vmas[i].End) - max(start, s.vmas[i].Start)
	}
	return n
}

func (s *Space) unmapLocked(start, end uint64) {
	s.peakMapped = max(s.peakMapped, s.mapped)
	s.mapped -= s.mappedInLocked(start, end)
	s.dropLocked(start, end)
	s.removeVMAs(start, end)
}

// checkRange validates a page-aligned user range and rounds its length up.
func checkRange(addr, length uint64) (end uint64, err error) {
	if addr&pageMask != 0 {
		return 0, unix.EINVAL
	}
	length = pageUp(length)
	if addr > UserTop || length > UserTop-addr {
		return 0, unix.EINVAL
	}
	return addr + length, nil
}

// Unmap removes all mappings in a range (munmap(2)). Errors: EINVAL, ENOMEM (too many pieces).
func (s *Space) Unmap(addr, length uint64) error {
	if length == 0 || length > UserTop {
		return unix.EINVAL
	}
	end, err := checkRange(addr, length)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.unlock()
	if len(s.vmas) >= maxVMAs {
		return unix.ENOMEM
	}
	s.unmapLocked(addr, end)
	return nil
}

// Protect changes the rights of a range (mprotect(2)). Errors: EINVAL, ENOMEM (a hole; what lies
// before it is changed, as on Linux), EACCES (writing a shared mapping of a file opened read-only).
func (s *Space) Protect(addr, length uint64, prot Prot) error {
	if length > UserTop {
		return unix.ENOMEM
	}
	end, err := checkRange(addr, length)
	if err != nil {
		if addr&pageMask == 0 {
			err = unix.ENOMEM
		}
		return err
	}
	if addr == end {
		return nil
	}
	s.mu.Lock()
	defer s.unlock()
	if len(s.vmas) >= maxVMAs {
		return unix.ENOMEM
	}
	hole := !s.vmas.covered(addr, end)
	if hole { // up to the hole
		i := s.vmas.at(addr)
		stop := addr
		for ; i < len(s.vmas) && s.vmas[i].Start <= stop; i++ {
			stop = s.vmas[i].End
		}
		end = min(stop, end)
	}
	lo, hi := s.carve(addr, end)
	for _, v := range s.vmas[lo:hi] {
		if prot&Write != 0 && v.Flags&VMAReadOnly != 0 {
			s.joinAround(addr, end)
			return unix.EACCES
		}
		if v.Prot == prot {
			continue
		}
		v.Prot = prot
		s.unmapTableLocked(v.Start, v.End)
	}
	s.joinAround(addr, end)
	if hole {
		return unix.ENOMEM
	}
	return nil
}

// Brk moves the end of the heap and returns where it is now; a refused move changes nothing (brk(2)).
// limit is RLIMIT_DATA in bytes.
func (s *Space) Brk(addr, limit uint64) uint64 {
	s.mu.Lock()
	defer s.unlock()
	if s.dead || addr < s.brkStart || addr > UserTop || addr-s.brkStart > limit {
		return s.brk
	}
	oldEnd, newEnd := pageUp(s.brk), pageUp(addr)
	switch {
	case newEnd < oldEnd:
		s.unmapLocked(newEnd, oldEnd)
	case newEnd > oldEnd:
		if !s.roomAtLocked(oldEnd, newEnd) || s.mapped+newEnd-oldEnd > s.addressLimit || len(s.vmas) >= maxVMAs {
			return s.brk
		}
		s.insertVMA(&VMA{Start: oldEnd, End: newEnd, Prot: Read | Write, Flags: VMAHeap})
		s.mapped += newEnd - oldEnd
	}
	s.brk = addr
	return addr
}

// Remap is mremap(2): it resizes the mapping at old, moving it when mayMove, to target when fixed.
// Errors: EINVAL, EFAULT (no mapping there), ENOMEM.
func (s *Space) Remap(old, oldLen, newLen uint64, mayMove, fixed, keep bool, target uint64) (uint64, error) {
	if old&pageMask != 0 || newLen == 0 || (fixed || keep) && !mayMove || oldLen > UserTop || newLen > UserTop {
		return 0, unix.EINVAL
	}
	oldLen, newLen = pageUp(oldLen), pageUp(newLen)
	if old > UserTop-oldLen {
		return 0, unix.EINVAL
	}
	if fixed {
		if target&pageMask != 0 || target > UserTop-newLen || target < old+oldLen && old < target+newLen {
			return 0, unix.EINVAL
		}
		if target < MinAddr {
			return 0, unix.EPERM
		}
	}
	if keep && oldLen != newLen {
		return 0, unix.EINVAL
	}
	s.mu.Lock()
	defer s.unlock()
	v := s.vmas.find(old)
	if v == nil {
		return 0, unix.EFAULT
	}
	if oldLen == 0 && v.Flags&VMAShared == 0 {
		return 0, unix.EINVAL
	}
	if old+oldLen > v.End {
		return 0, unix.EFAULT
	}
	if keep && (v.Object != nil || v.Flags&VMAShared != 0) {
		return 0, unix.EINVAL
	}
	if v.Object != nil && v.offsetOf(old)+newLen < newLen {
		return 0, unix.EINVAL
	}
	if newLen > oldLen && s.mapped+newLen-oldLen > s.addressLimit {
		return 0, unix.ENOMEM
	}
	if !fixed && !keep && oldLen != 0 {
		if newLen <= oldLen {
			if newLen < oldLen {
				s.unmapLocked(old+newLen, old+oldLen)
			}
			return old, nil
		}
		if old+oldLen == v.End && old+newLen <= UserTop && s.roomAtLocked(v.End, old+newLen) {
			s.mapped += old + newLen - v.End
			v.End = old + newLen
			s.joinAround(v.End, v.End)
			return old, nil
		}
		if !mayMove {
			return 0, unix.ENOMEM
		}
	}
	if fixed {
		s.unmapLocked(target, target+newLen)
		if newLen < oldLen {
			s.unmapLocked(old+newLen, old+oldLen)
			oldLen = newLen
		}
		v = s.vmas.find(old)
	} else {
		var ok bool
		if target, ok = s.findLocked(newLen); !ok {
			return 0, unix.ENOMEM
		}
	}
	s.moveLocked(v, old, oldLen, target, newLen, keep)
	return target, nil
}

// moveLocked makes a mapping like v at target and takes the pages of [old, old+oldLen) there.
func (s *Space) moveLocked(v *VMA, old, oldLen, target, newLen uint64, keep bool) {
	w := *v
	w.Start, w.End = target, target+newLen
	if w.Object != nil {
		w.Object.Attach(s)
		w.Offset = v.offsetOf(old)
	}
	type move struct {
		va uint64
		e  pte
	}
	var moves []move
	s.pages.each(old, old+oldLen, func(va uint64, e *pte) { moves = append(moves, move{va, *e}) })
	if oldLen > 0 {
		s.unmapTableLocked(old, old+oldLen)
	}
	for _, m := range moves {
		s.pages.set(m.va, 0)
		s.pages.set(target+(m.va-old), m.e&^(pteMapped|pteWritable))
	}
	if oldLen > 0 && !keep {
		s.mapped -= oldLen
		s.removeVMAs(old, old+oldLen)
	}
	s.mapped += newLen
	s.insertVMA(&w)
}
