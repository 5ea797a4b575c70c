package selftest

import (
	"ringo/arch/arm64/pagetable"
	"ringo/arch/arm64/ring0"
	"ringo/arch/arm64/selftest"
)

// The architecture's test programs and page tables.
type (
	data   = selftest.Data
	hazard = selftest.Hazard
	table  = pagetable.Table
)

const (
	codeBase      = selftest.CodeBase
	dataBase      = selftest.DataBase
	dataPages     = selftest.DataPages
	faultPage     = selftest.FaultPage
	stackTop      = selftest.StackTop
	callDone      = selftest.CallDone
	callFailed    = selftest.CallFailed
	callNothing   = selftest.CallNothing
	modeSyscall   = selftest.ModeSyscall
	modeFault     = selftest.ModeFault
	modeSpin      = selftest.ModeSpin
	wantException = selftest.WantException
	wantPageFault = selftest.WantPageFault
	wantSyscall   = selftest.WantSyscall
)

func checkProgram() []byte { return selftest.CheckProgram() }
func hazards() []hazard    { return selftest.Hazards() }

// checkState: the hardware sets all of PSTATE on an exception, nothing can be left behind.
func checkState() error { return nil }

func registerName(n uint64) string { return selftest.RegisterName(n) }
func currentCPU() int              { return ring0.Index() }
