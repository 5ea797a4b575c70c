package nucleus

import (
	"sync/atomic"

	"ringo/internal/bootinfo"
	"ringo/internal/tracewindow"
)

// handlers is what ring0 calls. It is static data: the CPU needs it before Go's package
// initialisation has run (ring0 refers to this very symbol).
var handlers = handlerSet{
	Boot:      boot,
	Start:     start,
	Syscall:   handleSyscall,
	Exception: handleException,
	Interrupt: handleInterrupt,
	Fatal:     handleFatal,
}

var _ = &handlers // no Go code names it

// kernelState is everything the nucleus knows, guarded by lock unless a field says otherwise.
// It holds no pointers: a handler runs without a P and must not execute write barriers.
type kernelState struct {
	info     bootinfo.Info
	infoPage uint64 // GPA of the page, whose Phases are written
	frames   frameAllocator
	vmas     vmaSet
	root     uint64 // kernel page table root
	special  uint64 // next free address behind specialBase
	sched    scheduler
	fds      fdTable
	actions  [65]sigAction
	cpus     [bootinfo.MaxCPUs]cpuState
	online   uint64
	random   generator
	missing  [512]uint32 // system calls that were answered ENOSYS, by number
	timers   struct {
		armed int64 // Nanotime of the deadline that timers.cpu has been told, 0: none
		cpu   int32
	}
	request tlbRequest
	fixed   [2]uint64 // GVA range of fixed kernel stacks, 0: none
	counts  Counts
}

// Counts are events that cost an exit to the monitor's host, and their causes.
type Counts struct {
	IPIs       uint64 // interrupts sent to other CPUs
	Deadlines  uint64 // timer programmed
	Timers     uint64 // timer interrupts
	Lines      uint64 // device interrupts
	Halts      uint64 // idle CPUs
	Shootdowns uint64 // TLB shootdowns that had to ask another CPU
	HeapFaults uint64 // demand-paged pages of the Go heap
	FutexWaits uint64 // runtime threads that went to sleep
	FutexWakes uint64 // calls to wake one
	Yields     uint64 // sched_yield, and sleeps too short for a timer
	Moves      uint64 // threads handed to another CPU, for affinity
	Kicks      uint64 // user mode interrupted on purpose
	Signals    uint64 // tgkill, the runtime's preemption
	Frames     uint64 // calls to allocate or free frames
	Flushes    uint64 // TLB shootdowns asked for
	Idles      uint64 // times a CPU found no work, halted or not
}

var k kernelState

// cpuState is what the nucleus knows of a CPU. Only flush and lastTrap are touched without the lock.
type cpuState struct {
	current  int32 // thread that runs, -1: none
	last     int32 // thread that ran last
	preempt  bool  // a woken thread shall run before the current one
	handed   bool  // the current thread was handed to this CPU and has its slice before others that were
	armed    int64 // Nanotime for which the timer is programmed, 0: none
	sliceEnd int64 // Nanotime at which the current thread gives way, 0: nobody waits
	pollTime int64 // ns to poll before the next halt
	idleTime int64 // ns halted
	haltedAt int64 // Nanotime at which the CPU halted, 0: it runs
	flush    uint32
	traps    uint64 // handler calls
	lastTrap lastTrap
}

// lastTrap is kept for the report of a crash.
type lastTrap struct {
	kind, detail uint64 // trapSyscall and number, trapException and vector, trapInterrupt and source
	pc           uint64
}

const (
	trapNone = iota
	trapSyscall
	trapException
	trapInterrupt
)

// What a CPU is asked to do while it waits for the lock, or when it gets an IPI.
const (
	flushNothing = iota
	flushRequest // k.request
	flushAll     // it slept through one or more requests
	flushAllNow  // the same, and the owner of the lock waits for it
)

// tlbRequest is the shootdown in progress.
type tlbRequest struct {
	va, size uint64
	dropRoot uint64 // CPUs with this root loaded switch to the kernel's
}

var bigLock uint32

// lock takes the nucleus lock. While it waits, it serves requests of the owner, who may be
// waiting for this CPU with its interrupts masked. Handlers only.
func lock() {
	me := thisCPU()
	for !atomic.CompareAndSwapUint32(&bigLock, 0, 1) {
		serveFlush(me)
		pause()
	}
	serveFlush(me)
}

func unlock() { atomic.StoreUint32(&bigLock, 0) }

// serveFlush does what another CPU has asked of this one.
func serveFlush(me int) {
	c := &k.cpus[me]
	for {
		asked := atomic.LoadUint32(&c.flush)
		if asked == flushNothing {
			return
		}
		if asked != flushAll && k.request.dropRoot != 0 && loadedRoot() == k.request.dropRoot {
			loadRoot(k.root)
		}
		if asked != flushRequest {
			flushRange(0, 1<<46)
		} else if k.request.size != 0 {
			flushRange(k.request.va, k.request.size)
		}
		// A request that came meanwhile has changed the word: what was flushed before does not count.
		if atomic.CompareAndSwapUint32(&c.flush, asked, flushNothing) {
			return
		}
	}
}

