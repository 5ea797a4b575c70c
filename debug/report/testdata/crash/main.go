// Command crash is a kernel that dies at once, in a way chosen by its entry symbol
// (-ldflags=-E=...). The report's end-to-end tests boot it.
package main

// stack is what the entry code stands on.
var stack [16 << 10]byte

// address is where nothing is mapped.
var address uint64 = 0x00007bad_0000_1230

func load(addr uint64) uint64
func spoil()

// outer and inner exist to be seen on the stack.
//
//go:noinline
//go:nosplit
func outer(n uint64) uint64 {
	n = inner(n) + 1
	return n
}

//go:noinline
//go:nosplit
func inner(n uint64) uint64 {
	n = load(n) * 3
	return n
}

// start is called by entryFault, last by entryLast.
//
//go:nosplit
func start() { outer(address) }

//go:noinline
//go:nosplit
func last() { spoil() }

// Function values, for assembly that calls them by Go's own convention.
var (
	starts = start
	lasts  = last
)

func main() {}
