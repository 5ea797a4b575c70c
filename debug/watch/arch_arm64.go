package watch

import (
	"ringo/arch/arm64/disasm"
	"ringo/arch/arm64/store"
	"ringo/arch/arm64/vcpu"
)

// The host's architecture, which is also the guest's.
type (
	Registers  = vcpu.Registers
	GuestDebug = vcpu.GuestDebug
	DebugSlots = vcpu.DebugSlots
	watchpoint = vcpu.Watchpoint
)

const (
	instructionLength = store.MaxLength
	alignment         = store.Alignment
	watchesBehind     = vcpu.WatchesBehind
)

var (
	decodeStore        = store.Decode
	decodeDebug        = vcpu.DecodeDebug
	splitWatch         = vcpu.SplitWatch
	softwareBreakpoint = vcpu.SoftwareBreakpoint
	disassemble        = disasm.Decode
)
