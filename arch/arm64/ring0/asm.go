//go:build arm64

package ring0

// Defined in entry.s and user.s. Only enterUser is called from Go.
func entry()
func vectors()
func resume()
func kernelSync()
func kernelIRQ()
func kernelError()
func nucleusError()
func fatalTail()
func userSync()
func userIRQ()
func userError()

//go:noescape
func enterUser(c *UserContext) (entered bool)

// Defined in lib.s: one instruction or one architectural sequence each.
func currentIndex() uint64
func currentCPU() *cpu
func setThread(c *Context)
func waitForInterrupt()
func sendEvent()
func counter() uint64
func setTimer(deadline uint64)
func stopTimer()
func readIAR() uint64
func writeEOIR(intid uint64)
func writeSGI1R(v uint64)
func enableCPUInterface()
func affinity() uint64
func features() uint64
func instructionSet() (isar0, isar1, pfr0 uint64)
func systemRegisters() (esr, far, sctlr uint64)
func signalReturn()
func signalReturnAddress() uint64
func setPAN()
func loadRoot(phys uint64)
func switchRoot(phys uint64)
func wideASIDs()
func memoryFeatures() uint64
func readRoot() uint64
func invalidatePages(first, n uint64)
func invalidateAll()
func syncTables()
func cleanLines(va, end, line uint64)
func cacheType() uint64
func hypercall(function uint64) uint64
func mmioWrite64(va, v uint64)
func clockGettime()

// addresses are entry addresses of assembly functions: a Go func value would be a wrapper's.
func addresses() (runtime, clock uint64)

// Thread is the thread set on this CPU, or nil.
func Thread() *Context

// Scheduler is where the calling goroutine's runtime.g and runtime.sched lie: guestkernel/nucleus knows their fields. Any goroutine.
func Scheduler() (gp, sched uintptr)

// Pause tells the CPU that this is a spin loop. Any context.
func Pause()

// Call makes a system call on purpose: the way from a goroutine into the nucleus. nr is one of
// the nucleus's private numbers. Any goroutine; it may move to another CPU meanwhile.
func Call(nr, a0, a1, a2, a3, a4, a5 uint64) uint64

// MMIORead32 reads a device register at a device mapping with one 32-bit load. Any context.
func MMIORead32(va uint64) uint32

// MMIOWrite32 writes a device register with one 32-bit store. Any context.
func MMIOWrite32(va uint64, v uint32)
