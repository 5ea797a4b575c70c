package vcpu

import (
	"encoding/binary"
	"fmt"
)

// The early vectors: until the kernel has loaded an IDT of its own, an exception would end in a
// triple fault, after which some hosts have lost every register (KVM resets a vCPU whose
// VMCB a SHUTDOWN intercept left undefined). So the vCPUs start with tables whose handlers only
// write to EarlyPort, with all registers as they were and the exception frame on a stack of
// their own. The monitor reports it (EarlyException). The kernel never needs to know: loading its own GDT,
// IDT and TR replaces all of it.
const (
	// EarlySize is the bytes of the image, EarlyAlign its alignment.
	EarlySize  = 0x5000
	EarlyAlign = 0x1000
	// EarlyPort is the I/O port of the handlers.
	EarlyPort = 0xf1
	// EarlyPage is for arm64.
	EarlyPage = 0

	earlyGDT     = 0
	earlyStubs   = 0x100
	earlyIDT     = 0x800
	earlyTSS     = 0x1000
	earlyStacks  = 0x3000
	earlyVectors = 32
	stubSize     = 8
	tssSize      = 104
	stackSize    = 128
	maxEarlyCPUs = 64
)

// EarlyVectors is the image for GVA at.
func EarlyVectors(at uint64) []byte {
	b := make([]byte, EarlySize)
	le := binary.LittleEndian
	le.PutUint64(b[earlyGDT+0x08:], 0x00af_9b00_0000_ffff) // 64-bit code
	le.PutUint64(b[earlyGDT+0x10:], 0x00cf_9300_0000_ffff) // data
	for n := range earlyVectors {
		// out %al, $EarlyPort; hlt; jmp to hlt
		copy(b[earlyStubs+n*stubSize:], []byte{0xe6, EarlyPort, 0xf4, 0xeb, 0xfd})
		stub := at + earlyStubs + uint64(n*stubSize)
		gate := b[earlyIDT+n*16:]
		le.PutUint16(gate, uint16(stub))
		le.PutUint16(gate[2:], 0x08)
		gate[4], gate[5] = 1, 0x8e // IST 1; present interrupt gate
		le.PutUint16(gate[6:], uint16(stub>>16))
		le.PutUint32(gate[8:], uint32(stub>>32))
	}
	for cpu := range maxEarlyCPUs {
		le.PutUint64(b[earlyTSS+cpu*tssSize+0x24:], at+earlyStacks+uint64((cpu+1)*stackSize)) // IST 1
		le.PutUint16(b[earlyTSS+cpu*tssSize+0x66:], tssSize)                                  // no I/O bitmap
	}
	return b
}

// exceptionNames are the vectors of AMD64 APM volume 2 section 8.2.
var exceptionNames = [earlyVectors]string{
	0: "#DE divide error", 1: "#DB debug", 2: "NMI", 3: "#BP breakpoint", 4: "#OF overflow", 5: "#BR bound range",
	6: "#UD invalid opcode", 7: "#NM device not available", 8: "#DF double fault", 10: "#TS invalid TSS",
	11: "#NP segment not present", 12: "#SS stack", 13: "#GP general protection", 14: "#PF page fault", 16: "#MF x87",
	17: "#AC alignment check", 18: "#MC machine check", 19: "#XF SIMD floating point", 21: "#CP control protection",
}

// hasErrorCode has a bit for each vector that pushes an error code.
const hasErrorCode = 1<<8 | 1<<10 | 1<<11 | 1<<12 | 1<<13 | 1<<14 | 1<<17 | 1<<21 | 1<<29 | 1<<30

// EarlyException describes the exception that the early vectors at GVA at caught and puts r
// back to the instruction that raised it. read reads guest memory at a GVA.
func EarlyException(r *Registers, at uint64, read func(gva uint64, n int) []byte) string {
	offset := r.General.RIP - at - earlyStubs // PC is in or just behind the OUT
	if offset >= earlyVectors*stubSize {
		return fmt.Sprintf("write to the early exception port %#x from %#x", EarlyPort, r.General.RIP)
	}
	vector := offset / stubSize
	words := 5
	if hasErrorCode>>vector&1 != 0 {
		words = 6
	}
	frame := read(r.General.RSP, words*8)
	if len(frame) < words*8 {
		return fmt.Sprintf("exception %d, its frame at %#x cannot be read", vector, r.General.RSP)
	}
	text := fmt.Sprintf("exception %d (%s) before the kernel had an IDT", vector, exceptionNames[vector])
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(frame[i*8:]) }
	first := 0
	if words == 6 {
		text += fmt.Sprintf(", error code %#x", word(0))
		first = 1
	}
	if vector == 14 {
		text += fmt.Sprintf(", address %#x", r.System.CR2)
	}
	r.General.RIP, r.General.RFLAGS, r.General.RSP = word(first), word(first+2), word(first+3)
	return text
}