// shootdown removes translations on every CPU that may hold them. userRoot 0: kernel addresses;
// else only CPUs that have this root loaded matter. Lock held.
func shootdown(r tlbRequest, userRoot uint64) {
	me := thisCPU()
	if tlbBroadcast && r.dropRoot == 0 {
		if userRoot == 0 {
			flushRange(r.va, r.size)
		} else {
			flushUser(userRoot, r.va, r.size)
		}
		return
	}
	k.request = r
	var asked uint64
	for others := k.online &^ (1 << me); others != 0; others &= others - 1 {
		cpu := lowestBit(others)
		// A CPU stores its next root before it loads it: one that is about to leave userRoot needs no flush, but
		// it still walks userRoot's tables, so they must not go before it has answered.
		if userRoot != 0 && r.dropRoot == 0 && rootOf(cpu) != userRoot {
			continue
		}
		if k.sched.idle&^k.sched.polling&(1<<cpu) != 0 {
			// It will look before it does anything else. It has the kernel's root loaded.
			atomic.StoreUint32(&k.cpus[cpu].flush, flushAll)
			continue
		}
		// A CPU that has just been woken may still have everything to flush: do not ask for less.
		if !atomic.CompareAndSwapUint32(&k.cpus[cpu].flush, flushNothing, flushRequest) {
			atomic.StoreUint32(&k.cpus[cpu].flush, flushAllNow)
		}
		asked |= 1 << cpu
		if k.sched.polling&(1<<cpu) != 0 {
			continue // it looks at the word all the time, and when it stops polling, it waits for the lock
		}
		k.counts.IPIs++
		sendIPI(cpu)
	}
	if asked != 0 {
		k.counts.Shootdowns++
	}
	if tracing.On() {
		traceEvent(tracewindow.Shootdown, 0, r.va, r.size, userRoot, asked)
	}
	if r.dropRoot != 0 && loadedRoot() == r.dropRoot {
		loadRoot(k.root)
	}
	if r.size != 0 {
		flushRange(r.va, r.size)
	}
	for ; asked != 0; asked &= asked - 1 {
		for cpu := lowestBit(asked); atomic.LoadUint32(&k.cpus[cpu].flush) != flushNothing; {
			pause()
		}
	}
	if r.dropRoot != 0 {
		forgetRoot(r.dropRoot)
	}
}

func lowestBit(set uint64) (i int) {
	for set&1 == 0 {
		set >>= 1
		i++
	}
	return i
}

// start is where every CPU begins: CPU 0 with thread 0, the others idle.
func start(index int) {
	lock()
	k.online |= 1 << index
	c := &k.cpus[index]
	c.current = none
	leave(c, index)
}

// leave ends every handler: it chooses the thread that runs next, idling while there is none,
// delivers its signals, programs the timer, wakes other CPUs and releases the lock. The
// caller holds the lock.
func leave(c *cpuState, me int) {
	s := &k.sched
	for {
		if c.current != none {
			t := &s.threads[c.current]
			switch {
			case t.state != threadRunning:
				c.current = none
			case c.preempt && s.queue.head != none:
				// The woken thread goes first; the current one keeps its place.
				next := s.next()
				s.requeue(c.current, true)
				switchTo(c, me, next, false)
			case !c.handed && s.handed[me].head != none:
				next, _ := s.take(me)
				s.requeue(c.current, true)
				if others := s.idle &^ (1 << me); others != 0 {
					s.kickOne(others) // for the one that gave way
				}
				switchTo(c, me, next, true)
			}
		}
		c.preempt = false
		if c.current == none {
			if next, handed := s.take(me); next != none {
				switchTo(c, me, next, handed)
			}
		}
		if c.current != none && deliverSignals(c.current) {
			break
		}
		if c.current != none {
			continue
		}
		s.idle |= 1 << me
		k.counts.Idles++
		c.sliceEnd = 0
		armTimer(c, me)
		sendKicks(me)
		if c.pollTime > 0 && poll(c, me) {
			continue
		}
		if loadedRoot() != k.root {
			loadRoot(k.root) // its owner may free the tables while this CPU sleeps
		}
		k.counts.Halts++
		c.haltedAt = nanotime()
		unlock()
		source := idle()
		lock()
		s.idle &^= 1 << me
		halted := nanotime() - c.haltedAt
		c.haltedAt = 0
		c.idleTime += halted
		adaptPoll(c, halted < maxPoll)
		if tracing.On() {
			traceEvent(tracewindow.IRQ, uint16(source), source, 0, 0, 0) // it ended idleness
		}
		interrupted(c, me, source)
	}
	if !s.work(me) {
		c.sliceEnd = 0
	} else if c.sliceEnd == 0 {
		length := int64(slice)
		if s.queue.head != none && s.idle&^(1<<me) != 0 {
			length = slice / 20 // soon another CPU takes over what waits here
		}
		c.sliceEnd = nanotime() + length
	}
	armTimer(c, me)
	sendKicks(me)
	unlock()
}

