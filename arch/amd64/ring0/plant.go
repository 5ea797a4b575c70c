//go:build amd64

package ring0

// HasEventStack says that the CPU pushes a frame by itself when it takes an interrupt, on a stack that the TSS names.
const HasEventStack = true

// InterruptOn takes one interrupt on the stack that ends at top, as if the TSS named a wrong one: an injected bug (guestkernel/inject). Any
// goroutine.
func InterruptOn(top uint64) {
	flags := maskInterrupts()
	c := currentCPU()
	right := uint64(c.tss[9]) | uint64(c.tss[10])<<32
	c.setTSS(9, top)
	softInterrupt()
	c.setTSS(9, right)
	restoreInterrupts(flags)
}

func maskInterrupts() (flags uint64)
func restoreInterrupts(flags uint64)

// softInterrupt takes the interrupt of SourceIPI on this CPU.
func softInterrupt()
