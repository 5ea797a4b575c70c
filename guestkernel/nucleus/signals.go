package nucleus

import "golang.org/x/sys/unix"

// sigAction is struct sigaction as rt_sigaction(2) passes it: handler, flags, restorer, mask.
type sigAction struct{ handler, flags, restorer, mask uint64 }

const (
	sigDefault    = 0
	sigIgnore     = 1
	numSignals    = 64
	sigactionSize = 32
	saOnStack     = 0x08000000
	saNoDefer     = 0x40000000

	sigBlock   = 0
	sigUnblock = 1
	sigSetmask = 2

	ssDisable = 2
	siTkill   = -6 // SI_TKILL
)

func sysSigaction(n, act, old uint64) int64 {
	if n == 0 || n > numSignals {
		return -int64(unix.EINVAL)
	}
	a := &k.actions[n]
	if old != 0 {
		if !present(old, sigactionSize) {
			return -int64(unix.EFAULT)
		}
		store64(old, a.handler)
		store64(old+8, a.flags)
		store64(old+16, a.restorer)
		store64(old+24, a.mask)
	}
	if act != 0 {
		if !present(act, sigactionSize) {
			return -int64(unix.EFAULT)
		}
		*a = sigAction{load64(act), load64(act + 8), load64(act + 16), load64(act + 24)}
	}
	return 0
}

func sysSigprocmask(i int32, how, set, old uint64) int64 {
	t := &k.sched.threads[i]
	if old != 0 {
		if !present(old, 8) {
			return -int64(unix.EFAULT)
		}
		store64(old, t.blocked)
	}
	if set == 0 {
		return 0
	}
	if !present(set, 8) {
		return -int64(unix.EFAULT)
	}
	mask := load64(set)
	switch int32(how) {
	case sigBlock:
		t.blocked |= mask
	case sigUnblock:
		t.blocked &^= mask
	case sigSetmask:
		t.blocked = mask
	default:
		return -int64(unix.EINVAL)
	}
	return 0
}

// sysSigaltstack: stack_t is base, flags (int32, padded), size.
func sysSigaltstack(i int32, set, old uint64) int64 {
	t := &k.sched.threads[i]
	if old != 0 {
		if !present(old, 24) {
			return -int64(unix.EFAULT)
		}
		store64(old, t.altBase)
		flags := uint64(0)
		if t.altSize == 0 {
			flags = ssDisable
		}
		store64(old+8, flags)
		store64(old+16, t.altSize)
	}
	if set != 0 {
		if !present(set, 24) {
			return -int64(unix.EFAULT)
		}
		if load32(set+8)&ssDisable != 0 {
			t.altBase, t.altSize = 0, 0
		} else {
			t.altBase, t.altSize = load64(set), load64(set+16)
		}
	}
	return 0
}

func sysSigreturn(i int32, t *context) int64 {
	lo, hi := t.SignalFrame()
	if !present(lo, hi-lo) {
		fatalError("signal frame is not mapped at", lo)
	}
	k.sched.threads[i].blocked = t.PopSignal()
	return noReturn
}

func sysTgkill(id, n uint64, me int) int64 {
	i := int32(id) - 1
	if i < 0 || i >= maxThreads || k.sched.threads[i].state == threadFree {
		return -int64(unix.ESRCH)
	}
	if n == 0 || n > numSignals {
		return -int64(unix.EINVAL)
	}
	k.sched.threads[i].pending |= 1 << (n - 1)
	k.sched.interrupt(i, me)
	return 0
}

// deliverSignals pushes a frame for one pending signal of the thread that is about to run. It
// answers false when the thread cannot run after all.
func deliverSignals(i int32) bool {
	t := &k.sched.threads[i]
	for {
		ready := t.pending &^ t.blocked
		if ready == 0 {
			return true
		}
		n := uint64(lowestBit(ready)) + 1
		t.pending &^= 1 << (n - 1)
		a := &k.actions[n]
		switch {
		case a.handler == sigIgnore || a.handler == sigDefault && defaultIgnored(n):
			continue
		case a.handler == sigDefault:
			fatalError("runtime thread killed by signal", n)
		}
		pushSignal(t, &signal{Number: int32(n), Code: siTkill})
		return true
	}
}

func defaultIgnored(n uint64) bool {
	switch unix.Signal(n) {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH:
		return true
	}
	return false
}

// forceSignal turns an exception in kernel Go code into the signal that Linux would send.
// Where the runtime cannot take it, the report comes from here.
func forceSignal(i int32, e *event) {
	t := &k.sched.threads[i]
	n, code := e.Signal()
	a := &k.actions[n]
	if a.handler <= sigIgnore || t.blocked&(1<<(n-1)) != 0 {
		f := t.ctx.Frame
		reportFatal(&f, e, "exception in kernel Go code that cannot take a signal")
	}
	pushSignal(t, &signal{Number: n, Code: code, Addr: e.Addr})
}

func pushSignal(t *thread, s *signal) {
	a := &k.actions[s.Number]
	s.Handler, s.Restorer, s.Mask = a.handler, a.restorer, t.blocked
	if a.flags&saOnStack != 0 {
		s.AltBase, s.AltSize = t.altBase, t.altSize
	}
	lo, hi := t.ctx.SignalStack(s)
	if !present(lo, hi-lo) {
		f := t.ctx.Frame
		reportFatal(&f, &event{Addr: lo}, "no stack for a signal")
	}
	t.ctx.PushSignal(s)
	t.blocked |= a.mask
	if a.flags&saNoDefer == 0 {
		t.blocked |= 1 << (s.Number - 1)
	}
}
