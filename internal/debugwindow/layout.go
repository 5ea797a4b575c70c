// Package debugwindow is the layout of the debug window, and its decoder: the registry of kernel
// stacks that the kernel keeps in a piece of guest RAM (bootinfo.Info.Debug), so that a debugger knows
// at any moment, and after any crash, whose memory each stack is and who sleeps on it. Nobody
// exits to the monitor for it: the kernel stores, the monitor looks.
//
// Both sides import it. The kernel formats the window (Format) and writes entries through
// pointers to the structs below, which are the wire layout: little-endian, naturally aligned, the same on
// amd64 and arm64 (a test pins sizes and offsets). The monitor reads copies through Open and
// trusts nothing in them.
//
// # Consistency
//
// An entry has one writer: the task's own goroutine. It makes Seq odd, writes, and makes it even
// (Begin, End). A reader copies the entry between two looks at Seq and repeats while it is odd or has
// changed. A guest that died in between leaves Seq odd; the reader then gets the entry marked Torn.
// Call, Args and Context are written without Seq on every system call: while the guest runs they may be one
// call apart from the rest.
package debugwindow

import "unsafe" // for sizes and offsets

// Magic and Version open the window. The monitor gives zeroed memory; the kernel writes Magic last.
const (
	Magic   = 0x4742_4445_474e_4952 // "RINGEDBG"
	Version = 3
)

// Sizes, in bytes.
const (
	HeaderSize = 4096
	CPUSize    = 256
	TaskSize   = 384
	MaxCPUs    = 64
	MaxTasks   = 4096
	// MinSize is the smallest window that Format takes.
	MinSize = 64 << 10
)

// Bits of Header.Guard, which the monitor writes at any time (0 after boot). The kernel looks before each park.
const (
	// GuardDetect: before a task sleeps, the kernel copies its stack from Stack.Keep up to
	// Task.Snapshot, compares when the task wakes, and rings BellMismatch when they differ, before the
	// task runs on. No bell otherwise.
	GuardDetect = 1 << 0
	// GuardAttribute: the kernel rings BellPark when a task has stopped running on its stacks, if it has a fixed stack or Header.Credit
	// says so. Of all other sleeps it sets Task.Cover, and the monitor may protect them later. BellWake is rung before the task runs
	// on stacks that are protected.
	GuardAttribute = 1 << 1
)

// Doorbell codes. The kernel rings by one 32-bit store of code<<24 | slot to bootinfo.Info.Doorbell (amd64: OUT to
// the port; arm64: a store to the GPA). The vCPU goes on when the monitor has served it, so what the
// monitor protects in a bell is protected before the guest's next instruction.
const (
	BellPark     = 1 // slot is parked: Stacks[...] may not be written by anybody any more
	BellWake     = 2 // slot is about to run on its stacks again
	BellMismatch = 3 // slot's stack differs from its snapshot (GuardDetect)
	BellStack    = 4 // slot got or lost a fixed stack
	BellMark     = 5 // a mark of a test program: the low 24 bits are its number
)

// Task.Cover: the number of the sleep (Task.Parks) shifted by CoverShift, and one of these. The kernel stores CoverOpen when a task has parked, and
// exchanges the word for 0 before the task runs on its stacks again: CoverClosed then is a BellWake. The monitor changes CoverOpen to
// CoverClosed only while no vCPU is in the guest, so that neither side can miss what the other one did.
const (
	CoverNone   = 0 // awake, or not to be protected
	CoverOpen   = 1 // asleep; the monitor may protect the stacks
	CoverClosed = 2 // asleep; the monitor has
	CoverShift  = 2
)

// Bell makes a doorbell value.
func Bell(code, slot uint32) uint32 { return code<<24 | slot&0xff_ffff }

// UnpackBell is its inverse.
func UnpackBell(v uint32) (code, slot uint32) { return v >> 24, v & 0xff_ffff }

