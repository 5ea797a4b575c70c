//go:build arm64

package ring0

// HasEventStack says that the CPU pushes a frame by itself when it takes an interrupt: it does not here.
const HasEventStack = false

// InterruptOn does not exist here.
func InterruptOn(uint64) { panic("no event stack on arm64") }
