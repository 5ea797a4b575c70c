package mm

import (
	"sync"
)

// sharedMemory is the object behind MAP_SHARED|MAP_ANONYMOUS.
type sharedMemory struct {
	frames Frames
	pages  uint64 // size

	mu    sync.Mutex
	users int
	frame map[uint64]uint64 // page index to GPA; one reference each
}

// NewShared returns zeroed memory of n bytes that forked address spaces share. It holds its
// frames while a mapping exists.
func (m *Memory) NewShared(n uint64) Object {
	return &sharedMemory{frames: m.hw, pages: pageUp(n) >> PageShift, frame: make(map[uint64]uint64)}
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

func (o *sharedMemory) Attach(*Space) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.users++
}

func (o *sharedMemory) Detach(*Space) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	for _, phys := range o.frame {
		o.frames.Unref(phys)
	}
	clear(o.frame)
}

func (o *sharedMemory) Identity() any { return o }
