package nucleus

import "sync/atomic"

// runtimeOffsets are places in the Go runtime's structs, in bytes; a test compares them with the compiler's DWARF.
type runtimeOffsets struct {
	gM, gPreempt, mP               uintptr // pointers, and a bool
	pRunqHead, pRunqTail, pRunNext uintptr // of runtime.p: u32, u32, a pointer
	pSchedTick                     uintptr // u32
	schedRunq, queueSize           uintptr // of runtime.schedt, and of runtime.gQueue in it: i32
	schedNPIdle                    uintptr // i32
}

var runtimeLayout = runtimeOffsets{
	gM: 48, gPreempt: 177, mP: 208, pRunqHead: 400, pRunqTail: 404, pRunNext: 2456, pSchedTick: 16, schedRunq: 128, queueSize: 16, schedNPIdle: 112,
}

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

// Keep says whether the calling goroutine may keep its CPU at a tick: nobody waits for the CPU, the runtime does not want the goroutine to stop, and there is an
// idle P, whose thread looks after Go's timers. runtime.Gosched would put the goroutine into the queue of all and send that thread an interrupt to take it: it
// moved to another CPU at every tick. (The runtime itself asks the same: goschedIfBusy.) The goroutine then counts as scheduled anew, or sysmon would stop it
// for having run 10 ms. Any goroutine.
//
// The counter is written by its P's owner only, which the caller is; should it be moved to another P on the way, a step of that one's is lost, and
// the runtime only compares the counter with what it was.
func Keep() bool {
	g, sched := goScheduler()
	l := &runtimeLayout
	if *(*bool)(pointer(g + l.gPreempt)) || half(sched+l.schedNPIdle) == 0 || Waiting() {
		return false
	}
	if p := load(load(g+l.gM) + l.mP); p != 0 {
		tick := (*uint32)(pointer(p + l.pSchedTick))
		atomic.StoreUint32(tick, atomic.LoadUint32(tick)+1)
	}
	return true
}

func load(addr uintptr) uintptr { return atomic.LoadUintptr((*uintptr)(pointer(addr))) }
func half(addr uintptr) uint32  { return atomic.LoadUint32((*uint32)(pointer(addr))) }
