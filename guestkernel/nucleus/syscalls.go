package nucleus

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Call numbers of the nucleus itself, made on purpose with ring0.Call from any goroutine. They
// lie beyond Linux's.
const (
	callAlloc = 0x1000 + iota
	callFree
	callSetOwner
	callOpenIRQ
	callMapDevice
	callShootdown
	callReleaseRoot
	callKick
	callMove
	callStats
	callPowerOff
	callFatal
	callCrash // tests of the report, see Crash
)

// noReturn is what a call that has its result elsewhere (a sleeper, a restored context) answers.
const noReturn = int64(-1 << 63)

// handleSyscall is Handlers.Syscall: the Linux calls that the Go runtime and its standard
// library make, and our own.
func handleSyscall(t *context) {
	nr, pc := t.SyscallNumber(), t.PC()
	lock()
	me := thisCPU()
	c := &k.cpus[me]
	c.traps++
	c.lastTrap = lastTrap{trapSyscall, nr, pc}
	result, ours := t.ArchSyscall()
	if !ours {
		result = dispatch(c.current, t, nr, me)
	}
	if result != noReturn {
		t.SetResult(result)
	}
	leave(c, me)
}

func dispatch(i int32, t *context, nr uint64, me int) int64 {
	switch nr {
	case callAlloc:
		k.counts.Frames++
		return callAllocFrames(t, t.Arg(0), t.Arg(1))
	case callFree:
		k.counts.Frames++
		return callFreeFrames(t, t.Arg(0), t.Arg(1))
	case callSetOwner:
		if !k.frames.setOwner(t.Arg(0), Owner(t.Arg(1))) {
			return -int64(unix.EINVAL)
		}
		return 0
	case callOpenIRQ:
		return k.fds.openIRQ(uint32(t.Arg(0)), me)
	case callMapDevice:
		return mapDevice(t.Arg(0), t.Arg(1))
	case callShootdown:
		k.counts.Flushes++
		shootdown(tlbRequest{va: t.Arg(1), size: t.Arg(2)}, t.Arg(0))
		return 0
	case callReleaseRoot:
		shootdown(tlbRequest{dropRoot: t.Arg(0)}, t.Arg(0))
		return 0
	case callKick:
		k.counts.Kicks++
		if cpu := t.Arg(0); cpu < uint64(k.info.CPUs) {
			k.sched.kick |= 1 << cpu
		}
		return 0
	case callMove:
		return callMoveThread(i, t.Arg(0), me)
	case callStats:
		return fillStats(t.Arg(0), t.Arg(1))
	case callPowerOff:
		powerOff(int(t.Arg(0)))
	case callFatal:
		fatalError("reference count of a free frame changed, frame", t.Arg(0))
	case callCrash:
		switch t.Arg(0) {
		case 1:
			return overflow(t.Arg(0))
		case 2:
			if root, ok := (tables{}).AllocTable(); ok {
				loadRoot(root)
			}
		}
		return int64(load64(0x10))

	case unix.SYS_MMAP:
		return sysMmap(t.Arg(0), t.Arg(1), t.Arg(2), t.Arg(3))
	case unix.SYS_MUNMAP:
		return sysMunmap(t.Arg(0), t.Arg(1))
	case unix.SYS_MADVISE:
		return sysMadvise(t.Arg(0), t.Arg(1), t.Arg(2))
	case unix.SYS_FUTEX:
		return sysFutex(i, t.Arg(0), t.Arg(1), t.Arg(2), t.Arg(3), me)
	case unix.SYS_NANOSLEEP:
		return sysNanosleep(i, t.Arg(0), me)
	case unix.SYS_SCHED_YIELD:
		return sysYield(i)
	case unix.SYS_CLONE:
		return sysClone(i, t, me)
	case unix.SYS_EXIT:
		k.sched.threads[i].state = threadFree
		return noReturn
	case unix.SYS_EXIT_GROUP:
		exitGroup(t.Arg(0))
	case unix.SYS_GETTID:
		return tid(i)
	case unix.SYS_GETPID:
		return 1
	case unix.SYS_SCHED_GETAFFINITY:
		return sysAffinity(t.Arg(1), t.Arg(2))
	case unix.SYS_CLOCK_GETTIME:
		return sysClock(t.Arg(0), t.Arg(1))
	case unix.SYS_TGKILL:
		k.counts.Signals++
		return sysTgkill(t.Arg(1), t.Arg(2), me)
	case unix.SYS_RT_SIGACTION:
		return sysSigaction(t.Arg(0), t.Arg(1), t.Arg(2))
	case unix.SYS_RT_SIGPROCMASK:
		return sysSigprocmask(i, t.Arg(0), t.Arg(1), t.Arg(2))
	case unix.SYS_SIGALTSTACK:
		return sysSigaltstack(i, t.Arg(0), t.Arg(1))
	case unix.SYS_RT_SIGRETURN:
		return sysSigreturn(i, t)
	case unix.SYS_WRITE:
		return sysWrite(t.Arg(0), t.Arg(1), t.Arg(2), me)
	case unix.SYS_READ:
		return sysRead(t.Arg(0), t.Arg(1), t.Arg(2))
	case unix.SYS_CLOSE:
		return k.fds.close(t.Arg(0))
	case unix.SYS_FCNTL:
		return k.fds.fcntl(t.Arg(0), t.Arg(1))
	case unix.SYS_EPOLL_CREATE1:
		return k.fds.open(fdEpoll, 0)
	case unix.SYS_EVENTFD2:
		return k.fds.open(fdEvent, t.Arg(0))
	case unix.SYS_EPOLL_CTL:
		return sysEpollCtl(t.Arg(0), t.Arg(1), t.Arg(2), t.Arg(3), me)
	case unix.SYS_EPOLL_PWAIT:
		return sysEpollWait(i, t.Arg(0), t.Arg(1), t.Arg(2), t.Arg(3))
	case unix.SYS_GETRANDOM:
		return sysGetrandom(t.Arg(0), t.Arg(1))
	case unix.SYS_PRLIMIT64:
		return sysPrlimit(t.Arg(3))
	case unix.SYS_OPENAT, unix.SYS_READLINKAT, unix.SYS_FACCESSAT, sysFstatat:
		return -int64(unix.ENOENT) // there are no files down here
	case unix.SYS_PRCTL:
		return -int64(unix.EINVAL) // PR_SET_VMA: the runtime only names its memory
	}
	if nr < uint64(len(k.missing)) {
		k.missing[nr]++
	}
	return -int64(unix.ENOSYS)
}

