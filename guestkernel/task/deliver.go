package task

import (
	"time"

	"golang.org/x/sys/unix"

	"ringo/guestkernel/wait"
)

// Flags of a stack_t.
const (
	ssOnStack    = 1
	ssDisable    = 2
	ssAutoDisarm = -1 << 31
	minSigStack  = 2048
)

// attend does everything that has to happen before user mode goes on: exits, stops, signals, restarts.
func (t *Task) attend() {
	k, g := t.k, t.group
	handled := false
	k.mu.Lock()
	for {
		if t.killed || g.exiting {
			t.killed = true
			t.exiting = true
			k.mu.Unlock()
			return
		}
		if g.thaw != nil {
			t.freezeLocked()
			continue
		}
		if g.stopping {
			t.stopLocked()
			continue
		}
		info := t.dequeueLocked(^t.mask)
		if info == nil {
			break
		}
		sig := info.Signal()
		act := g.actions.table[sig]
		t.slot.Signal(sig, int32(info.Code()), act.Handler)
		switch {
		case act.Handler == sigIgn:
		case act.Handler == sigDfl:
			t.defaultActionLocked(sig)
		default:
			if act.Flags&saResetHand != 0 {
				g.actions.table[sig].Handler = sigDfl
			}
			k.mu.Unlock()
			handled = true
			t.enterHandler(info, act)
			k.mu.Lock()
		}
	}
	t.work.Store(false)
	k.mu.Unlock()
	if handled {
		return
	}
	if err := t.restart; err != nil {
		t.restart = nil
		if err == wait.ErrRestartBlock && t.restartCall != nil {
			t.ctx.Regs().SetSyscall(uint64(SyscallNumbers["restart_syscall"]))
		}
		t.ctx.RestartSyscall()
	}
	if m := t.savedMask; m != nil {
		t.savedMask = nil
		t.SetMask(*m)
		if t.work.Load() {
			t.attend()
		}
	}
}

// defaultActionLocked does what SIG_DFL means for sig.
func (t *Task) defaultActionLocked(sig int) {
	switch {
	case defaultIgnored.Has(sig):
	case t.group.unkillable() && !t.forced && !Unblockable.Has(sig):
	case stopSignals.Has(sig):
		if sig != int(unix.SIGSTOP) && t.k.orphanedLocked(t.group.pgroup, nil) {
			return
		}
		t.k.stopGroupLocked(t.group, sig)
	default:
		// Core dumps are not written, so the status never has the core bit.
		t.k.killGroupLocked(t.group, sig)
	}
}

// enterHandler pushes a signal frame and points the registers at the handler. A frame that cannot be written
// is a SIGSEGV, deadly if it was for SIGSEGV already.
func (t *Task) enterHandler(info *Info, act Action) {
	sig := info.Signal()
	if t.rseq.addr != 0 {
		t.fixRseq() // the frame must not hold the middle of a sequence
	}
	if err := t.restart; err != nil {
		t.restart = nil
		if err == wait.ErrRestartNoIntr || err == wait.ErrRestart && act.Flags&saRestart != 0 {
			t.ctx.RestartSyscall()
		}
	}
	mask := t.Mask()
	if t.savedMask != nil {
		mask = *t.savedMask
		t.savedMask = nil
	}
	regs := t.ctx.Regs()
	d := delivery{
		Signal: sig, Info: *info, Handler: act.Handler, Flags: act.Flags, Restorer: act.Restorer, Mask: uint64(mask),
		Top: regs.StackPointer(), Alt: t.alt, Vector: t.ctx.VectorState(), Room: t.signalRoom(),
	}
	if act.Flags&saRestorer == 0 {
		d.Restorer = t.space.SigreturnAddr()
	}
	d.Fault = t.faultOf(info)
	onAlt := t.onAltStack(d.Top)
	if act.Flags&saOnStack != 0 && t.alt.Flags&ssDisable == 0 && t.alt.Size > 0 && !onAlt {
		d.Top, d.OnAlt = t.alt.SP+t.alt.Size, true
	}
	if t.alt.Size == 0 {
		d.Alt.Flags = ssDisable
	}
	frame, addr, out, err := signalFrame(regs, &d)
	if err == nil && (d.OnAlt || onAlt) && (addr < t.alt.SP || addr >= t.alt.SP+t.alt.Size) {
		err = unix.EFAULT
	}
	if err == nil {
		err = t.CopyOutUser(addr, frame)
	}
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		t.forceLocked(newInfo(int(unix.SIGSEGV), CodeKernel), sig == int(unix.SIGSEGV))
		return
	}
	*regs = out
	if t.alt.Flags&ssAutoDisarm != 0 {
		t.alt = altStack{Flags: ssDisable}
	}
	blocked := t.mask | act.Mask
	if act.Flags&saNoDefer == 0 {
		blocked |= 1 << (sig - 1)
	}
	t.setMaskLocked(blocked)
}

// fault raises the signal of an exception: it cannot be blocked or ignored.
func (t *Task) fault(sig unix.Signal, code int32, addr uint64, f fault) {
	info := newInfo(int(sig), int(code))
	info.put64(16, addr)
	t.lastFault = f
	t.faultSignal = int(sig)
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	if sig == unix.SIGKILL {
		t.k.killGroupLocked(t.group, int(sig))
		return
	}
	t.forceLocked(info, false)
}

