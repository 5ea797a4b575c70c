package task

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/vfs"
	"ringo/guestkernel/wait"
	"ringo/internal/debugwindow"
)

// ErrNoReturn is what a call answers that has set the registers itself (execve, rt_sigreturn) or will
// not come back to user mode (exit).
var ErrNoReturn = errors.New("the call set the registers itself")

// addressed is a Context that the debugger may find in memory.
type addressed interface{ Address() uint64 }

// run is the task's goroutine.
func (t *Task) run() {
	t.onCPU()
	t.ctx.SetRoot(t.space.Root())
	t.identify()
	if c, ok := t.ctx.(addressed); ok {
		t.slot.Bind(c.Address())
	} else {
		t.slot.Bind(0)
	}
	machine, ev := t.k.Machine, new(Event)
	t.result = t.ctx.Result()
	loaded := t.ctx.Loaded()
	for {
		if t.work.Load() || t.restart != nil || t.savedMask != nil {
			t.attend()
		}
		if t.exiting {
			break
		}
		t.slot.OnCPU(atomic.LoadUint32(loaded))
		if a := t.affinity.Load(); a != t.applied {
			t.applyAffinity(a)
		}
		if t.k.realtime.Load() != 0 && t.rtprio.Load() == 0 {
			t.offCPU()
			runtime.Gosched() // a task with a real-time policy may want this CPU
			t.onCPU()
		}
		if t.rseq.event && t.rseq.addr != 0 {
			if t.fixRseq(); t.work.Load() {
				continue
			}
		}
		machine.Run(t.ctx, ev)
		switch ev.Kind {
		case EventSyscall:
			t.syscall(ev)
		case EventPageFault:
			t.slot.Fault(ev.Addr, uint8(ev.Access), t.ctx.PC())
			t.enterKernel(numCosts - 1)
			f := t.space.HandleFault(ev.Addr, ev.Access)
			t.leaveKernel(numCosts - 1)
			if f != nil {
				t.fault(f.Signal, f.Code, f.Addr, fault{Addr: ev.Addr, Trap: ev.Trap, Error: ev.Error})
			}
		case EventException:
			t.fault(ev.Signal, ev.Code, ev.Addr, fault{Trap: ev.Trap, Error: ev.Error})
		case EventElsewhere:
			t.offCPU()
			if t.rseq.addr != 0 {
				t.moveRseq()
			} else {
				t.relocate()
			}
			t.onCPU()
		case EventInterrupt:
			t.rseq.event = true
			t.group.checkCPUTimers()
			if t.Policy() == unix.SCHED_FIFO || machine.Keep() {
				break // the first keeps the CPU until it sleeps, as far as the tick is concerned
			}
			t.preempted.Add(1)
			t.offCPU()
			runtime.Gosched()
			t.onCPU()
		}
	}
	t.leave()
}

// identify tells the CPU what the calls that ask who the task is will answer: these then never come here. In a user namespace the answers depend on
// maps that others write, and who watches system calls (not the flight recorder) wants to see them all.
func (t *Task) identify() {
	if c := t.creds.Load(); c != t.identified.creds || t.tid != t.identified.tid {
		t.identifyAs(c)
	}
}

func (t *Task) identifyAs(c *vfs.Creds) {
	t.identified.creds, t.identified.tid = c, t.tid
	if c.User != nil || t.k.Trace != nil || t.k.Inject != nil {
		t.ctx.SetIdentity(nil)
		return
	}
	t.ctx.SetIdentity(&Identity{PID: uint32(t.OwnPID()), TID: uint32(t.OwnTID()), UID: c.UID, EUID: c.EUID, GID: c.GID, EGID: c.EGID})
}

// syscall serves the call that user mode made.
func (t *Task) syscall(ev *Event) {
	nr := ev.Nr
	t.slot.Enter(uint32(nr), (*[6]uint64)(&ev.Args))
	var ret uint64
	var err error
	if t.system.calls--; t.system.calls <= 0 || !t.k.fast[nr%numCosts].Load() { // enterKernel, as the compiler does not inline it
		t.beginTiming(nr)
		t.slot.Look()
	}
	if n := uint64(uint32(nr)); n < uint64(len(t.k.handlers)) && t.k.handlers[n] != nil {
		ret, err = t.k.handlers[n](t, ev.Args)
	} else if t.k.Inject == nil {
		ret, err = t.k.Syscalls.Call(t, nr, ev.Args)
	} else {
		ret, err = t.k.Inject.Call(t, nr, ev.Args, t.k.Syscalls)
	}
	t.leaveKernel(nr)
	t.slot.Leave(ret, err)
	if t.savedMask != nil && !interrupted(err) {
		// The call has an answer: a signal that its mask let in comes later (restore_saved_sigmask_unless).
		mask := *t.savedMask
		t.savedMask = nil
		t.SetMask(mask)
	}
	if t.creds.Load() != t.identified.creds || t.tid != t.identified.tid {
		t.identify()
	}
	if t.k.Trace != nil {
		t.k.Trace(t, nr, ev.Args, ret, err)
	}
	if err == nil {
		*t.result = ret
		return
	}
	switch err {
	case ErrNoReturn:
		return
	case wait.ErrRestart, wait.ErrRestartNoIntr, wait.ErrRestartNoHandler, wait.ErrRestartBlock:
		t.restart = err
		t.ctx.SetReturn(-int64(unix.EINTR))
		return
	case wait.ErrWouldBlock:
		err = unix.EAGAIN
	}
	errno, ok := err.(unix.Errno)
	if !ok && !errors.As(err, &errno) || errno > 511 {
		errno = unix.EIO
	}
	t.ctx.SetReturn(-int64(errno))
}

