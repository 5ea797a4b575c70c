package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// dynamicELF is a well-formed executable that asks for an interpreter nobody has.
func dynamicELF(arch string) []byte {
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	const interpreter = "/lib/ld-none.so\x00"
	const headers = 64 + 2*56
	size := uint64(headers + len(interpreter))
	var b bytes.Buffer
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: 1, Entry: 0x400000 + headers,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	copy(header.Ident[:], "\x7fELF\x02\x01\x01")
	for _, part := range []any{
		header,
		elf.Prog64{Type: uint32(elf.PT_INTERP), Flags: 4, Off: headers, Vaddr: 0x400000 + headers, Filesz: uint64(len(interpreter)), Memsz: uint64(len(interpreter)), Align: 1},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5, Vaddr: 0x400000, Filesz: size, Memsz: size, Align: 4096},
		[]byte(interpreter),
	} {
		binary.Write(&b, binary.LittleEndian, part) // a bytes.Buffer does not fail
	}
	return b.Bytes()
}
