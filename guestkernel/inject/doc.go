// Package inject plants known bugs in the kernel, so that every detector is tried on the bug it exists for:
// inject=NAME on the kernel command line plants one, inject=NAME-control does the same work without the bug. What each plant does
// and what a debugger has to say about it is the table of internal/plants; docs/plants.md is for people.
//
// Tasks that a plant concerns get a fixed kernel stack of 8 KiB besides their goroutine's. The stacks lie side by side in
// one block of frames, without guard pages, in the order in which tasks got theirs (the lowest 8 KiB are nobody's): where
// one overflows, its neighbour below is hit. The part of a system call that a plant replaces runs there, and a task that sleeps
// in it has switched away from that stack, as in a kernel whose system calls have no other (package fixedstack).
//
// Without inject= nothing of this package runs: the task layer has a nil Injector.
package inject
