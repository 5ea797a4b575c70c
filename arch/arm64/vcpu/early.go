package vcpu

import (
	"encoding/binary"
	"fmt"
)

// The early vectors: until the kernel has set VBAR_EL1, an exception would loop for ever at an
// unmapped vector and overwrite ELR_EL1 and ESR_EL1. So the vCPUs start with a vector table
// whose handlers only load from EarlyPage into XZR, which changes no register, and the monitor
// reports it (EarlyException). The kernel never needs to know: setting VBAR_EL1 replaces it.
const (
	// EarlySize is the bytes of the image, EarlyAlign its alignment.
	EarlySize  = 0x1000
	EarlyAlign = 0x1000
	// EarlyPage is the GPA, just below RAM and without memory, that the handlers touch: the
	// boot page tables map it as device memory in the direct map.
	EarlyPage = RAMBase - 0x1000

	// EarlyPort is for amd64.
	EarlyPort = 0

	vectorSize   = 0x80
	earlyVectors = 16
)

// EarlyVectors is the image for GVA at, in the direct map less than 1 MiB above EarlyPage.
func EarlyVectors(at uint64) []byte {
	b := make([]byte, EarlySize)
	for n := range uint64(earlyVectors) {
		vector := at + n*vectorSize
		distance := DirectMap + EarlyPage + n*8 - vector
		binary.LittleEndian.PutUint32(b[n*vectorSize:], 0x5800_001f|uint32(distance/4)&0x7ffff<<5) // LDR XZR, distance
		binary.LittleEndian.PutUint32(b[n*vectorSize+4:], 0x1400_0000)                             // B .
	}
	return b
}

var vectorNames = [earlyVectors]string{
	"synchronous, SP_EL0", "IRQ, SP_EL0", "FIQ, SP_EL0", "SError, SP_EL0",
	"synchronous", "IRQ", "FIQ", "SError",
	"synchronous from EL0", "IRQ from EL0", "FIQ from EL0", "SError from EL0",
	"synchronous from EL0 (32 bit)", "IRQ from EL0 (32 bit)", "FIQ from EL0 (32 bit)", "SError from EL0 (32 bit)",
}

// EarlyException describes the exception that the early vectors at GVA at caught and puts r
// back to the instruction that raised it.
func EarlyException(r *Registers, at uint64, read func(gva uint64, n int) []byte) string {
	vector := (r.ProgramCounter - at) / vectorSize
	if vector >= earlyVectors {
		return fmt.Sprintf("access to the early exception page %#x from %#x", uint64(EarlyPage), r.ProgramCounter)
	}
	r.ProgramCounter, r.PSTATE = r.ELR, r.SPSR
	return fmt.Sprintf("exception (%s: %s, ESR %#x, FAR %#x) before the kernel had set VBAR_EL1",
		vectorNames[vector], exceptionClass(r.ESR), r.ESR, r.FAR)
}
