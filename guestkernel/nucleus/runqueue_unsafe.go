package nucleus

import "sync/atomic"

// runtimeOffsets are places in the Go runtime's structs, in bytes; a test compares them with the compiler's DWARF.
type runtimeOffsets struct {
	gM, mP                         uintptr
	pRunqHead, pRunqTail, pRunNext uintptr // of runtime.p: u32, u32, a pointer
	schedRunq, queueSize           uintptr // of runtime.schedt, and of runtime.gQueue in it: i32
}

var runtimeLayout = runtimeOffsets{gM: 48, mP: 208, pRunqHead: 400, pRunqTail: 404, pRunNext: 2456, schedRunq: 128, queueSize: 16}

// Waiting says whether anybody waits for the CPU that the calling goroutine is on: a goroutine in the queue of its P or in that of all, or a runtime
// thread that may run on this CPU only. Other runtime threads get a CPU by the nucleus's slices, whatever goroutines do. Goroutines whose Go timer has just
// expired are not seen. Any goroutine.
//
// It is a hint, made of loads only: a g and its m are the caller's own, Ps are never freed, and whoever is moved to another P on the way looks at the queue of
// the one it left.
func Waiting() bool {
	g, sched := goScheduler()
	l := &runtimeLayout
	p := load(load(g+l.gM) + l.mP)
	if p == 0 {
		return true
	}
	return half(p+l.pRunqHead) != half(p+l.pRunqTail) || load(p+l.pRunNext) != 0 || half(sched+l.schedRunq+l.queueSize) != 0 ||
		atomic.LoadInt32(&k.sched.handed[thisCPU()].head) != none
}

func load(addr uintptr) uintptr { return atomic.LoadUintptr((*uintptr)(pointer(addr))) }
func half(addr uintptr) uint32  { return atomic.LoadUint32((*uint32)(pointer(addr))) }
