package task

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Affinity is the set of CPUs that the task may run user code on, bit n for CPU n (sched_setaffinity(2)). System calls of the task, which are
// Go code, may run anywhere.
func (t *Task) Affinity() uint64 {
	if a := t.affinity.Load(); a != 0 {
		return a
	}
	return t.k.allCPUs()
}

func (k *Kernel) allCPUs() uint64 { return 1<<k.Machine.CPUs() - 1 }

// SetAffinity sets it for a task of the same user; CPUs that there are not are ignored. Errors: EPERM, EINVAL (none is left).
func (t *Task) SetAffinity(target *Task, cpus uint64) error {
	if !t.maySchedule(target) {
		return unix.EPERM
	}
	if cpus &= t.k.allCPUs(); cpus == 0 {
		return unix.EINVAL
	}
	target.affinity.Store(cpus)
	if target != t {
		t.k.mu.Lock()
		target.interruptLocked() // its next turn applies it
		t.k.mu.Unlock()
	}
	return nil
}

// applyAffinity tells the CPU's entry to user mode where the task may run. The task's own goroutine calls it.
func (t *Task) applyAffinity(cpus uint64) {
	t.applied = cpus
	if cpus == 0 {
		cpus = ^uint64(0)
	}
	if t.rseq.addr != 0 {
		// Only where the thread believes to be; elsewhere it is told first.
		if t.rseq.cpu < 0 || cpus>>t.rseq.cpu&1 == 0 {
			cpus = 0
		} else {
			cpus = 1 << t.rseq.cpu
		}
	}
	t.ctx.SetAllowed(cpus)
}

// yieldsForTimers is how many calls of sched_yield may pass between two looks at Go's timers: their goroutines are not seen as waiting before.
const yieldsForTimers = 1024

// Yield is sched_yield(2). Where nobody waits for the CPU it returns at once.
func (t *Task) Yield() {
	if t.yields++; t.yields%yieldsForTimers != 0 && !t.k.Machine.Waiting() {
		return
	}
	runtime.Gosched()
}

// relocate moves the task to a CPU that it may run on: the one it is on is not.
func (t *Task) relocate() { t.k.Machine.MoveTo(t.Affinity()) }

// CPU is where the task's user code runs, or ran last.
func (t *Task) CPU() int { return t.ctx.LastCPU() }
