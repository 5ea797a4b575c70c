package nucleus

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringo/internal/bootinfo"
	"ringo/internal/pagetable"
)

// The kernel shares memory with user programs, and a runaway of its own shall end in Go's
// report rather than in the last frame.
func init() {
	ram := int64(k.frames.total << pageShift)
	if ram != 0 { // 0: not running on the nucleus, but in a test
		debug.SetMemoryLimit(ram / 2)
		debug.SetGCPercent(400) // the live heap is small: collect seldom, up to the limit
		debug.SetMaxStack(int(ram / 16))
	}
}

// BootInfo is the checked copy of the boot information. Read only.
func BootInfo() *bootinfo.Info { return &k.info }

// CommandLine is the kernel command line.
func CommandLine() string {
	i := &k.info
	return string(Bytes(i.CommandLine, int(i.CommandLineSize)))
}

// Stamp records that a boot phase has been reached, for the monitor's phase table.
func Stamp(p bootinfo.Phase) {
	if p > bootinfo.PhaseNucleus && p < bootinfo.NumPhases {
		stampAt(p, counter())
	}
}

// Errors of the frame allocator.
var (
	ErrNoMemory = errors.New("out of physical memory")
	ErrNoDevice = errors.New("no such interrupt line")
)

// AllocFrames takes 2^order zeroed, physically contiguous frames, aligned to their size, with
// reference count 1 on the first. Any goroutine.
func AllocFrames(order uint, owner Owner) (phys uint64, err error) {
	r := call(callAlloc, uint64(order), uint64(owner), 0, 0)
	if int64(r) < 0 {
		return 0, fmt.Errorf("%w: %d bytes for %s", ErrNoMemory, pageSize<<order, owner)
	}
	clear(Bytes(r, pageSize<<order))
	return r, nil
}

// FreeFrames gives them back. Freeing what is still referenced, or not allocated, ends the
// machine with a report. Any goroutine.
func FreeFrames(phys uint64, order uint) { call(callFree, phys, uint64(order), 0, 0) }

// SetOwner changes what an allocated block is for. Any goroutine.
func SetOwner(phys uint64, owner Owner) { call(callSetOwner, phys, uint64(owner), 0, 0) }

// Ref adds a reference to an allocated frame. Any goroutine.
func Ref(phys uint64) {
	if atomic.AddUint32(refCount(phys), 1) == 1 {
		call(callFatal, phys, 0, 0, 0)
	}
}

// Unref drops a reference and answers how many are left. The caller frees the frame at 0:
// FreeFrames. Any goroutine.
func Unref(phys uint64) (left int) {
	n := atomic.AddUint32(refCount(phys), ^uint32(0))
	if n == ^uint32(0) {
		call(callFatal, phys, 0, 0, 0)
	}
	return int(n)
}

// RefCount is the number of references. Any goroutine.
func RefCount(phys uint64) int { return int(atomic.LoadUint32(refCount(phys))) }

func refCount(phys uint64) *uint32 {
	p := k.frames.refs(phys)
	if p == nil {
		panic(fmt.Sprintf("frame %#x is not RAM", phys))
	}
	return p
}

// FrameOwner is the owner of a frame, for reports. Any goroutine; the answer may be stale.
func FrameOwner(phys uint64) Owner {
	r, i := k.frames.find(phys)
	if r == nil {
		return OwnerReserved
	}
	return r.record(i).owner
}

// Bytes is physical memory through the direct map. It is not Go heap memory: nothing in it
// keeps Go objects alive.
func Bytes(phys uint64, n int) []byte { return memory(uintptr(directMap+phys), n) }

// PhysOf is the GPA of an address in the direct map.
func PhysOf(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) - directMap }

// Stats counts frames and scheduler events.
type Stats struct {
	TotalFrames, FreeFrames uint64
	Owned                   [numOwners]uint64
	Traps                   uint64 // handler calls of all CPUs
	Switches                uint64 // thread switches
	Threads                 uint64
	VMAs                    uint64
	IdleTime                uint64 // ns that CPUs were halted, all together
	Counts                  Counts
}

// FrameStats is a consistent snapshot. Any goroutine.
func FrameStats() Stats {
	var s [unsafe.Sizeof(Stats{}) / 8]uint64
	p := new([unsafe.Sizeof(Stats{}) / 8]uint64)
	call(callStats, uint64(uintptr(unsafe.Pointer(p))), uint64(unsafe.Sizeof(s)), 0, 0)
	st := *(*Stats)(unsafe.Pointer(p))
	runtime.KeepAlive(p)
	return st
}

// FreeFrameCount is the number of free frames without the nucleus's lock: it costs a load and may be
// stale. Any goroutine.
func FreeFrameCount() uint64 { return atomic.LoadUint64(&k.frames.freeFrames) }

// KernelRoot is the root page table whose kernel half every user root shares.
func KernelRoot() uint64 { return k.root }

// CopyKernelHalf makes the root page table at phys share the kernel's half. Any goroutine.
func CopyKernelHalf(phys uint64) {
	pagetable.CopyKernelHalf(tables{}.Table(phys), tables{}.Table(k.root))
}

