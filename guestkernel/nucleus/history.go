package nucleus

import (
	"unsafe"

	"ringo/internal/debugwindow"
)

// The history of frames: who was the last to allocate each, and to release it, when and from where. With debug=frames on the command line;
// the monitor reads it (debugwindow.FrameHistory). The nucleus lock guards it.

// frameCaller is on whose behalf the allocator works: set by system calls, zero when the nucleus itself needs a frame.
type frameCaller struct {
	task  uint32 // tid
	cpu   uint8
	stack [5]uint32
}

const historySize = uint64(unsafe.Sizeof(debugwindow.FrameHistory{}))

// historyBytes is the size of a region's history, 0 if none is kept.
func historyBytes(size uint64) uint64 {
	if !debugWord("frames") {
		return 0
	}
	return (size>>pageShift*historySize + pageSize - 1) &^ (pageSize - 1)
}

// calledBy notes who asks for what follows, until noCaller: t's goroutine. Nothing is done when no history is kept.
func (a *frameAllocator) calledBy(t *context) {
	if a.regions[0].history == 0 {
		return
	}
	c := &a.by
	c.task, c.cpu = taskOf(t.Goroutine()), uint8(thisCPU())
	f := callersOf(t)
	for n := range c.stack {
		if pc := f.caller() - k.info.KernelVirt; pc < k.info.KernelSize {
			c.stack[n] = uint32(pc)
		}
	}
}

// callChain walks frame pointers upwards. The stack may be spoiled: nothing is loaded that is not mapped.
type callChain struct{ fp, page uint64 }

// callersOf are the functions that led to t's call of the nucleus, without this package's own. The call has just loaded its arguments from
// the stack, so that page is mapped.
func callersOf(t *context) callChain {
	f := callChain{fp: t.FramePointer(), page: t.SP() &^ (pageSize - 1)}
	f.caller()
	return f
}

// caller is the next return address, 0 at the end.
func (f *callChain) caller() (pc uint64) {
	fp := f.fp
	if fp < directMap || fp&7 != 0 || !f.readable(fp) || !f.readable(fp+8) {
		f.fp = 0
		return 0
	}
	pc = load64(fp + 8)
	if f.fp = load64(fp); f.fp <= fp {
		f.fp = 0
	}
	return pc
}

// readable is what the function is, of a page only once in a row: most of a walk stays in one.
func (f *callChain) readable(va uint64) bool {
	page := va &^ (pageSize - 1)
	if page != f.page && readable(va) {
		f.page = page
	}
	return page == f.page
}

func (a *frameAllocator) noCaller() { a.by = frameCaller{} }

// taskOf is the thread id of the task whose goroutine's runtime.g is at g, 0 for none: from the registry in the debug window, which the
// kernel itself writes.
func taskOf(g uint64) uint32 {
	w := &k.info.Debug
	if w.Size < debugwindow.HeaderSize || g == 0 {
		return 0
	}
	at := uintptr(directMap + w.Base)
	h := (*debugwindow.Header)(pointer(at))
	if h.Magic != debugwindow.Magic {
		return 0
	}
	for n := range min(h.High, h.Tasks) {
		off := uint64(h.TaskOffset) + uint64(n)*debugwindow.TaskSize
		if off+debugwindow.TaskSize > w.Size {
			break
		}
		if e := (*debugwindow.Task)(pointer(at + uintptr(off))); e.G == g && e.State != debugwindow.TaskFree {
			return e.TID
		}
	}
	return 0
}

// remember notes that the block of frame i has been allocated for owner, or with OwnerFree that it is being released.
func (a *frameAllocator) remember(r *region, i uint32, order uint, owner Owner) {
	now := counter()
	for f := i; f < i+1<<order; f++ {
		h := (*debugwindow.FrameHistory)(pointer(r.history + uintptr(f)*uintptr(historySize)))
		if owner == OwnerFree {
			h.Freed, h.FreeTask, h.FreeStack = now, a.by.task, a.by.stack
			continue
		}
		h.Allocated, h.AllocTask, h.AllocStack = now, a.by.task, a.by.stack
		h.Allocs++
		h.AllocOwner, h.AllocOrder, h.CPU = uint8(owner), uint8(order), a.by.cpu
	}
}
