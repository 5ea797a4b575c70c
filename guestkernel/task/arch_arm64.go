package task

import "ringo/arch/arm64/abi"

// The architecture's ABI.
type (
	Regs     = abi.Regs
	delivery = abi.Delivery
	fault    = abi.Fault
	altStack = abi.Stack
)

// Functions, not variables: so the compiler sees that what they are given stays on the stack.

func signalFrame(r *Regs, d *delivery) (frame []byte, addr uint64, out Regs, err error) {
	return abi.SignalFrame(r, d)
}

func readSignalFrame(r *Regs, vectorSize int, room []byte, read func(addr uint64, b []byte) error) (abi.Saved, error) {
	return abi.ReadSignalFrame(r, vectorSize, room, read)
}

var (
	signalFrameSize = abi.FrameSize
	// SyscallNumbers are the architecture's system calls by name.
	SyscallNumbers = abi.SyscallNumbers
	// CloneArguments sorts the arguments of clone(2).
	CloneArguments = abi.CloneArguments
)

// Constants that programs see.
const (
	SemidSize    = abi.SemidSize
	SemidChanged = abi.SemidChanged
	SemidCount   = abi.SemidCount
	UnameMachine = abi.UnameMachine
	platform     = abi.Platform
	elfMachine   = abi.ELFMachine
)
