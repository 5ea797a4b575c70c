package mm

import "golang.org/x/sys/unix"

// Locked memory (mlock(2)) is memory that counts: nothing here is ever swapped out. limit is RLIMIT_MEMLOCK in bytes, ^0 for whoever may lock all.

// lockedLocked is the number of locked bytes in a range.
func (s *Space) lockedLocked(start, end uint64) (n uint64) {
	for i := s.vmas.at(start); i < len(s.vmas) && s.vmas[i].Start < end; i++ {
		if v := s.vmas[i]; v.Flags&VMALocked != 0 {
			n += min(end, v.End) - max(start, v.Start)
		}
	}
	return n
}

// Locked is the number of locked bytes, for /proc/PID/status.
func (s *Space) Locked() uint64 {
	s.mu.Lock()
	defer s.unlock()
	return s.lockedLocked(0, UserTop)
}

// Lock sets or clears the locked flag of a range, and pages it in unless that is left to faults (mlock2(2), munlock(2)). Errors: EINVAL, ENOMEM (a hole, or
// beyond the limit).
func (s *Space) Lock(addr, length uint64, on, onFault bool, limit uint64) error {
	if length > UserTop {
		return unix.EINVAL
	}
	start := pageDown(addr)
	end, err := checkRange(start, length+addr&pageMask)
	if err != nil {
		return unix.ENOMEM
	}
	if start == end {
		return nil
	}
	s.mu.Lock()
	defer s.unlock()
	if on && s.lockedLocked(0, UserTop)-s.lockedLocked(start, end)+end-start > limit {
		return unix.ENOMEM
	}
	// What lies before a hole is changed, as on Linux.
	hole := !s.vmas.covered(start, end)
	if hole {
		stop := start
		for i := s.vmas.at(start); i < len(s.vmas) && s.vmas[i].Start <= stop; i++ {
			stop = s.vmas[i].End
		}
		end = min(end, stop)
	}
	if start < end {
		s.flagLocked(start, end, on)
		if on && !onFault {
			s.populateLocked(start, end)
		}
		s.joinAround(start, end)
	}
	if hole {
		return unix.ENOMEM
	}
	return nil
}

func (s *Space) flagLocked(start, end uint64, on bool) {
	lo, hi := s.carve(start, end)
	for _, v := range s.vmas[lo:hi] {
		v.Flags &^= VMALocked
		if on {
			v.Flags |= VMALocked
		}
	}
}

// LockAll is mlockall(2): what is there now, and what will be mapped. The error is ENOMEM: beyond the limit.
func (s *Space) LockAll(current, future, onFault bool, limit uint64) error {
	s.mu.Lock()
	defer s.unlock()
	if current && s.mapped > limit {
		return unix.ENOMEM
	}
	s.lockFuture, s.lockOnFault = future, onFault
	if current {
		s.flagLocked(0, UserTop, true)
		if !onFault {
			s.populateLocked(0, UserTop)
		}
		s.joinAround(0, UserTop)
	}
	return nil
}

// UnlockAll is munlockall(2).
func (s *Space) UnlockAll() {
	s.mu.Lock()
	defer s.unlock()
	s.lockFuture = false
	s.flagLocked(0, UserTop, false)
	s.joinAround(0, UserTop)
}

// SetLockLimit sets the limit for mappings that are locked when they are made.
func (s *Space) SetLockLimit(limit uint64) {
	s.mu.Lock()
	defer s.unlock()
	s.lockLimit = limit
}

// lockNewLocked applies mlockall's future part to a request. The error is EAGAIN: beyond the limit.
func (s *Space) lockNewLocked(r *Request, length uint64) error {
	if s.lockFuture {
		r.Flags |= VMALocked
		r.Populate = r.Populate || !s.lockOnFault
	}
	if r.Flags&VMALocked != 0 && s.lockedLocked(0, UserTop)+length > s.lockLimit {
		return unix.EAGAIN
	}
	return nil
}
