package boot

import (
	"unsafe"

	"ringo/arch/arm64/pagetable"
	"ringo/arch/arm64/ring0"
	"ringo/guestkernel/task"
)

// The architecture's page tables and registers.
type table = pagetable.Table

const (
	protRead  = pagetable.Read
	protWrite = pagetable.Write
	protExec  = pagetable.Exec
	protUser  = pagetable.User
)

// The ABI's Regs are the beginning of ring0.Regs (TestRegistersHaveOneLayout), so that signal
// frames work on the registers in place.
func abiRegs(r *ring0.Regs) *task.Regs { return (*task.Regs)(unsafe.Pointer(r)) }

// initialVector puts the vector state of a new program in b, which is zero.
func initialVector([]byte) {}

func currentCPU() int { return ring0.Index() }

// staleRightsStay says whether a translation whose rights have caused a fault may still be used afterwards: permission faults do not
// invalidate it (ARM ARM D8.13), and the broadcast that does is cheap.
const staleRightsStay = true

func tableBarrier()                                           { ring0.TableBarrier() }
func read32(va uint64) uint32                                 { return ring0.MMIORead32(va) }
func write32(va uint64, v uint32)                             { ring0.MMIOWrite32(va, v) }
func clockFactors() (base, mult, wall uint64, cpuNumber bool) { return ring0.ClockFactors() }
func hardwareCaps() (uint64, uint64)                          { return ring0.HWCap(), 0 }