// TaskState is the state of an entry.
type TaskState uint32

// States of a task.
const (
	TaskFree    TaskState = iota // the slot is nobody's
	TaskRunning                  // in user mode, in the kernel, or ready to be
	TaskParked                   // asleep since Since; Stacks are valid
	TaskDead                     // has ended, the slot will be free
)

// StackKind says what a stack is.
type StackKind uint32

// Kinds of stacks.
const (
	StackNone      StackKind = iota
	StackGoroutine           // of a task's goroutine: may move when the goroutine grows it, so bounds are as of the last park
	StackFixed               // 8 KiB of frames of a task that runs injected code (package inject), no guard pages
	StackNucleus             // per-CPU: handlers of system calls, faults and interrupts
	StackInterrupt           // per-CPU, amd64: interrupt gates (IST1)
	StackException           // per-CPU, amd64: exception gates (IST2)
	StackFatal               // per-CPU: #DF, NMI, #MC (IST3); arm64: fatal exceptions
	StackThread              // of a runtime thread (M): its g0
)

// Wait says how a parked task waits.
type Wait uint32

// Ways to wait.
const (
	WaitNone     Wait = iota
	WaitEvent         // a wake-up or a signal
	WaitDeadline      // the same, or a time
	WaitKill          // a wake-up or SIGKILL only (vfork, stop)
)

// Stack is one stack. All addresses are GVA, in kernel space.
type Stack struct {
	Lo, Hi uint64 // [Lo, Hi)
	// SP is the stack pointer with which the owner left the stack, 0 while it runs on it.
	SP uint64
	// Keep is where the part begins that the owner itself does not write between BellPark and BellWake
	// (SP <= Keep): frames of callers, up to Hi.
	Keep uint64
	Kind StackKind
	_    uint32
}

// Task is the entry of a task.
type Task struct {
	Seq   uint32
	State TaskState
	TID   uint32
	PID   uint32
	Comm  [16]byte // NUL padded
	Wait  Wait
	CPU   uint32 // where it last entered or left user mode or woke: a hint

	Since   uint64 // counter value at which State was entered
	Parks   uint64 // times it has parked
	G       uint64 // GVA of its goroutine's runtime.g: the one register that names the running task (R14, X28)
	AltG    uint64 // the g register while it runs on Stacks[1], 0: none
	Context uint64 // GVA of its ring0.UserContext: cpu.user names it while in user mode

	// Call is the system call in progress: its number + 1, 0 outside. Args are its arguments.
	Call uint64
	Args [6]uint64

	Stacks [2]Stack // 0: goroutine; 1: fixed, if the task has one

	// Where are the return addresses from the park outwards, copied before the stack could be damaged.
	Where [8]uint64

	// Snapshot is the GVA of a copy of [Stacks[0].Keep, Stacks[0].Hi), SnapshotSize bytes (GuardDetect), and behind
	// it of [Stacks[1].SP, Stacks[1].Hi). 0: none.
	Snapshot     uint64
	SnapshotSize uint64

	// Cover is written without Seq; see CoverOpen.
	Cover uint64
}

// CPU is the entry of a CPU. All but Task is written once, at boot.
type CPU struct {
	Index uint32
	// Task is 1 + the slot of the task that last entered or left user mode here. Goroutines move between
	// CPUs without notice: the exact answer is CurrentTask's.
	Task uint32
	Area uint64 // GVA of ring0's per-CPU area
	// ThreadAt and UserAt are the GVAs of two words: the address of the saved state (ring0.Context) of the runtime thread
	// that is on this CPU, and of the UserContext that is in user mode here (0: none).
	ThreadAt, UserAt uint64
	Stacks           [4]Stack
}

