package nucleus

import (
	"unsafe"

	"ringo/internal/bootinfo"
	"ringo/internal/debugwindow"
)

// DebugWindow is the debug window's memory, nil when the machine has none. Any goroutine.
func DebugWindow() []byte { return window(k.info.Debug.Base, k.info.Debug.Size) }

// TraceWindow is the trace window's, likewise.
func TraceWindow() []byte { return window(k.info.Trace.Base, k.info.Trace.Size) }

// window is only RAM that the boot information reserves for this.
func window(base, size uint64) []byte {
	r, _ := k.frames.find(base)
	last, _ := k.frames.find(base + size - 1)
	if size == 0 || r == nil || r != last || FrameOwner(base) != OwnerReserved {
		return nil
	}
	return Bytes(base, int(size))
}

// DescribeDebug fills in what the nucleus knows of the machine: where its tables lie. Any goroutine.
func DescribeDebug(r *debugwindow.Registry) {
	h := r.Header()
	i := &k.info
	h.CounterHz, h.DirectMap, h.KernelRoot = i.CounterHz, i.DirectMap, k.root
	h.KernelPhys, h.KernelVirt, h.KernelSize = i.KernelPhys, i.KernelVirt, i.KernelSize

	f := &h.Frames
	var rec frameRecord
	f.RecordSize = uint32(unsafe.Sizeof(rec))
	f.Refs, f.Owner = uint32(unsafe.Offsetof(rec.refs)), uint32(unsafe.Offsetof(rec.owner))
	f.Order, f.Head = uint32(unsafe.Offsetof(rec.order)), uint32(unsafe.Offsetof(rec.head))
	f.NumOwners = uint32(numOwners)
	for o := range numOwners {
		copy(f.Owners[o][:15], o.String())
	}
	f.NumRegions = uint32(k.frames.numRegions)
	for n := range k.frames.numRegions {
		g := &k.frames.regions[n]
		f.Regions[n] = debugwindow.FrameRegion{Base: g.base, Frames: uint64(g.frames), Records: uint64(g.records) - directMap}
		if g.history != 0 {
			f.Regions[n].History, f.HistorySize = uint64(g.history)-directMap, uint32(historySize)
		}
	}
	h.Started = i.Phases[bootinfo.PhaseEntry]

	t := &h.Threads
	var th thread
	describeContext(t)
	ctx := uint32(unsafe.Offsetof(th.ctx))
	t.PC, t.SP, t.FP, t.G, t.TLS = ctx+t.PC, ctx+t.SP, ctx+t.FP, ctx+t.G, ctx+t.TLS
	t.Base, t.High = uint64(uintptr(unsafe.Pointer(&k.sched.threads))), uint64(uintptr(unsafe.Pointer(&k.sched.high)))
	t.Stride, t.Max = uint32(unsafe.Sizeof(th)), maxThreads
	t.State, t.Wait, t.CPU = uint32(unsafe.Offsetof(th.state)), uint32(unsafe.Offsetof(th.wait)), uint32(unsafe.Offsetof(th.cpu))

	for n := range int(h.CPUs) {
		describeArea(n, r.CPU(n))
	}
}

// Counter is the TSC or CNTVCT_EL0. Any goroutine.
func Counter() uint64 { return counter() }

// CPU is the number of the CPU that the calling goroutine is on: a hint, it may move at any time.
func CPU() int { return thisCPU() }

// SetFixedStacks says where fixed kernel stacks lie: an exception there is no Go panic, but ends the machine with a
// report. Any goroutine.
func SetFixedStacks(lo, hi uint64) { k.fixed = [2]uint64{lo, hi} }
