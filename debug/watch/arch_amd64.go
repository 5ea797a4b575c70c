package watch

import (
	"ringo/arch/amd64/disasm"
	"ringo/arch/amd64/store"
	"ringo/arch/amd64/vcpu"
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