// FrameTable is where the frame allocator keeps its records, per run of RAM.
type FrameTable struct {
	Regions    [4]FrameRegion
	NumRegions uint32
	RecordSize uint32
	// Offsets of fields in a record.
	Refs, Owner, Order, Head uint32 // u32, u8, u8, u8 (head: 1 first frame of a free block, 2 of an allocated one)
	HistorySize              uint32 // bytes of a history record, 0: none is kept
	NumOwners                uint32
	Owners                   [16][16]byte // names of owners, NUL padded
}

// FrameRegion is one run of RAM.
type FrameRegion struct {
	Base    uint64 // GPA
	Frames  uint64
	Records uint64 // GPA of the records
	History uint64 // GPA of the history records, 0: none
}

// FrameHistory is a history record: the last allocation and the last release of a frame (debug=frames).
// Times are counter values; Stack are return addresses, as offsets from the start of the kernel image, 0: no more.
type FrameHistory struct {
	Allocated, Freed            uint64
	AllocTask, FreeTask         uint32 // tid, 0: none known
	AllocStack, FreeStack       [5]uint32
	Allocs                      uint32
	AllocOwner, AllocOrder, CPU uint8
	_                           uint8
}

// ThreadTable is where the nucleus keeps runtime threads (Ms): array, stride and field offsets.
type ThreadTable struct {
	Base   uint64 // GVA
	High   uint64 // GVA of an int32: threads [0, High) have been used
	Stride uint32
	Max    uint32
	// Offsets of fields.
	State, Wait, CPU uint32 // u8: 0 free, 1 runnable, 2 running, 3 sleeping; u8: 0 time, 1 futex, 2 epoll; i32
	PC, SP, FP, G    uint32 // u64 each: registers while the thread does not run
	TLS              uint32 // u64, amd64: the runtime keeps g at -8 from it
}

// RuntimeLayout is offsets in the Go runtime's structs, for this Go version (a test compares them with DWARF).
type RuntimeLayout struct {
	GStackLo, GStackHi, GM, GSchedSP, GSchedPC, GSchedBP uint32
	GStatus, GID, GWaitReason                            uint32 // u32, u64, u8
	MG0, MGsignal, MCurg, MProcID                        uint32
	_                                                    uint32
}

// Runtime is the layout of Go 1.26 on 64-bit machines.
var Runtime = RuntimeLayout{
	GStackLo: 0, GStackHi: 8, GM: 48, GSchedSP: 56, GSchedPC: 64, GSchedBP: 96,
	GStatus: 144, GID: 152, GWaitReason: 176,
	MG0: 0, MProcID: 64, MGsignal: 72, MCurg: 184,
}

// Header opens the window.
type Header struct {
	Magic   uint64
	Version uint32
	Guard   uint32 // Guard* bits; written by the monitor, read by the kernel
	Size    uint64 // bytes of the window

	CPUs, Tasks           uint32 // entries
	CPUOffset, TaskOffset uint32 // from the start of the window
	High                  uint32 // slots [0, High) have been used
	Unregistered          uint32 // tasks for which there was no slot
	Mismatches            uint32 // BellMismatch, counted by the kernel
	Doorbells             uint32 // bells rung

	CounterHz                                     uint64
	KernelPhys, KernelVirt, KernelSize, DirectMap uint64
	KernelRoot                                    uint64 // GPA of the kernel's root page table

	Frames  FrameTable
	Threads ThreadTable
	Runtime RuntimeLayout

	Started uint64 // counter value at the kernel's first instruction
	// Compared are the sleeps that GuardAttribute was on for and that ended before the monitor had protected them: only GuardDetect looked
	// after them.
	Compared uint64
	// Credit is how many more sleeps may ring BellPark; the monitor gives, the kernel takes.
	Credit uint32
	_      uint32
}

// The structs must have the sizes that the strides say.
var (
	_ [HeaderSize - unsafe.Sizeof(Header{})]byte
	_ [CPUSize - unsafe.Sizeof(CPU{})]byte
	_ [TaskSize - unsafe.Sizeof(Task{})]byte
)
