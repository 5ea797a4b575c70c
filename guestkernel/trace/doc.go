// Package trace writes what debuggers read from guest memory without stopping the guest: the registry of kernel stacks
// (internal/debugwindow) and the event rings (internal/tracewindow). Nothing here exits to the monitor, but the
// doorbell of an armed stack guard. Without windows in the boot information every call is a nil check.
//
// A Slot belongs to a task and is used by the task's own goroutine, unless a method says otherwise.
package trace
