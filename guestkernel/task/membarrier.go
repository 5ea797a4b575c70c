package task

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Commands of membarrier(2).
const (
	BarrierGlobal          = 1
	BarrierGlobalExpedited = 2
	barrierRegisterGlobal  = 4
	BarrierPrivate         = 8
	barrierRegister        = 16
	BarrierSyncCore        = 32
	barrierRegisterSync    = 64
	BarrierRseq            = 128
	barrierRegisterRseq    = 256
	BarrierRegistrations   = 512
	barrierAll             = 1<<10 - 1
)

// Membarrier is membarrier(2). Leaving and entering user mode are full barriers here, and so ordered with regard to the instruction stream, so one mechanism serves
// all commands: every thread that is meant and is in user mode is made to leave it. Errors: EINVAL, EPERM (not registered).
func (t *Task) Membarrier(cmd int) (int, error) {
	k, g := t.k, t.group
	private := 0
	k.mu.Lock()
	var targets []*Task
	switch cmd {
	case 0:
		k.mu.Unlock()
		return barrierAll, nil
	case BarrierRegistrations:
		defer k.mu.Unlock()
		return g.barriers, nil
	case barrierRegisterGlobal, barrierRegister, barrierRegisterSync, barrierRegisterRseq:
		defer k.mu.Unlock()
		g.barriers |= cmd
		return 0, nil
	case BarrierGlobal, BarrierGlobalExpedited:
		for _, o := range k.tasks {
			if cmd == BarrierGlobal || o.group.barriers&barrierRegisterGlobal != 0 {
				targets = append(targets, o)
			}
		}
	case BarrierPrivate, BarrierSyncCore, BarrierRseq:
		private = cmd << 1 // the command that registers
		targets = append(targets, g.tasks...)
	default:
		k.mu.Unlock()
		return 0, unix.EINVAL
	}
	if g.barriers&private != private {
		k.mu.Unlock()
		return 0, unix.EPERM
	}
	for _, o := range targets {
		if o != t {
			o.interruptLocked()
		}
	}
	k.mu.Unlock()
	for _, o := range targets {
		for o != t && o.interrupting() {
			runtime.Gosched()
		}
	}
	return 0, nil
}

// interruptLocked makes a task leave user mode; one that has ended has no context any more.
func (t *Task) interruptLocked() {
	if !t.dead {
		t.ctx.Interrupt()
	}
}

// interrupting says whether interruptLocked has not had its effect yet.
func (t *Task) interrupting() bool {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return !t.dead && t.ctx.Interrupting()
}
