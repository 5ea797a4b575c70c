// Package classify says what a write to a sleeping kernel stack means.
//
// Near-identical damage (a saved frame that is all or partly zero, a return to address 0) has
// had many causes in one kernel's history, so a report does not end with "address X was written"
// but with a verdict and the evidence for it. Judge is a pure function: it reads no guest
// memory and asks nobody; whoever traced the write collects an Evidence first. So every rule has
// a table test, and a report can be judged again from its file.
//
// The rules, in the order in which they are tried; the first that fits wins:
//
//	R9   the writer is no vCPU: a device or the monitor itself
//	R4   the write was made by a page-table walk: the page is used as a page table
//	R5   the write was made by the delivery of an event: the CPU's stack pointer for it is wrong
//	R2   a string store in the kernel with the direction flag set
//	R3   a store of user mode, or through a translation the page tables do not have: a stale TLB entry
//	R6   the writer's stack pointer is in the victim's stack, and its task is the victim, or none that
//	     came there by overflowing: a task on two CPUs, or a stack freed early
//	R1   the writer's stack pointer is outside its own stack: stack overflow
//	R7   the writer is an allocator, or the frame was given out again while in use
//	R8   one wide store (vector, pair, XSAVE) that starts outside the victim and ends inside
//	R10  none of these: a wild write
//
// Without a write: R0 (the frame was bad when it was saved), R0b (it changed and the engine, armed, saw
// nothing: the engine's own failure), and RD (it changed while nothing was armed to see who).
//
// The published order of these rules (R1 first) fits where only CPU writes are traced. Here the
// facts that the hardware or the monitor states outright (R9, R4, R5, R2) come before those that
// are concluded from stack pointers, because a stack pointer says nothing about a write that it did not make.
package classify
