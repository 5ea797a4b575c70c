package nucleus

import (
	"debug/elf"

	"golang.org/x/sys/unix"

	"ringo/arch/amd64/pagetable"
	"ringo/arch/amd64/ring0"
	"ringo/internal/bootinfo"
	"ringo/internal/debugwindow"
)

// The architecture below the nucleus.
type (
	context    = ring0.Context
	frame      = ring0.Frame
	event      = ring0.Event
	signal     = ring0.Signal
	handlerSet = ring0.Handlers
	table      = pagetable.Table
)

// UserContext, Event and their parts: see arch/*/ring0.
type (
	UserContext = ring0.UserContext
	Identity    = ring0.Identity
	Event       = ring0.Event
	EventKind   = ring0.EventKind
	Access      = ring0.Access
	Regs        = ring0.Regs
)

// Kinds of Event, and of access of a page fault.
const (
	EventInterrupt = ring0.EventInterrupt
	EventSyscall   = ring0.EventSyscall
	EventPageFault = ring0.EventPageFault
	EventException = ring0.EventException
	EventElsewhere = ring0.EventElsewhere
	EventAway      = ring0.EventAway

	AccessRead  = ring0.AccessRead
	AccessWrite = ring0.AccessWrite
	AccessExec  = ring0.AccessExec
)

const (
	sourceTimer    = ring0.SourceTimer
	sourceIPI      = ring0.SourceIPI
	sourceLine     = ring0.SourceLine
	areaPages      = ring0.AreaPages
	tlbBroadcast   = ring0.TLBBroadcast
	epollEventSize = ring0.EpollEventSize
	epollDataAt    = ring0.EpollDataOffset
	sysFstatat     = unix.SYS_NEWFSTATAT
)

// Kernel virtual addresses (docs/architecture.md).
const (
	directMap   = 0xffff_8880_0000_0000
	heapBase    = 0xffff_a000_0000_0000
	heapEnd     = heapBase + 1<<39
	specialBase = heapEnd // CPU areas, stack of thread 0
)

const machineNumber = uint32(elf.EM_X86_64)

// The CPU's functions, see arch/*/ring0.

func thisCPU() int                                                    { return ring0.Index() }
func setThread(c *context)                                            { ring0.SetThread(c) }
func idle() uint64                                                    { return ring0.Idle() }
func goScheduler() (g, sched uintptr)                                 { return ring0.Scheduler() }
func pause()                                                          { ring0.Pause() }
func call(nr, a, b, c, d uint64) uint64                               { return ring0.Call(nr, a, b, c, d, 0, 0) }
func initMachine(i *bootinfo.Info)                                    { ring0.InitMachine(i) }
func areaGuard(page int) bool                                         { return ring0.AreaGuard(page) }
func publishArea(index int, va uint64)                                { ring0.PublishArea(index, va) }
func entryCounter() uint64                                            { return ring0.EntryCounter() }
func hwCap() uint64                                                   { return ring0.HWCap() }
func setKernelRoot(root uint64)                                       { ring0.SetKernelRoot(root) }
func loadRoot(root uint64)                                            { ring0.LoadRoot(root) }
func loadedRoot() uint64                                              { return ring0.Root() }
func rootOf(cpu int) uint64                                           { return ring0.RootOf(cpu) }
func flushRange(va, size uint64)                                      { ring0.FlushRange(va, size) }
func flushUser(root, va, size uint64)                                 { ring0.FlushUser(root, va, size) }
func forgetRoot(root uint64)                                          { ring0.ForgetRoot(root) }
func tableBarrier()                                                   { ring0.TableBarrier() }
func counter() uint64                                                 { return ring0.Counter() }
func nanotime() int64                                                 { return ring0.Nanotime() }
func counterAt(ns int64) uint64                                       { return ring0.CounterAt(ns) }
func wallOffset() int64                                               { return ring0.WallOffset() }
func clockFunc() uintptr                                              { return ring0.ClockFunc() }
func setDeadline(counter uint64)                                      { ring0.SetDeadline(counter) }
func sendIPI(cpu int)                                                 { ring0.SendIPI(cpu) }
func enableLine(line uint32, cpu int) bool                            { return ring0.EnableLine(line, cpu) }
func disableLine(line uint32)                                         { ring0.DisableLine(line) }
func consoleWrite(p uintptr, n int)                                   { ring0.ConsoleWrite(p, n) }
func powerOff(code int)                                               { ring0.PowerOff(code) }
func initVector(area uintptr)                                         { ring0.InitVector(area) }
func systemRegister(i int) (string, uint64, bool)                     { return ring0.SystemRegister(i) }
func initUserContext(page uintptr) *UserContext                       { return ring0.InitUserContext(page) }
func deviceRange(i *bootinfo.Info, n int) (gpa, size uint64, ok bool) { return ring0.DeviceRange(i, n) }

// leafReturn is where a thread that trapped in a function without a frame of its own returns to, 0 if that cannot be read.
func leafReturn(c *context) uint64 {
	if sp := c.SP(); sp >= directMap && sp&7 == 0 && readable(sp) {
		return load64(sp)
	}
	return 0
}

func describeContext(t *debugwindow.ThreadTable) { ring0.DescribeContext(t) }
func describeArea(cpu int, c *debugwindow.CPU)   { ring0.DescribeArea(cpu, c) }

// Doorbell tells the monitor's debugger something (internal/debugwindow) and returns when that has been served. Any goroutine.
func Doorbell(value uint32) { ring0.Doorbell(value) }

// EnterUser enters user mode with c on this CPU and returns when user mode traps: true for a system call, else Left has the rest. As RunUser.
func EnterUser(c *UserContext) bool { return ring0.EnterUser(c) }

func left(c *UserContext) Event { return ring0.Left(c) }

// SyncCode makes instructions just written to [va, va+size) visible to instruction fetch on all CPUs.
func SyncCode(va, size uint64) { ring0.SyncCode(va, size) }
