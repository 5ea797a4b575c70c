package probe

import (
	"encoding/hex"
	"strings"
)

// instruction is machine code and what it means; a test compares the two.
type instruction struct {
	bytes []byte
	text  string
}

// Program is a guest's code. Its arguments are RDI and RSI, the address of the data page.
type Program struct {
	code          []instruction
	handler, fail int // offsets of the interrupt handlers, for Timer
}

func assemble(lines string) []instruction {
	var code []instruction
	for line := range strings.Lines(lines) {
		text, hexBytes, ok := strings.Cut(strings.TrimSpace(line), " | ")
		if !ok {
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(hexBytes, " ", ""))
		if err != nil {
			panic("probe program: " + line)
		}
		code = append(code, instruction{b, strings.TrimSpace(text)})
	}
	return code
}

// Count runs 2 x RDI integer instructions in ring 0.
var Count = Program{code: assemble(`
	dec rdi       | 48 ff cf
	jnz .-0x5     | 75 fb
	out 0xf0, al  | e6 f0
	hlt           | f4
`)}

// CountInstructions is how many instructions Count runs for each unit of its argument.
const CountInstructions = 2

// Vector doubles four 32-bit words of the data page with SSE, in ring 0, and stores them
// 16 bytes further.
var Vector = Program{code: assemble(`
	movups xmm0, xmmword ptr [rsi]       | 0f 10 06
	paddd xmm0, xmm0                     | 66 0f fe c0
	movups xmmword ptr [rsi+0x10], xmm0  | 0f 11 46 10
	out 0xf0, al                         | e6 f0
	hlt                                  | f4
`)}

// Trip goes to ring 3 and comes back RDI times: SYSRET, SYSCALL. Ring 3 leaves its CS in the
// data page. The MSRs are STAR, LSTAR and SFMASK (0xc0000081, 82, 84). R15 counts; RCX and R11 carry RIP and RFLAGS as the instructions define.
var Trip = Program{code: assemble(`
	mov r15, rdi                    | 49 89 ff
	mov ecx, -0x3fffff7f            | b9 81 00 00 c0
	xor eax, eax                    | 31 c0
	mov edx, 0x100008               | ba 08 00 10 00
	wrmsr                           | 0f 30
	mov ecx, -0x3fffff7e            | b9 82 00 00 c0
	lea rax, ptr [rip+0x27]         | 48 8d 05 27 00 00 00
	mov rdx, rax                    | 48 89 c2
	shr rdx, 0x20                   | 48 c1 ea 20
	wrmsr                           | 0f 30
	mov ecx, -0x3fffff7c            | b9 84 00 00 c0
	mov eax, 0x700                  | b8 00 07 00 00
	xor edx, edx                    | 31 d2
	wrmsr                           | 0f 30
	lea rcx, ptr [rip+0x14]         | 48 8d 0d 14 00 00 00
	mov r11d, 0x2                   | 41 bb 02 00 00 00
	sysret                          | 48 0f 07
	dec r15                         | 49 ff cf
	jz .+0x3                        | 74 03
	sysret                          | 48 0f 07
	out 0xf0, al                    | e6 f0
	hlt                             | f4
	mov eax, cs                     | 8c c8
	mov dword ptr [rsi], eax        | 89 06
	syscall                         | 0f 05
	jmp .-0x4                       | eb fc
`)}

// Store writes RDI to the first 8 bytes of the data page, between two NOPs.
var Store = Program{code: assemble(`
	nop                       | 90
	mov qword ptr [rsi], rdi  | 48 89 3e
	nop                       | 90
	out 0xf0, al              | e6 f0
	hlt                       | f4
`)}

// StorePC is the GVA of Store's store, AfterStorePC of the instruction behind it.
const (
	StorePC      = codeGVA + 1
	AfterStorePC = codeGVA + 4
)

// Timer sets the x2APIC's timer to a TSC deadline RDI ticks away (software enable, LVT timer
// in deadline mode with vector 0x40, fence, deadline), halts, and ends in the handler.
var Timer = Program{
	code: assemble(`
	lidt ptr [rsi]            | 0f 01 1e
	lea rsp, ptr [rsi+0x800]  | 48 8d a6 00 08 00 00
	mov ecx, 0x80f            | b9 0f 08 00 00
	mov eax, 0x1ff            | b8 ff 01 00 00
	xor edx, edx              | 31 d2
	wrmsr                     | 0f 30
	mov ecx, 0x832            | b9 32 08 00 00
	mov eax, 0x40040          | b8 40 00 04 00
	wrmsr                     | 0f 30
	mfence                    | 0f ae f0
	rdtsc                     | 0f 31
	shl rdx, 0x20             | 48 c1 e2 20
	or rax, rdx               | 48 09 d0
	add rax, rdi              | 48 01 f8
	mov rdx, rax              | 48 89 c2
	shr rdx, 0x20             | 48 c1 ea 20
	mov ecx, 0x6e0            | b9 e0 06 00 00
	wrmsr                     | 0f 30
	sti                       | fb
	hlt                       | f4
	jmp .-0x3                 | eb fd
	out 0xf0, al              | e6 f0
	hlt                       | f4
	out 0xf2, al              | e6 f2
	hlt                       | f4
`),
	handler: 0x45, fail: 0x48,
}
