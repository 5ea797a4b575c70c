//go:build amd64

// Package ring0 is the CPU as the kernel sees it: entry, traps, per-CPU areas, the saved
// state of runtime threads, the switch to user mode and back, the timer, inter-processor
// interrupts and the interrupt controller. arch/amd64/ring0 and arch/arm64/ring0 have the
// same API; guestkernel/nucleus is their only importer besides the façades above it.
//
// It holds mechanism only. Which thread runs, what a system call does, which frame is
// whose is decided in guestkernel/nucleus, which ring0 calls through Handlers.
//
// # Words
//
//   - CPU: the per-CPU area (amd64: GS base; arm64: TPIDR_EL1).
//   - thread: a thread of the Go runtime (an M). Context is its saved state.
//   - nucleus stack: the per-CPU stack on which every handler runs, interrupts masked.
//   - user context: the saved state of one user thread; memory outside the Go heap.
//
// # Boot
//
// Every vCPU starts at the symbol entry (linked with -ldflags=-E=ringo/arch/ARCH/ring0.entry) with the
// boot-info GPA and its number in the first two argument registers. CPU 0 calls
// Handlers.Boot(info) on a small stack in .bss, with the boot page tables. Boot makes
// page tables and one area per CPU, calls SetKernelRoot and PublishArea for
// each CPU and returns. Then every CPU, CPU 0 included, switches to the kernel root and its own area and
// calls Handlers.Start(index) on its nucleus stack. A CPU on whose area no thread has been
// set when Start returns is an error: Start idles until there is one.
//
// # Handlers
//
// A handler runs on this CPU's nucleus stack with interrupts masked, a g of its own (real
// stack bounds, so that ordinary Go functions pass their stack check; g.m is nil, so anything
// that needs the runtime faults at once instead of corrupting it) and returns
// normally. Then ring0 resumes the thread that is set in this CPU's area (CPU.SetThread), which may be
// another one than the one that trapped: that is the context switch. A handler never
// allocates, never stores a pointer into memory (no write barriers) and never blocks.
//
//   - Syscall(t): thread t (kernel Go code) executed a system call: SYSCALL or SVC. Its general
//     registers are in t; its vector registers are dead (caller-saved in Go).
//   - Exception(t, e): a fault in kernel Go code. Everything is saved in t, vector state included.
//   - Interrupt(t, source): an external interrupt, in kernel Go code or in user mode. If it came in
//     user mode, the user state is already in its UserContext, and t has been made to
//     resume at the return of its RunUser with EventInterrupt.
//   - Fatal(f, e): an exception while the nucleus itself ran, or one that no stack can be trusted
//     after (#DF, NMI, machine check; SError). Never returns.
//
// Interrupts that come while a CPU is in Idle end Idle and go to no handler.
//
// # User mode
//
// RunUser(ctx) is an ordinary call by a goroutine. It masks interrupts, loads the user's address space (when
// it is not loaded already), vector state, TLS and general registers, and enters user mode.
// System calls and faults come back as the return of RunUser without passing through the nucleus: no lock,
// no thread switch. Interrupts pass through Handlers.Interrupt first. RunUser returns EventInterrupt without entering
// user mode when ctx.Interrupt has been called since the last return (no lost wake-ups).
//
// Before any Go code runs again the kernel's own invariants hold: TLS base, g, X15 = 0,
// MXCSR 0x1f80, x87 control word 0x37f, DF and AC clear (arm64: FPCR 0, PAN set).
//
// # API
//
// In the order of the files. Everything may be called with interrupts masked only (in a
// handler), unless it says otherwise. "any" = from any goroutine as well.
//
//	cpu.go      type Handlers; var handlers (linkname ringo/guestkernel/nucleus.handlers: the nucleus defines it)
//	            Source* constants; func Index() int; func Thread() *Context; func SetThread(*Context)
//	            func Idle() (source uint64)     // waits for an interrupt with interrupts enabled, acknowledges it
//	            func Pause()                    // any: spin hint
//	            func Call(nr, a0..a5 uint64) uint64 // any: a system call made on purpose (private numbers)
//	boot.go     func InitMachine(*bootinfo.Info)    // in Boot: console, clock, interrupt controller, vector size
//	            const AreaPages; func AreaGuard(page int) bool // layout of a CPU's area
//	            func PublishArea(index int, va uint64)         // in Boot: CPU may leave the boot tables
//	            func HWCap() uint64             // AT_HWCAP for the runtime, 0: none
//	            func EntryCounter() uint64      // any: Counter at the first instruction
//	memory.go   func SetKernelRoot(root uint64); func LoadRoot(root uint64); func Root() uint64 // this CPU's
//	            func KernelRoot() uint64        // any: what SetKernelRoot set
//	            func RootOf(cpu int) uint64     // any CPU's
//	            func SyncCode(va, size uint64)  // any: I-cache
//	            func FlushRange(va, size uint64) // TLB; const TLBBroadcast: reaches all CPUs by itself
//	            func TableBarrier()             // after new page-table entries (arm64 DSB/ISB; amd64 nothing)
//	clock.go    func Counter() uint64 (any); func Nanotime() int64 (any, since boot); func CounterAt(ns int64) uint64
//	            func WallOffset() int64 (any); func ClockFunc() uintptr // for runtime.vdsoClockgettimeSym
//	            func SetDeadline(counter uint64) // this CPU's timer interrupt; 0 disarms
//	irq.go      func SendIPI(cpu int); func EnableLine(line uint32, cpu int) bool; func DisableLine(line uint32)
//	            func DeviceRange(*bootinfo.Info, n int) (gpa, size uint64, ok bool) // device memory ring0 itself needs mapped
//	console.go  func ConsoleWrite(p uintptr, n int); func PowerOff(code int)
//	            func MMIORead32(va uint64) uint32; func MMIOWrite32(va uint64, v uint32) // any: one load, one store
//	thread.go   type Context, type Frame and their methods
//	vector.go   func VectorSize() int (at most 4096); func InitVector(area uintptr)
//	signal.go   type Signal; func (*Context) SignalStack(*Signal) (lo, hi uint64); PushSignal;
//	            SignalFrame() (lo, hi uint64); PopSignal() (mask uint64); func (*Event) Signal() (number, code int32); Name()
//	user.go     type UserContext, Regs, Event; func RunUser(*UserContext) Event (any);
//	            func InitUserContext(addr uintptr) *UserContext (any)
//	report.go   func (*Frame) Register(i int) (name string, value uint64, ok bool); func SystemRegister(i int) (same)
package ring0
