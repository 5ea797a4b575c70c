//go:build arm64

// Package goroutine is what the kernel knows of the goroutine that calls: its runtime.g and its frame. It
// works in any Go program. arch/amd64/goroutine and arch/arm64/goroutine have the same API.
package goroutine

// G is the address of the calling goroutine's runtime.g: register X28.
func G() uintptr

// FP is the caller's frame pointer: the address of a pair of words, the frame pointer of the caller's caller and the
// address to which the caller returns.
func FP() uintptr

// StackAtCall is, for a function's frame pointer, the stack pointer of its caller before the call: everything from there on is
// its callers' (0: there is none), save SpillSize bytes in which it may keep register arguments.
func StackAtCall(fp uintptr, load func(uintptr) uintptr) uintptr {
	caller := load(fp)
	if caller == 0 {
		return 0
	}
	return caller + 16 // the frame record lies below the stack pointer by 8, and LR is at 0(SP)
}

// SpillSize bounds what a function stores in its caller's frame: its register arguments (Go's internal ABI has sixteen
// integer registers).
const SpillSize = 16 * 8
