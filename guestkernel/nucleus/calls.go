package nucleus

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"ringo/internal/tracewindow"
)

// The nucleus's side of api.go. Lock held.

func callAllocFrames(t *context, order, owner uint64) int64 {
	k.frames.calledBy(t)
	phys, ok := k.frames.alloc(uint(order), Owner(owner))
	k.frames.noCaller()
	if !ok {
		return -int64(unix.ENOMEM)
	}
	if tracing.On() {
		traceFrame(tracewindow.FrameAlloc, t, phys, owner, order)
	}
	return int64(phys)
}

func callFreeFrames(t *context, phys, order uint64) int64 {
	if tracing.On() {
		owner := OwnerFree
		if r, i := k.frames.find(phys); r != nil {
			owner = r.record(i).owner
		}
		traceFrame(tracewindow.FrameFree, t, phys, uint64(owner), order)
	}
	k.frames.calledBy(t)
	k.frames.free(phys, uint(order))
	k.frames.noCaller()
	return 0
}

func mapDevice(gpa, size uint64) int64 {
	if size == 0 || gpa+size < gpa || gpa+size > 1<<39 {
		return -int64(unix.EINVAL)
	}
	if r, _ := k.frames.find(gpa); r != nil {
		return -int64(unix.EINVAL) // RAM
	}
	t := kernelTable()
	mapDevicePages(&t, gpa, size)
	tableBarrier()
	return 0
}

func fillStats(buf, size uint64) int64 {
	var s Stats
	if size != uint64(unsafe.Sizeof(s)) || !present(buf, size) {
		return -int64(unix.EFAULT)
	}
	s.TotalFrames, s.FreeFrames, s.Owned = k.frames.total, k.frames.freeFrames, k.frames.owned
	for i := range int(k.info.CPUs) {
		s.Traps += k.cpus[i].traps
		s.IdleTime += uint64(k.cpus[i].idleTime)
		if at := k.cpus[i].haltedAt; at != 0 {
			s.IdleTime += uint64(max(nanotime()-at, 0))
		}
	}
	for i := range k.sched.high {
		s.Switches += k.sched.threads[i].switches
		if k.sched.threads[i].state != threadFree {
			s.Threads++
		}
	}
	s.VMAs = uint64(k.vmas.n)
	s.Counts = k.counts
	*(*Stats)(pointer(uintptr(buf))) = s
	return 0
}
