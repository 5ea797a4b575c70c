package machine

import (
	"ringo/arch/arm64/pagetable"
	"ringo/arch/arm64/vcpu"
)

// The host's architecture, which is also the guest's.
type (
	// Registers is a vCPU's state in reports.
	Registers = vcpu.Registers
	// GuestDebug is what a vCPU reports, DebugSlots how much of it fits, Event an exception under delivery.
	GuestDebug = vcpu.GuestDebug
	DebugSlots = vcpu.DebugSlots
	Event      = vcpu.Event
	// Vector is a vCPU's vector registers.
	Vector = vcpu.Vector

	archVM   = vcpu.VM
	archVCPU = vcpu.VCPU
)

const (
	ramBase      = vcpu.RAMBase
	lowRAMEnd    = vcpu.LowRAMEnd
	highRAMBase  = vcpu.HighRAMBase
	virtioBase   = vcpu.VirtioBase
	virtioStride = vcpu.VirtioStride
	virtioIRQ    = vcpu.VirtioIRQ
	virtioGSI    = vcpu.VirtioGSI
	maxVirtio    = vcpu.MaxVirtio
	powerPort    = vcpu.PowerPort
	earlyPort    = vcpu.EarlyPort
	earlyPage    = vcpu.EarlyPage
)

var (
	newVM         = vcpu.NewVM
	readWalk      = pagetable.ReadWalk
	readLeaves    = pagetable.ReadLeaves
	describeDebug = vcpu.DescribeDebug

	earlyException = vcpu.EarlyException
)