// poll looks for work for a while before the CPU halts: a halt and the interrupt that ends it
// cost far more than a short wait, and whoever makes a thread runnable meanwhile need not send an
// interrupt. It answers whether there is something to do. Lock held, released in between.
func poll(c *cpuState, me int) bool {
	s := &k.sched
	s.polling |= 1 << me
	unlock()
	for end := nanotime() + c.pollTime; nanotime() < end; pause() {
		if s.work(me) {
			break
		}
		serveFlush(me) // its owner waits for it: this CPU has kept the last address space
	}
	lock()
	s.polling &^= 1 << me
	if !s.work(me) {
		s.idle |= 1 << me // who gave us a thread that somebody else took has cleared it
		return false
	}
	s.idle &^= 1 << me
	adaptPoll(c, true)
	return true
}

// maxPoll bounds the time a CPU polls before it halts, in ns.
const maxPoll = 100_000

// adaptPoll learns from whether work came soon: an idle machine stops polling after a few halts.
func adaptPoll(c *cpuState, soon bool) {
	if soon {
		c.pollTime = min(2*c.pollTime+10_000, maxPoll)
	} else {
		c.pollTime /= 4
	}
}

func switchTo(c *cpuState, me int, i int32, handed bool) {
	t := &k.sched.threads[i]
	t.state, t.cpu = threadRunning, int32(me)
	t.switches++
	if tracing.On() {
		traceEvent(tracewindow.Switch, 0, uint64(tid(i)), uint64(tid(c.last)), t.ctx.PC(), 0)
	}
	c.last = i
	c.current, c.handed = i, handed
	c.sliceEnd = 0
	setThread(&t.ctx)
}

// armTimer programs this CPU's timer when what it is armed for is later than what it has to
// be. A timer that fires early is harmless.
func armTimer(c *cpuState, me int) {
	if first := k.sched.earliest(); first != 0 && (k.timers.armed == 0 || first < k.timers.armed) {
		k.timers.armed, k.timers.cpu = first, int32(me)
	}
	want := c.sliceEnd
	if k.timers.armed != 0 && int(k.timers.cpu) == me && (want == 0 || k.timers.armed < want) {
		want = k.timers.armed
	}
	if want != 0 && (c.armed == 0 || want < c.armed) {
		c.armed = want
		k.counts.Deadlines++
		setDeadline(counterAt(want))
	}
}

func sendKicks(me int) {
	for kick := k.sched.kick &^ (1 << me); kick != 0; kick &= kick - 1 {
		k.counts.IPIs++
		sendIPI(lowestBit(kick))
	}
	k.sched.kick = 0
}

// interrupted does what an interrupt source asks for. Lock held.
func interrupted(c *cpuState, me int, source uint64) {
	s := &k.sched
	switch {
	case source == sourceTimer:
		now := nanotime()
		k.counts.Timers++
		c.armed = 0
		if int(k.timers.cpu) == me {
			k.timers.armed = 0
		}
		if s.expire(now, me) > 0 {
			c.preempt = true
		}
		if c.sliceEnd != 0 && now >= c.sliceEnd {
			c.sliceEnd = 0
			c.handed = false // others that were handed over may have the CPU now
			if c.current != none && s.queue.head != none {
				if others := s.idle &^ (1 << me); others != 0 {
					s.kickOne(others)
				} else if !c.preempt {
					s.requeue(c.current, false)
				}
			}
		}
	case source >= sourceLine:
		k.counts.Lines++
		// Where every P is busy, no thread waits in epoll_pwait, and sysmon is the one that polls
		// for the runtime: do not let it sleep out its 10 ms.
		if k.fds.line(uint32(source-sourceLine), s, me) || s.hasten(me) {
			c.preempt = true
		}
	}
}

// handleInterrupt is Handlers.Interrupt.
func handleInterrupt(t *context, source uint64) {
	pc := t.PC()
	lock()
	me := thisCPU()
	c := &k.cpus[me]
	c.traps++
	c.lastTrap = lastTrap{trapInterrupt, source, pc}
	if tracing.On() {
		traceEvent(tracewindow.IRQ, uint16(source), source, pc, 0, 0)
	}
	interrupted(c, me, source)
	leave(c, me)
}

// handleException is Handlers.Exception: demand paging of the Go heap, or a signal for the
// runtime, which turns it into a Go panic.
func handleException(t *context, e *event) {
	pc := t.PC()
	lock()
	me := thisCPU()
	c := &k.cpus[me]
	c.traps++
	c.lastTrap = lastTrap{trapException, uint64(e.Vector), pc}
	if sp := t.SP(); sp >= k.fixed[0] && sp <= k.fixed[1] && k.fixed[1] != 0 {
		reportFatal(&t.Frame, e, "exception on a fixed kernel stack")
	}
	if e.Kind != EventPageFault || e.Present || !populate(e.Addr) {
		forceSignal(c.current, e)
	}
	leave(c, me)
}
