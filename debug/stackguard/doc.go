// Package stackguard watches the kernel stacks of sleeping tasks: from the moment a task has stopped running on
// a stack until just before it runs on it again, nobody may write there.
//
// The kernel says who sleeps where, in the debug window (internal/debugwindow), and rings a doorbell while a guard is
// armed. Two modes:
//
//	detect     the kernel copies the stack when the task parks, compares when it wakes, and rings only if
//	           they differ. Nothing is protected, nothing is slowed down but by the copy; the report has victim, bytes and
//	           the time in between, and not who wrote.
//	attribute  the pages of the stack are protected while the task sleeps (debug/pagetrace). A write to them
//	           stops at the instruction, which package classify then judges.
//
// What is a report is decided byte by byte, by zones (classify.Zone): pages may hold other things than the stack, and its unused
// part may be written at will. Allow rules excuse writes to live frames by functions that do so by right; they never
// excuse a write to what the switch saved. Everything excused is counted.
//
// Go moves the stacks of goroutines. A hit on a stack that its goroutine has left is no report; the guard then looks up
// where it lies now.
package stackguard
