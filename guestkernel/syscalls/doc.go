// Package syscalls is the system-call interface: one topic a file, one table for both
// architectures. A handler is registered by its Linux name; the numbers are the architecture's
// (arch/*/abi). Names that an architecture does not have (open, fork, poll... on arm64) are simply
// not reachable there, so a handler never asks which architecture it runs on.
//
// A handler runs on the calling task's goroutine and may block through the task. It answers the
// return value, or an error: a unix.Errno, or one of the restart errors of package wait,
// which the task turns into a restart or EINTR. Any other error is a bug and reported as EIO.
//
// A call that is not in the table answers ENOSYS and is counted by number (Missing).
package syscalls
