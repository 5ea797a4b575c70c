package task

import "ringo/guestkernel/wait"

// SignalNews is told of every signal that becomes pending for the process or one of its threads: for signalfd.
func (g *Group) SignalNews() *wait.Queue { return &g.signalNews }

// HasPending reports whether a signal of the set waits for the task. Any goroutine.
func (t *Task) HasPending(set SigSet) bool {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return (t.pending.set|t.group.pending.set)&set != 0
}

// TakePending takes a pending signal of the set, the thread's own first: nil when there is none.
func (t *Task) TakePending(set SigSet) *Info {
	t.k.mu.Lock()
	defer t.k.mu.Unlock()
	return t.dequeueLocked(set)
}
