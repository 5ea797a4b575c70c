// Package abi is the Linux user ABI of arm64: system-call numbers, the register layout that
// signal frames carry, the frames themselves, and the constants that programs learn at start.
// arch/amd64/abi has the same names. It is pure data handling, compiles everywhere and is only
// imported by façade files of guestkernel packages.
package abi

// Constants of the architecture.
const (
	// UnameMachine is uname(2)'s machine; Platform is the string of AT_PLATFORM.
	UnameMachine = "aarch64"
	Platform     = "aarch64"
	// ELFMachine is e_machine of executables (EM_AARCH64).
	ELFMachine = 183
	// HasFork says that fork, vfork, open and the other calls that arm64 dropped exist.
	HasFork = false
	// EpollEventSize and EpollDataOffset describe struct epoll_event.
	EpollEventSize  = 16
	EpollDataOffset = 8
	// SemidSize is the size of struct semid64_ds, SemidChanged and SemidCount the offsets of sem_ctime and sem_nsems.
	SemidSize    = 88
	SemidChanged = 56
	SemidCount   = 64
)

// Regs are a user thread's general registers, in the order of struct user_pt_regs.
type Regs struct {
	X      [31]uint64
	SP     uint64
	IP     uint64
	PState uint64
}

// PC is the instruction pointer.
func (r *Regs) PC() uint64 { return r.IP }

// SetPC sets it.
func (r *Regs) SetPC(v uint64) { r.IP = v }

// StackPointer is the stack pointer.
func (r *Regs) StackPointer() uint64 { return r.SP }

// SetSyscall changes the number of the system call that a restart will make.
func (r *Regs) SetSyscall(nr uint64) { r.X[8] = nr }

// CloneArguments puts the arguments of clone(2) in one order for all architectures.
func CloneArguments(a [6]uint64) (flags, stack, parentTID, childTID, tls uint64) {
	return a[0], a[1], a[2], a[4], a[3]
}
