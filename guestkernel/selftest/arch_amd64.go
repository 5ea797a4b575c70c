package selftest

import (
	"ringo/arch/amd64/pagetable"
	"ringo/arch/amd64/ring0"
	"ringo/arch/amd64/selftest"
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

func checkProgram() []byte         { return selftest.CheckProgram() }
func hazards() []hazard            { return selftest.Hazards() }
func checkState() error            { return selftest.CheckState() }
func registerName(n uint64) string { return selftest.RegisterName(n) }
func currentCPU() int              { return ring0.Index() }
