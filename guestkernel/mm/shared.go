package mm

import (
	"sync"
)

// sharedMemory is the object behind MAP_SHARED|MAP_ANONYMOUS.
type sharedMemory struct {
	frames Frames
	pages  uint64 // size

	mu     sync.Mutex
	users  int
	spaces map[*Space]int    // that map it
	frame  map[uint64]uint64 // page index to GPA; one reference each
}

// NewShared returns zeroed memory of n bytes that forked address spaces share. It holds its
// frames while a mapping exists.
func (m *Memory) NewShared(n uint64) Object {
	return &sharedMemory{frames: m.hw, pages: pageUp(n) >> PageShift, frame: make(map[uint64]uint64), spaces: make(map[*Space]int)}
}

func (o *sharedMemory) Page(off uint64, _ bool) (uint64, error) {
	index := off >> PageShift
	if index >= o.pages {
		return 0, ErrBeyondEnd
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	phys, ok := o.frame[index]
	if !ok {
		var err error
		if phys, err = o.frames.Alloc(); err != nil {
			return 0, err
		}
		o.frame[index] = phys
	}
	o.frames.Ref(phys)
	return phys, nil
}

func (o *sharedMemory) Attach(s *Space) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.users++
	o.spaces[s]++
}

func (o *sharedMemory) Detach(s *Space) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.spaces[s]--; o.spaces[s] == 0 {
		delete(o.spaces, s)
	}
	if o.users--; o.users > 0 {
		return
	}
	for _, phys := range o.frame {
		o.frames.Unref(phys)
	}
	clear(o.frame)
}

func (o *sharedMemory) Identity() any { return o }

// Punch implements Puncher: the range reads as zero afterwards.
func (o *sharedMemory) Punch(_ any, off, length uint64) error {
	o.mu.Lock()
	var gone []uint64
	for i := off >> PageShift; i < (off+length)>>PageShift; i++ {
		if phys, ok := o.frame[i]; ok {
			gone = append(gone, phys)
			delete(o.frame, i)
		}
	}
	spaces := make([]*Space, 0, len(o.spaces))
	for s := range o.spaces {
		if s != nil { // somebody who only keeps the frames
			spaces = append(spaces, s)
		}
	}
	o.mu.Unlock()
	for _, s := range spaces {
		s.Invalidate(o, off, length, false)
	}
	for _, phys := range gone {
		o.frames.Unref(phys)
	}
	return nil
}
