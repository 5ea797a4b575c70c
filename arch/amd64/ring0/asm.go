//go:build amd64

package ring0

import (
	"sync/atomic"
	"unsafe"
)

// Defined in entry.s. They are not called from Go.
func entry()
func syscallEntry()
func gates()
func userReturn()
func enterUser(c *UserContext)

// Defined in lib.s: one instruction each.
func rdmsr(msr uint32) uint64
func wrmsr(msr uint32, value uint64)
func cpuid(leaf, sub uint32) (a, b, c, d uint32)
func readCR0() uint64
func writeCR0(v uint64)
func readCR2() uint64
func readCR3() uint64
func writeCR3(v uint64)
func readCR4() uint64
func writeCR4(v uint64)
func xsetbv(v uint64)
func invlpg(va uint64)
func rdtsc() uint64
func outb(port uint16, v uint8)
func inb(port uint16) uint8
func outl(port uint16, v uint32)
func halt()
func clockGettime()

// The descriptor table operands point at the limit, see pseudoDescriptor.
//
//go:noescape
func loadGDT(p unsafe.Pointer)

//go:noescape
func loadIDT(p unsafe.Pointer)
func loadTR(selector uint64)

// addresses are entry addresses of assembly functions: a Go func value would be a wrapper's.
func addresses() (syscall, gates, runtime, clock uint64)

// MMIORead32 reads a device register at a device mapping with one 32-bit load. Any context.
func MMIORead32(va uint64) uint32

// MMIOWrite32 writes a device register with one 32-bit store. Any context.
func MMIOWrite32(va uint64, v uint32)

// publish stores v where another CPU polls for it.
func publish(p *uint64, v uint64) { atomic.StoreUint64(p, v) }

// pointer makes a pointer from an address outside the Go heap: an area, a context, a user
// page in the direct map, or the stack of a thread that does not run. The collector knows none of them.
func pointer(va uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&va)) }
