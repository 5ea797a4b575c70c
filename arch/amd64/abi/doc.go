// Package abi is the Linux user ABI of amd64: system-call numbers, the register layout that
// signal frames carry, the frames themselves, and the constants that programs learn at start.
// arch/arm64/abi has the same names. It is pure data handling, compiles everywhere and is only
// imported by façade files of guestkernel packages.
package abi

// Constants of the architecture.
const (
	// UnameMachine is uname(2)'s machine; Platform is the string of AT_PLATFORM.
	UnameMachine = "x86_64"
	Platform     = "x86_64"
	// ELFMachine is e_machine of executables (EM_X86_64).
	ELFMachine = 62
	// HasFork says that fork, vfork, open and the other calls that arm64 dropped exist.
	HasFork = true
	// EpollEventSize and EpollDataOffset describe struct epoll_event (packed here).
	EpollEventSize  = 12
	EpollDataOffset = 4
	// SemidSize is the size of struct semid64_ds, SemidChanged and SemidCount the offsets of sem_ctime and sem_nsems.
	SemidSize    = 104
	SemidChanged = 64
	SemidCount   = 80
)

// Regs are a user thread's general registers, in the order of struct user_regs_struct.
type Regs struct {
	R15, R14, R13, R12, BP, BX uint64
	R11, R10, R9, R8           uint64
	AX, CX, DX, SI, DI         uint64
	IP, CS, Flags, SP, SS      uint64
	OrigAX                     uint64
	FSBase, GSBase             uint64
}

// PC is the instruction pointer.
func (r *Regs) PC() uint64 { return r.IP }

// SetPC sets it.
func (r *Regs) SetPC(v uint64) { r.IP = v }

// StackPointer is the stack pointer.
func (r *Regs) StackPointer() uint64 { return r.SP }

// SetSyscall changes the number of the system call that a restart will make.
func (r *Regs) SetSyscall(nr uint64) { r.OrigAX = nr }

// CloneArguments puts the arguments of clone(2) in one order for all architectures.
func CloneArguments(a [6]uint64) (flags, stack, parentTID, childTID, tls uint64) {
	return a[0], a[1], a[2], a[3], a[4]
}
