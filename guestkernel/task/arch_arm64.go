package task

import "ringo/arch/arm64/abi"

// The architecture's ABI.
type (
	Regs     = abi.Regs
	delivery = abi.Delivery
	fault    = abi.Fault
	altStack = abi.Stack
)

var (
	signalFrame     = abi.SignalFrame
	readSignalFrame = abi.ReadSignalFrame
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