// NewUserContext takes a frame for the state of a user thread. Any goroutine.
func NewUserContext() (*UserContext, error) {
	phys, err := AllocFrames(0, OwnerContext)
	if err != nil {
		return nil, err
	}
	return initUserContext(uintptr(directMap + phys)), nil
}

// FreeUserContext gives it back. Its last RunUser has returned.
func FreeUserContext(c *UserContext) {
	c.DropVector()
	FreeFrames(PhysOf(unsafe.Pointer(c)), 0)
}

// RunUser enters user mode with c on this CPU and returns when user mode traps. One goroutine at a time for a context.
func RunUser(c *UserContext) Event {
	for {
		if EnterUser(c) {
			return Event{Kind: EventSyscall, User: true}
		}
		if e := Left(c); e.Kind != EventAway {
			return e
		}
	}
}

// Left says why EnterUser, which has answered false, came back. After EventAway, EnterUser can be tried again: what kept it has been done.
func Left(c *UserContext) Event {
	e := left(c)
	if e.Kind == EventAway {
		SaveVector(c)
	}
	return e
}

// SaveVector makes the vector state of c complete in memory, wherever some of it is. For the goroutine that runs the context.
func SaveVector(c *UserContext) {
	for !c.SaveVector() {
		if cpu := c.VectorCPU(); cpu >= 0 {
			MoveTo(1 << cpu)
		}
	}
}

// InterruptUser makes the RunUser of c return with EventInterrupt: at once if it is in user
// mode, else before it enters user mode the next time. Any goroutine.
func InterruptUser(c *UserContext) {
	if cpu := c.Interrupt(); cpu >= 0 {
		Kick(cpu)
	}
}

// Kick interrupts a CPU: user mode ends there with EventInterrupt. Any goroutine.
func Kick(cpu int) { call(callKick, uint64(cpu), 0, 0, 0) }

// MoveTo moves the calling thread to one of the CPUs of a set (bit n for CPU n) and answers whether there is such a CPU. By the time it
// returns, the goroutine may have gone on to another one: RunUser looks for itself. Any goroutine.
func MoveTo(cpus uint64) bool { return int64(call(callMove, cpus, 0, 0, 0)) == 0 }

// ShootdownUser removes translations of [va, va+size) of an address space from all TLBs, and
// returns when no CPU uses one any more. Any goroutine.
func ShootdownUser(root, va, size uint64) { call(callShootdown, root, va, size, 0) }

// ReleaseRoot makes sure that no CPU has an address space loaded, so that its tables can be
// freed. Nobody may run in it any more. Any goroutine.
func ReleaseRoot(root uint64) { call(callReleaseRoot, root, 0, 0, 0) }

// MapDevice makes device registers accessible and answers their GVA, for ring0.MMIORead32 and
// MMIOWrite32. The virtio-mmio windows of the boot information are mapped from the start. Any goroutine.
func MapDevice(gpa, size uint64) (va uint64, err error) {
	if r := int64(call(callMapDevice, gpa, size, 0, 0)); r < 0 && r > -4096 {
		return 0, fmt.Errorf("map device registers at GPA %#x, %d bytes: %w", gpa, size, unix.Errno(-r))
	}
	return directMap + gpa, nil
}

// IRQ is a device interrupt line.
type IRQ struct {
	line uint32
	f    *os.File
}

// OpenIRQ takes a device line (bootinfo.MMIO.IRQ), edge triggered, and unmasks it.
func OpenIRQ(line uint32) (*IRQ, error) {
	n := int64(call(callOpenIRQ, uint64(line), 0, 0, 0))
	if n < 0 {
		return nil, fmt.Errorf("interrupt line %d: %w", line, unix.Errno(-n))
	}
	return &IRQ{line: line, f: os.NewFile(uintptr(n), "irq")}, nil
}

// Wait parks the goroutine (not its thread) until the line has fired at least once since the
// last Wait, and answers how often. It fails after Close.
func (q *IRQ) Wait() (count uint64, err error) {
	var b [8]byte
	if _, err := q.f.Read(b[:]); err != nil {
		return 0, fmt.Errorf("interrupt line %d: %w", q.line, err)
	}
	return *(*uint64)(unsafe.Pointer(&b)), nil
}

// Close masks the line and ends Wait.
func (q *IRQ) Close() error { return q.f.Close() }

// Nanotime is the kernel's clock: ns since its first instruction. Any goroutine.
func Nanotime() int64 { return nanotime() }

// Missing calls f for every system call number that the runtime or a library made and that the
// nucleus answered with ENOSYS.
func Missing(f func(nr int, count uint32)) {
	for nr := range k.missing {
		if n := k.missing[nr]; n != 0 {
			f(nr, n)
		}
	}
}

// PowerOff ends the machine with a code of package bootinfo. It does not return.
func PowerOff(code int) {
	for {
		call(callPowerOff, uint64(code), 0, 0, 0)
	}
}

// LogWrite writes to the kernel log, which goes to the early console. Any goroutine.
func LogWrite(b []byte) { unix.Write(2, b) }

// Crash makes the nucleus itself fault (0), overflow its stack (1), or lose its page tables (2), which is a triple fault on amd64 and
// exceptions for ever on arm64. For tests of the report.
func Crash(how int) { call(callCrash, uint64(how), 0, 0, 0) }
