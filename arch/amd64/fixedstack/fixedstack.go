//go:build amd64

// Package fixedstack runs kernel code on a small stack of fixed size, as kernels in other languages do, and switches away from
// it and back to it: a context switch in a few instructions of assembly, whose frame lies on that stack. Go's own stacks
// grow and move; these overflow. Only injected bugs (guestkernel/inject) run here.
//
// Code on a fixed stack runs with interrupts masked and a g of its own without limits: ordinary Go functions without
// allocation, without pointers into the Go heap in their frames, without system calls, as in the nucleus
// (docs/nucleus.md). It is a coroutine of the goroutine that called Start:
//
//	Start(s, fn, arg)   fn(arg) begins on s
//	Yield()             on s: saves registers on s, goes back to the caller of Start or Resume
//	Resume(s)           loads them and returns to Yield's caller, or to whatever lies on s instead
//
// arch/amd64/fixedstack and arch/arm64/fixedstack have the same API.
package fixedstack

// Stack is a fixed stack. It holds no pointers and must not move: a global variable, or memory outside the Go heap.
// Kernel mode only: masking interrupts is privileged.
type Stack struct {
	Lo, Hi uint64 // GVA, 16-byte aligned
	// SP is the stack pointer that Yield saved, 0 while code runs on the stack or none has begun.
	SP uint64

	back   uint64     // of the goroutine: stack pointer,
	backFP uint64     // frame pointer,
	flags  uint64     // interrupt state
	g      uint64     // and g
	link   uint64     // return address (arm64)
	fakeG  [64]uint64 // enough of a runtime.g: stack bounds and guards of 0, which every check passes
}

// SavedWords are the words that Yield leaves from SP on; the last one is the return address.
const SavedWords = 7

// G is the g register while code runs on s.
func (s *Stack) G() uint64 { return fakeGAddress(s) }

// Start runs fn(arg) on s until it returns or yields.
//
//go:noescape
func Start(s *Stack, fn func(arg uint64), arg uint64)

// Resume continues what has yielded on s, until it returns or yields again.
//
//go:noescape
func Resume(s *Stack)

// Yield is called by code that runs on a fixed stack.
func Yield()

//go:noescape
func fakeGAddress(s *Stack) uint64
