package machine

import (
	"ringo/arch/arm64/pagetable"
	"ringo/arch/arm64/vcpu"
)

// The host's architecture, which is also the guest's.
type (
	// Registers is a vCPU's state in reports.
	Registers = vcpu.Registers
	archVM    = vcpu.VM
	archVCPU  = vcpu.VCPU
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
	describeDebug = vcpu.DescribeDebug

	earlyException = vcpu.EarlyException
)
