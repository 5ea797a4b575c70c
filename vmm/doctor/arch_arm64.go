package doctor

import (
	"ringo/arch/arm64/probe"
	"ringo/arch/arm64/vcpu"
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

	ringZero, ringThree = "EL1", "EL0"
	vectorUnit          = "NEON"
	roundTrip           = "ERET/SVC"
	timerName           = "virtual timer interrupt through the GICv3"
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
