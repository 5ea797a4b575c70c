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
	// AllocFrame answers the physical address of a zeroed frame with one reference: ENOMEM when there is none.
	AllocFrame() (phys uint64, err error)
	// RefFrame adds a reference.
	RefFrame(phys uint64)
	// UnrefFrame drops a reference; the last one frees the frame.
	UnrefFrame(phys uint64)
	// FrameBytes is the frame's memory: PageSize bytes, valid while the caller holds a reference.
	FrameBytes(phys uint64) []byte
}

// Mappable is file contents that an address space can map. Offsets are page indexes in the file.
type Mappable interface {
	// MapPage answers the frame that holds page index, with a reference that the caller drops with UnrefFrame. write says that it will be
	// mapped writable and shared. A page past the end of the file is ErrPastEnd (SIGBUS), no memory ENOMEM.
	MapPage(index uint64, write bool) (phys uint64, err error)
	// AddMapping enters m, which maps count pages from page first on, to be told when pages go away; RemoveMapping undoes it with
	// the same arguments.
	AddMapping(m Mapping, first, count uint64)
	RemoveMapping(m Mapping, first, count uint64)
}

// Mapping is an address space's side of a mapped file.
type Mapping interface {
	// Invalidate drops every translation to the pages of the file from first on, count of them, and flushes them from all CPUs before it
	// returns. No lock of the file is held.
	Invalidate(file Mappable, first, count uint64)
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

// AllocFrame implements Frames; the physical addresses are made up.
func (h *HeapFrames) AllocFrame() (uint64, error) {
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

// RefFrame implements Frames.
func (h *HeapFrames) RefFrame(phys uint64) { h.frame(phys).refs.Add(1) }

// UnrefFrame implements Frames.
func (h *HeapFrames) UnrefFrame(phys uint64) {
	f := h.frame(phys)
	if f.refs.Add(-1) == 0 {
		h.mu.Lock()
		delete(h.frames, phys)
		h.free = append(h.free, f)
		h.mu.Unlock()
	}
}

// FrameBytes implements Frames.
func (h *HeapFrames) FrameBytes(phys uint64) []byte { return h.frame(phys).data[:] }