// futex(2): what the runtime uses of it.
const (
	futexWait   = 0
	futexWake   = 1
	futexOpMask = 127 // FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME apart
	cloneSetTLS = 0x80000
	cloneThread = 0x10000
	maxSleep    = int64(1) << 60 // ns; longer is forever
	// Only runtime.usleep comes here: waits of a few microseconds between two looks at a lock
	// or a run queue, which a yield serves as well, and sysmon, which starts at 20 us and for which a
	// millisecond is early enough. Every armed timer costs three exits to the monitor's host.
	yieldBelow = 20_000 // ns
	// The runtime sleeps 3 us before it steals the goroutine that another M has just made ready, for that M to run it itself: it is about
	// to block, more often than not. Emulated CPUs take longer to come to it, and a goroutine that moves takes cold caches and interrupts with it.
	thiefSleep   = 3_000     // ns, what the runtime asks for
	thiefWaits   = 40_000    // ns, what it gets
	shortestWait = 1_000_000 // ns
)

func sysFutex(i int32, addr, op, val, timeout uint64, me int) int64 {
	if addr&3 != 0 || !present(addr, 4) {
		return -int64(unix.EFAULT)
	}
	switch op & futexOpMask {
	case futexWait:
		if load32(addr) != uint32(val) {
			return -int64(unix.EAGAIN)
		}
		deadline := int64(0)
		if timeout != 0 {
			ns, ok := readTimespec(timeout)
			if !ok {
				return -int64(unix.EFAULT)
			}
			if ns <= 0 {
				return -int64(unix.ETIMEDOUT)
			}
			if ns < maxSleep {
				deadline = nanotime() + ns
			}
		}
		k.counts.FutexWaits++
		k.sched.sleep(i, waitFutex, addr, deadline)
		return noReturn
	case futexWake:
		k.counts.FutexWakes++
		return k.sched.futexWake(addr, int64(int32(val)), me)
	}
	return -int64(unix.ENOSYS)
}

func readTimespec(addr uint64) (ns int64, ok bool) {
	if !present(addr, 16) {
		return 0, false
	}
	sec, nsec := int64(load64(addr)), int64(load64(addr+8))
	if sec < 0 || nsec < 0 || nsec >= 1e9 {
		return 0, true
	}
	if sec > maxSleep/1e9 {
		return maxSleep, true
	}
	return sec*1e9 + nsec, true
}

