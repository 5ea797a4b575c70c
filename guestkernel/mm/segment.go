package mm

import "golang.org/x/sys/unix"

// Owner is the number of the process that runs in the space, 0 when nobody has said.
func (s *Space) Owner() int {
	if s == nil {
		return 0
	}
	return int(s.owner.Load())
}

// SetOwner sets it: at fork and execve.
func (s *Space) SetOwner(pid int) { s.owner.Store(int32(pid)) }

// UnmapObject unmaps what was mapped from addr on as one object (shmdt(2)): is answers the object's size in bytes if it is of the kind that is meant.
// Pieces of the mapping that are elsewhere now stay. The error is EINVAL.
func (s *Space) UnmapObject(addr uint64, is func(Object) (size uint64, ok bool)) error {
	if addr >= UserTop {
		return unix.EINVAL
	}
	s.mu.Lock()
	defer s.unlock()
	var object Object
	end := uint64(UserTop)
	for i := s.vmas.at(addr); i < len(s.vmas) && s.vmas[i].Start < end; {
		v := s.vmas[i]
		if v.Object == nil || v.Start-addr != v.Offset || object != nil && v.Object != object {
			i++
			continue
		}
		if object == nil {
			size, ok := is(v.Object)
			if !ok {
				i++
				continue
			}
			object, end = v.Object, min(addr+pageUp(size), UserTop)
		}
		s.unmapLocked(v.Start, v.End)
	}
	if object == nil {
		return unix.EINVAL
	}
	return nil
}

// Resident is the number of bytes of the memory that have frames.
func (o *sharedMemory) Resident() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return uint64(len(o.frame)) * PageSize
}
