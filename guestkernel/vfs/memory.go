package vfs

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// PageSize is the size in bytes of a page of file contents and of the frames that hold it, on both architectures.
const PageSize = 4096

// Frames is physical memory as file contents see it. The memory manager gives the machine's; tests use [NewHeapFrames].
// All methods may be called from any goroutine.
type Frames interface {
	// Alloc answers the physical address of a zeroed frame with one reference: ENOMEM when there is none.
	Alloc() (phys uint64, err error)
	// Ref adds a reference.
	Ref(phys uint64)
	// Unref drops a reference; the last one frees the frame.
	Unref(phys uint64)
	// Bytes is the frame's memory: PageSize bytes, valid while the caller holds a reference.
	Bytes(phys uint64) []byte
}

// Mappable is file contents that an address space can map. Two mappables are the same memory exactly when they are equal.
type Mappable interface {
	// MapPage answers the frame that holds page index of the file, with a reference that the caller drops with Unref. write says that
	// it will be mapped writable and shared. A page past the end of the file is ErrPastEnd (SIGBUS), no memory ENOMEM. It may be
	// called with an address space locked, and takes no lock that is held while a Buffer is copied.
	MapPage(index uint64, write bool) (phys uint64, err error)
	// Attach enters m, to be told when pages go away; each Attach needs a Detach. An address space may be locked.
	Attach(m Mapping)
	Detach(m Mapping)
}

// Mapping is an address space's side of a mapped file. Values are compared.
type Mapping interface {
	// Invalidate drops every translation to count pages of the file from page first on, and flushes them from all CPUs before it
	// returns. copies says that what private mappings made of them goes too: the file was truncated, and not only a hole punched into
	// it. No lock is held that MapPage or Attach take.
	Invalidate(file Mappable, first, count uint64, copies bool)
}

// ErrPastEnd is MapPage's answer for a page that lies wholly past the end of the file.
var ErrPastEnd error = unix.Errno(602)

// HeapFrames are frames in the Go heap, for tests and for running without a machine.
type HeapFrames struct {
	mu     sync.Mutex
	frames map[uint64]*heapFrame
	free   []*heapFrame
	limit  int
	next   uint64
}

type heapFrame struct {
	data [PageSize]byte
	refs atomic.Int32
}

// NewHeapFrames answers an allocator of at most limit frames.
func NewHeapFrames(limit int) *HeapFrames {
	return &HeapFrames{frames: make(map[uint64]*heapFrame), limit: limit, next: PageSize}
}

// InUse is the number of frames that have references.
func (h *HeapFrames) InUse() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.frames)
}

// Alloc implements Frames; the physical addresses are made up.
func (h *HeapFrames) Alloc() (uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.frames) >= h.limit {
		return 0, unix.ENOMEM
	}
	var f *heapFrame
	if n := len(h.free); n > 0 {
		f, h.free = h.free[n-1], h.free[:n-1]
		clear(f.data[:])
	} else {
		f = new(heapFrame)
	}
	f.refs.Store(1)
	phys := h.next
	h.next += PageSize
	h.frames[phys] = f
	return phys, nil
}

func (h *HeapFrames) frame(phys uint64) *heapFrame {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.frames[phys]
	if f == nil {
		panic("vfs: use of a frame that is free")
	}
	return f
}

// Ref implements Frames.
func (h *HeapFrames) Ref(phys uint64) { h.frame(phys).refs.Add(1) }

// Unref implements Frames.
func (h *HeapFrames) Unref(phys uint64) {
	f := h.frame(phys)
	if f.refs.Add(-1) == 0 {
		h.mu.Lock()
		delete(h.frames, phys)
		h.free = append(h.free, f)
		h.mu.Unlock()
	}
}

// Bytes implements Frames.
func (h *HeapFrames) Bytes(phys uint64) []byte { return h.frame(phys).data[:] }