func sysNanosleep(i int32, addr uint64, me int) int64 {
	ns, ok := readTimespec(addr)
	if !ok {
		return -int64(unix.EFAULT)
	}
	if ns < yieldBelow {
		if k.sched.queue.head == none {
			return spin(i, ns, me)
		}
		return sysYield(i)
	}
	k.sched.threads[i].ctx.SetResult(0)
	k.sched.sleep(i, waitTime, 0, nanotime()+max(ns, shortestWait))
	return noReturn
}

// spin is a sleep too short for a timer on a CPU that has nothing else to do. It ends early when there is, or a signal. The lock is released in between: thread i
// stays this CPU's current one, running, so that nobody else resumes it. What others ask of the CPU meanwhile is as with any handler that waits for the
// lock: flushes are served here, interrupts stay pending. The looks at the queue and at the signals are hints, leave looks again with the lock held.
func spin(i int32, ns int64, me int) int64 {
	if ns == thiefSleep {
		ns = thiefWaits
	}
	end := nanotime() + ns
	unlock()
	for nanotime() < end && !k.sched.work(me) && atomic.LoadUint64(&k.sched.threads[i].pending) == 0 {
		serveFlush(me)
		pause()
	}
	lock()
	return 0
}

func sysYield(i int32) int64 {
	k.counts.Yields++
	if k.sched.queue.head == none {
		return 0
	}
	k.sched.threads[i].ctx.SetResult(0)
	k.sched.requeue(i, false)
	return noReturn
}

// callMoveThread is MoveTo.
func callMoveThread(i int32, cpus uint64, me int) int64 {
	cpus &= k.online
	switch {
	case cpus == 0:
		return -int64(unix.EINVAL)
	case cpus>>me&1 != 0:
		return 0
	}
	k.sched.threads[i].ctx.SetResult(0)
	k.counts.Moves++
	k.sched.hand(i, cpus)
	return noReturn
}

func sysClone(i int32, t *context, me int) int64 {
	flags := t.Arg(0)
	if flags&cloneThread == 0 {
		return -int64(unix.EINVAL)
	}
	child := k.sched.newThread()
	if child == none {
		return -int64(unix.EAGAIN)
	}
	ct := &k.sched.threads[child]
	if !giveVector(ct) {
		ct.state = threadFree
		return -int64(unix.ENOMEM)
	}
	ct.ctx.InitClone(t, t.Arg(1), t.CloneTLS(), flags&cloneSetTLS != 0)
	ct.blocked = k.sched.threads[i].blocked
	k.sched.ready(child, false, me)
	return tid(child)
}

// giveVector gives a thread's slot its vector save area; it keeps it when the slot is reused.
func giveVector(t *thread) bool {
	if t.ctx.Vector == 0 {
		phys, ok := k.frames.alloc(0, OwnerNucleus)
		if !ok {
			return false
		}
		t.ctx.Vector = directMap + phys
	}
	zeroFrame(t.ctx.Vector - directMap)
	initVector(uintptr(t.ctx.Vector))
	return true
}

func sysAffinity(size, buf uint64) int64 {
	if size < 8 || !present(buf, 8) {
		return -int64(unix.EINVAL)
	}
	store64(buf, 1<<k.info.CPUs-1)
	return 8
}

func sysClock(clock, addr uint64) int64 {
	if !present(addr, 16) {
		return -int64(unix.EFAULT)
	}
	ns := nanotime()
	if clock == 0 { // CLOCK_REALTIME
		ns += wallOffset()
	}
	store64(addr, uint64(ns/1e9))
	store64(addr+8, uint64(ns%1e9))
	return 0
}

func sysGetrandom(addr, size uint64) int64 {
	if !present(addr, size) {
		return -int64(unix.EFAULT)
	}
	k.random.read(memory(uintptr(addr), int(size)))
	return int64(size)
}

func sysPrlimit(old uint64) int64 {
	if old != 0 {
		if !present(old, 16) {
			return -int64(unix.EFAULT)
		}
		store64(old, maxFDs)
		store64(old+8, maxFDs)
	}
	return 0
}

// exitGroup is how Go's os.Exit and a fatal error of the runtime end the machine.
func exitGroup(code uint64) {
	if code == 0 {
		powerOff(powerOffNormal)
	}
	fatalError("the kernel's Go runtime has exited with status", code)
}

// overflow recurses until the nucleus stack ends at its guard page.
func overflow(n uint64) int64 {
	var b [512]byte
	for i := range b {
		b[i] = byte(n)
	}
	if n == 0 { // not before it has wrapped
		return 0
	}
	return overflow(n+1) + int64(b[n%512])
}
