package boot

import (
	"encoding/binary"
	"unsafe"

	"ringo/arch/amd64/pagetable"
	"ringo/arch/amd64/ring0"
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

// ring0.Regs and the ABI's Regs have one layout (TestRegistersHaveOneLayout), so that signal
// frames work on the registers in place.
func abiRegs(r *ring0.Regs) *task.Regs { return (*task.Regs)(unsafe.Pointer(r)) }

// initialVector puts the vector state of a new program in b, which is zero.
func initialVector(b []byte) {
	binary.LittleEndian.PutUint16(b[0:], 0x37f)
	binary.LittleEndian.PutUint32(b[24:], 0x1f80)
}

func currentCPU() int { return ring0.Index() }

// staleRightsStay says whether a translation whose rights have caused a fault may still be used afterwards. Here a page fault
// invalidates it (SDM volume 3, 4.10.4.1), so more rights need no flush: no interrupt to other CPUs.
const staleRightsStay = false

func tableBarrier()                                           { ring0.TableBarrier() }
func read32(va uint64) uint32                                 { return ring0.MMIORead32(va) }
func write32(va uint64, v uint32)                             { ring0.MMIOWrite32(va, v) }
func clockFactors() (base, mult, wall uint64, cpuNumber bool) { return ring0.ClockFactors() }
func hardwareCaps() (uint64, uint64)                          { return ring0.HWCap(), hwcap2FSGSBase }

const hwcap2FSGSBase = 1 << 1 // HWCAP2_FSGSBASE: user mode may use RDFSBASE and the like