// interrupted says whether a call ended because of a signal.
func interrupted(err error) bool {
	switch err {
	case unix.EINTR, wait.ErrRestart, wait.ErrRestartNoIntr, wait.ErrRestartNoHandler, wait.ErrRestartBlock:
		return true
	}
	return false
}

// Sleep implements wait.Sleeper: it blocks until c can be received from, the deadline passes or there is work
// to do before user mode (a signal, an exit).
func (t *Task) Sleep(c <-chan struct{}, deadline time.Time) wait.Result {
	select {
	case <-c:
		return wait.Woken
	default:
	}
	if t.work.Load() {
		return wait.Interrupted
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		left := time.Until(deadline)
		if left <= 0 {
			return wait.TimedOut
		}
		if t.timer == nil {
			t.timer = time.NewTimer(left)
		} else {
			t.timer.Reset(left)
		}
		defer t.timer.Stop()
		expired = t.timer.C
	}
	if t.slot.Attributed() {
		return t.waitApart(c, expired)
	}
	return t.wait(c, expired)
}

// waitApart is wait with a gap of more than a page on the stack between its frames and its callers': the pages of
// those are protected meanwhile (debug/stackguard), and this goroutine stores to its own until it has parked. The frame also
// makes the stack so large that it shares no page with another, and that the collector finds it full enough not to shrink it.
//
//go:noinline
func (t *Task) waitApart(c <-chan struct{}, expired <-chan time.Time) wait.Result {
	if touch {
		var gap [4096 + 512]byte
		keep(&gap)
	}
	room()
	return t.wait(c, expired)
}

// room has the stack grow, if it must, before its place is told.
//
//go:noinline
func room() {
	if touch {
		var some [4096 + 512]byte
		keep(&some)
	}
}

// touch is never true: the frames are to be large, not cleared at each sleep.
var touch bool

// keep makes the compiler believe that p's bytes matter.
//
//go:noinline
func keep(p *[4096 + 512]byte) { p[0] = 0 }

// wait blocks as Sleep says.
//
//go:noinline
func (t *Task) wait(c <-chan struct{}, expired <-chan time.Time) wait.Result {
	t.offCPU()
	t.group.checkCPUTimers()
	t.switches.Add(1)
	how := debugwindow.WaitEvent
	if expired != nil {
		how = debugwindow.WaitDeadline
	}
	if t.k.Inject != nil {
		t.k.Inject.SwitchOut(t)
	}
	t.slot.Park(how)
	t.state.Store(int32(StateSleeping)) // who sees it asleep in /proc finds it parked
	result := wait.Woken
	for {
		select {
		case <-c:
		case <-expired:
			result = wait.TimedOut
		case <-t.interrupt:
			if !t.work.Load() {
				continue // left over from work that was done already
			}
			result = wait.Interrupted
			select {
			case <-c:
				result = wait.Woken
			default:
			}
		}
		break
	}
	t.slot.Wake(uint64(result))
	if t.k.Inject != nil {
		t.k.Inject.SwitchIn(t)
	}
	t.state.Store(int32(StateRunning))
	t.onCPU()
	return result
}

// sleepKillable blocks until c is closed or the task is killed; other signals wait.
func (t *Task) sleepKillable(c <-chan struct{}) (killed bool) {
	if t.slot.Attributed() {
		return t.killableApart(c)
	}
	return t.killable(c)
}

// killableApart is to killable what waitApart is to wait.
//
//go:noinline
func (t *Task) killableApart(c <-chan struct{}) (killed bool) {
	if touch {
		var gap [4096 + 512]byte
		keep(&gap)
	}
	room()
	return t.killable(c)
}

//go:noinline
func (t *Task) killable(c <-chan struct{}) (killed bool) {
	t.offCPU()
	t.state.Store(int32(StateSleeping))
	t.slot.Park(debugwindow.WaitKill)
	defer func() {
		t.slot.Wake(0)
		t.state.Store(int32(StateRunning))
		t.onCPU()
	}()
	for {
		t.k.mu.Lock()
		killed = t.killed
		t.k.mu.Unlock()
		if killed {
			return true
		}
		select {
		case <-c:
			return false
		case <-t.interrupt:
		}
	}
}

func load64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
