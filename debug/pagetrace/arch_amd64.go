package pagetrace

import (
	"ringo/arch/amd64/disasm"
	"ringo/arch/amd64/emulate"
	"ringo/arch/amd64/store"
	"ringo/arch/amd64/vcpu"
)

// The host's architecture, which is also the guest's.
type (
	Registers  = vcpu.Registers
	GuestDebug = vcpu.GuestDebug
	Event      = vcpu.Event
)

const instructionLength = store.MaxLength

var (
	decodeStore = store.Decode
	failed      = store.Failed
	advanced    = store.Advanced
	decodeDebug = vcpu.DecodeDebug
	disassemble = disasm.Decode
	softEvent   = vcpu.SoftInterrupt

	decodeEmulated = emulate.Decode
	settledFor     = emulate.Settled
)
