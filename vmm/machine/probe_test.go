package machine_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"runtime"
)

// probe builds the machine code of a guest of a few instructions. It knows both
// architectures, as tests of one run on the other's host only to be built.
type probe struct{ b []byte }

const arm = runtime.GOARCH == "arm64"

func (p *probe) raw(b ...byte) *probe { p.b = append(p.b, b...); return p }

func (p *probe) word(w uint32) *probe {
	p.b = binary.LittleEndian.AppendUint32(p.b, w)
	return p
}

// immediate puts v into RAX or X4.
func (p *probe) immediate(v uint64) *probe {
	if !arm {
		return p.raw(0x48, 0xb8).raw(binary.LittleEndian.AppendUint64(nil, v)...)
	}
	p.word(0xd2800004 | uint32(v&0xffff)<<5) // MOVZ X4, #v
	for shift := uint32(1); shift < 4; shift++ {
		p.word(0xf2800004 | shift<<21 | uint32(v>>(16*shift)&0xffff)<<5) // MOVK X4, #v, LSL #16*shift
	}
	return p
}

// load reads 32 bits at the address in RAX or X4 into EBX or W5.
func (p *probe) load() *probe {
	if arm {
		return p.word(0xb9400085)
	}
	return p.raw(0x8b, 0x18)
}

// store writes EBX or W5 there.
func (p *probe) store() *probe {
	if arm {
		return p.word(0xb9000085)
	}
	return p.raw(0x89, 0x18)
}

// value puts v into EBX or W5.
func (p *probe) value(v uint16) *probe {
	if arm {
		return p.word(0x52800005 | uint32(v)<<5)
	}
	return p.raw(0xbb, byte(v), byte(v>>8), 0, 0)
}

// print sends a string to the early console.
func (p *probe) print(s string) *probe {
	if arm {
		p.immediate(0x8000_0900_0000)
	} else {
		p.raw(0x66, 0xba, 0xf8, 0x03) // mov $0x3f8, %dx
	}
	for _, c := range []byte(s) {
		if arm {
			p.value(uint16(c)).store()
		} else {
			p.raw(0xb0, c, 0xee) // mov $c, %al; out %al, %dx
		}
	}
	return p
}

// printValue sends the low byte of EBX or W5.
func (p *probe) printValue() *probe {
	if arm {
		return p.immediate(0x8000_0900_0000).store()
	}
	return p.raw(0x66, 0xba, 0xf8, 0x03, 0x88, 0xd8, 0xee)
}

// powerOff ends the machine: normally, or as a panicking kernel does.
func (p *probe) powerOff(panicked bool) *probe {
	switch {
	case arm && panicked:
		p.word(0x52800120).word(0x72b08000) // MOV W0, #9; MOVK W0, #0x8400, LSL 16: PSCI SYSTEM_RESET
	case arm:
		p.word(0x52800100).word(0x72b08000) // PSCI SYSTEM_OFF
	case panicked:
		p.raw(0xb8, 1, 0, 0, 0)
	default:
		p.raw(0xb8, 0, 0, 0, 0)
	}
	if arm {
		p.word(0xd4000002) // HVC #0
	} else {
		p.raw(0x66, 0xba, 0x04, 0x06, 0xef) // mov $0x604, %dx; out %eax, %dx
	}
	return p.halt()
}

// onlyFirst lets all CPUs but 0 wait for ever.
func (p *probe) onlyFirst() *probe {
	if arm {
		return p.word(0xb5000001) // CBNZ X1, .
	}
	return p.raw(0x48, 0x85, 0xf6, 0x75, 0xfe) // test %rsi, %rsi; jnz .
}

// spin loops without an exit, halt waits for interrupts that never come.
func (p *probe) spin() *probe {
	if arm {
		return p.word(0x14000000)
	}
	return p.raw(0xeb, 0xfe)
}

func (p *probe) halt() *probe {
	if arm {
		return p.word(0xd503207f).word(0x17ffffff) // WFI; B -4
	}
	return p.raw(0xf4, 0xeb, 0xfd)
}

// again jumps back to offset at.
func (p *probe) again(at int) *probe {
	if arm {
		return p.word(0x14000000 | uint32((at-len(p.b))/4)&0x3ffffff)
	}
	return p.raw(0xeb, byte(at-len(p.b)-2))
}

// undefined is an instruction that raises an exception.
func (p *probe) undefined() *probe {
	if arm {
		return p.word(0)
	}
	return p.raw(0x0f, 0x0b)
}

// noVectors makes the next exception undeliverable.
func (p *probe) noVectors() *probe {
	if arm {
		return p
	}
	// lidt 7(%rip): the ten zero bytes behind a jump over them
	return p.raw(0x0f, 0x01, 0x1d, 2, 0, 0, 0, 0xeb, 10).raw(make([]byte, 10)...)
}

// file is the ELF PIE of the code.
func (p *probe) file() []byte {
	machine := elf.EM_X86_64
	if arm {
		machine = elf.EM_AARCH64
	}
	const at = 0x1000
	header := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: 1, Entry: at, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(header.Ident[:], "\x7fELF\x02\x01\x01")
	n := uint64(len(p.b))
	var b bytes.Buffer
	// A bytes.Buffer does not fail.
	binary.Write(&b, binary.LittleEndian, header)
	binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: at, Vaddr: at, Filesz: n, Memsz: n, Align: 0x1000})
	b.Write(make([]byte, at-b.Len()))
	b.Write(p.b)
	return b.Bytes()
}
