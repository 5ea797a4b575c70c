// Package task is processes and threads: thread groups, process groups and sessions, clone, exec, exit
// and wait, signals, futexes.
//
// One goroutine runs each user thread: it enters user mode (Machine.Run), gets an event back, and
// handles it. Blocking in the kernel is blocking that goroutine, always through Task.Sleep, which
// knows about signals, deadlines and SIGKILL.
//
// # Words
//
//   - Task: a thread. Its ID is the tid.
//   - Group: a thread group, what user space calls a process. Its ID is the pid (tgid).
//   - ProcessGroup, Session: as in credentials(7).
//
// # Locks
//
// Kernel.mu guards the family tree, process groups and sessions, and all signal state (actions,
// masks, pending sets, stops). It is held for short, never while user memory is touched or
// anything blocks. Order: Kernel.mu before wait queues' locks. Futex buckets are locked before an
// address space and never with Kernel.mu.
//
// Fields of Task that say "owned by the task" are used by its own goroutine only.
package task