// faultOf is the exception behind info, if that is what it is about.
func (t *Task) faultOf(info *Info) fault {
	if t.faultSignal == info.Signal() && info.Code() > 0 {
		t.faultSignal = 0
		return t.lastFault
	}
	return fault{}
}

// forceLocked sends a signal that takes effect whatever the mask and the action say (force_sig_info).
func (t *Task) forceLocked(info *Info, deadly bool) {
	sig := info.Signal()
	act := &t.group.actions.table[sig]
	if deadly || act.Handler == sigIgn || t.mask.Has(sig) {
		*act = Action{}
		t.mask &^= 1 << (sig - 1)
	}
	t.forced = act.Handler == sigDfl // even init dies of its own faults
	t.pending.drop(1 << (sig - 1))
	t.pending.add(info, nil)
	t.work.Store(true)
}

// signalRoom is memory for one signal frame at a time, kept from one to the next: signals would leave kilobytes of garbage each.
func (t *Task) signalRoom() []byte {
	if t.room == nil {
		t.room = make([]byte, 2*signalFrameSize(len(t.ctx.VectorState())))
	}
	return t.room
}

// Sigreturn is rt_sigreturn(2): it restores what the signal frame under the stack pointer holds. A bad frame is a SIGSEGV.
func (t *Task) Sigreturn() error {
	regs := t.ctx.Regs()
	saved, err := readSignalFrame(regs, len(t.ctx.VectorState()), t.signalRoom(), t.CopyInUser)
	if err == nil && !t.ctx.SetVectorState(saved.Vector) {
		err = unix.EFAULT
	}
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	if err != nil {
		t.forceLocked(newInfo(int(unix.SIGSEGV), CodeKernel), false)
		return ErrNoReturn
	}
	*regs = saved.Regs
	t.setMaskLocked(SigSet(saved.Mask))
	if a := saved.Alt; !t.onAltStack(regs.StackPointer()) && (a.Flags&ssDisable != 0 || a.Size >= minSigStack) {
		t.alt = a
		t.alt.Flags &^= ssOnStack
	}
	return ErrNoReturn
}

func (t *Task) onAltStack(sp uint64) bool {
	return t.alt.Flags&(ssDisable|ssAutoDisarm) == 0 && sp > t.alt.SP && sp-t.alt.SP <= t.alt.Size
}

// AltStack answers the alternate stack as sigaltstack(2) reports it.
func (t *Task) AltStack() (sp uint64, flags int32, size uint64) {
	flags = t.alt.Flags
	switch {
	case t.alt.Size == 0:
		flags = ssDisable
	case t.onAltStack(t.ctx.SP()):
		flags |= ssOnStack
	}
	return t.alt.SP, flags, t.alt.Size
}

// SetAltStack is sigaltstack(2). Errors: EPERM (in use), EINVAL, ENOMEM (too small).
func (t *Task) SetAltStack(sp uint64, flags int32, size uint64) error {
	mode := flags &^ ssAutoDisarm
	switch {
	case t.onAltStack(t.ctx.SP()):
		return unix.EPERM
	case mode != 0 && mode != ssOnStack && mode != ssDisable:
		return unix.EINVAL
	case mode == ssDisable:
		t.alt = altStack{Flags: flags}
		return nil
	case size < minSigStack:
		return unix.ENOMEM
	}
	t.alt = altStack{SP: sp, Flags: flags &^ ssOnStack, Size: size}
	return nil
}

// WaitSignal is rt_sigtimedwait(2): it takes a pending signal of the set, waiting for one until the deadline
// (zero: none). Errors: EAGAIN (deadline), EINTR.
func (t *Task) WaitSignal(set SigSet, deadline time.Time) (*Info, error) {
	set &^= Unblockable
	k := t.k
	k.mu.Lock()
	info := t.dequeueLocked(set)
	if info != nil {
		k.mu.Unlock()
		return info, nil
	}
	if !deadline.IsZero() && !deadline.After(time.Now()) {
		k.mu.Unlock()
		return nil, unix.EAGAIN
	}
	t.waitingFor = set
	k.mu.Unlock()
	result := t.Sleep(nil, deadline)
	k.mu.Lock()
	t.waitingFor = 0
	info = t.dequeueLocked(set)
	if info != nil && (t.pending.set|t.group.pending.set)&^t.mask == 0 && !t.killed && !t.group.stopping {
		t.work.Store(false)
	}
	// What else is pending for the process may have woken this task, too, while it was the first that waited: somebody else's now.
	for sig := 1; sig <= NumSignals; sig++ {
		if t.group.pending.set.Has(sig) {
			k.retargetLocked(t.group, sig)
		}
	}
	k.mu.Unlock()
	switch {
	case info != nil:
		return info, nil
	case result == wait.TimedOut:
		return nil, unix.EAGAIN
	}
	return nil, unix.EINTR
}

// Pause sleeps until a signal's handler runs or it kills the task.
func (t *Task) Pause() error {
	t.Sleep(nil, time.Time{})
	return wait.ErrRestartNoHandler
}
