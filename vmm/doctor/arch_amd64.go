package doctor

import (
	"ringo/arch/amd64/probe"
	"ringo/arch/amd64/vcpu"
)

// The host's architecture, which is also the guest's.
type (
	archVM   = vcpu.VM
	archVCPU = vcpu.VCPU
	program  = probe.Program
)

const (
	arch              = probe.Arch
	ramBase           = probe.Base
	ramSize           = probe.Size
	data              = probe.Data
	dataGVA           = probe.DataGVA
	storePC           = probe.StorePC
	afterStorePC      = probe.AfterStorePC
	countInstructions = probe.CountInstructions
	timerTicks        = probe.TimerTicks

	ringZero, ringThree = "ring 0", "ring 3"
	vectorUnit          = "SSE"
	roundTrip           = "SYSRET/SYSCALL"
	timerName           = "x2APIC TSC-deadline timer interrupt"
)

var (
	newVM    = vcpu.NewVM
	image    = probe.Image
	start    = probe.Start
	ended    = probe.Ended
	step     = probe.Step
	watch    = probe.Watch
	stepped  = probe.Stepped
	watched  = probe.Watched
	userMode = probe.UserMode

	progCount, progVector, progTrip, progStore, progTimer = probe.Count, probe.Vector, probe.Trip, probe.Store, probe.Timer
)
