package probe

import (
	"strconv"
	"strings"
)

// instruction is machine code and what it means; a test compares the two.
type instruction struct {
	word uint32
	text string
}

// Program is a guest's code. Its arguments are X0 and X1, the address of the data page.
type Program struct {
	code    []instruction
	vectors map[uint64][]instruction // by offset in the vector table
}

func assemble(parts ...string) []instruction {
	var code []instruction
	for line := range strings.Lines(strings.Join(parts, "")) {
		text, word, ok := strings.Cut(strings.TrimSpace(line), " | ")
		if !ok {
			continue
		}
		w, err := strconv.ParseUint(strings.TrimSpace(word), 16, 32)
		if err != nil {
			panic("probe program: " + line)
		}
		code = append(code, instruction{uint32(w), strings.TrimSpace(text)})
	}
	return code
}

// end stores to the page that Ended knows; X2 is lost.
const end = `
	mov x2, #0x800000000000    | d2d00002
	movk x2, #0x900, lsl #16   | f2a12002
	str x0, [x2]               | f9000040
	b .+0x0                    | 14000000
`

// failed stores 8 bytes further.
var failed = assemble(`
	mov x2, #0x800000000000    | d2d00002
	movk x2, #0x900, lsl #16   | f2a12002
	str x0, [x2,#8]            | f9000440
	b .+0x0                    | 14000000
`)

// Count runs 2 x X0 integer instructions in EL1.
var Count = Program{code: assemble(`
	subs x0, x0, #0x1          | f1000400
	b ne, .+0xfffffffffffffffc | 54ffffe1
`, end)}

// CountInstructions is how many instructions Count runs for each unit of its argument.
const CountInstructions = 2

// Vector doubles four 32-bit words of the data page with NEON, in EL1, and stores them 16
// bytes further.
var Vector = Program{code: assemble(`
	ldr q0, [x1]               | 3dc00020
	add v0.4s, v0.4s, v0.4s    | 4ea08400
	str q0, [x1,#16]           | 3d800420
`, end)}

// Trip goes to EL0 and comes back X0 times: ERET, SVC. The last return leaves SPSR_EL1 in the
// data page. X3 is the vector table, X4 the user code's address, which EL0 has mapped 1:1.
var Trip = Program{
	code: assemble(`
	adr x3, .+0x800            | 10004003
	msr vbar_el1, x3           | d518c003
	adr x4, .+0x18             | 100000c4
	ubfx x4, x4, #0, #47       | d340b884
	msr elr_el1, x4            | d5184024
	msr spsr_el1, xzr          | d518401f
	isb sy                     | d5033fdf
	eret                       | d69f03e0
	svc #0x0                   | d4000001
	b .+0xfffffffffffffffc     | 17ffffff
`),
	vectors: map[uint64][]instruction{0x400: assemble(`
	subs x0, x0, #0x1          | f1000400
	b eq, .+0x8                | 54000040
	eret                       | d69f03e0
	mrs x5, spsr_el1           | d5384005
	str x5, [x1]               | f9000025
`, end)},
}

// Store writes X0 to the first 8 bytes of the data page, between two NOPs.
var Store = Program{code: assemble(`
	nop                        | d503201f
	str x0, [x1]               | f9000020
	nop                        | d503201f
`, end)}

// StorePC is the GVA of Store's store, AfterStorePC of the instruction behind it.
const (
	StorePC      = codeGVA + 4
	AfterStorePC = codeGVA + 8
)

// Timer sets the EL1 virtual timer to X0 ticks, waits, and ends in the interrupt handler.
// In order: vectors; the CPU interface's system registers on; the redistributor awake; INTID
// 27 in group 1 and enabled; the distributor on; priority mask open, group 1 on; timer on.
var Timer = Program{
	code: assemble(`
	adr x3, .+0x800               | 10004003
	msr vbar_el1, x3              | d518c003
	mrs x3, icc_sre_el1           | d538cca3
	orr x3, x3, #0x1              | b2400063
	msr icc_sre_el1, x3           | d518cca3
	isb sy                        | d5033fdf
	mov x2, #0x800000000000       | d2d00002
	movk x2, #0x80a, lsl #16      | f2a10142
	str wzr, [x2,#20]             | b900145f
	ldr w3, [x2,#20]              | b9401443
	tbnz w3, #2, .+0xfffffffffffffffc | 3717ffe3
	movk x2, #0x80b, lsl #16      | f2a10162
	mov w3, #0xffffffff           | 12800003
	str w3, [x2,#128]             | b9008043
	mov w3, #0x8000000            | 52a10003
	str w3, [x2,#256]             | b9010043
	movk x2, #0x800, lsl #16      | f2a10002
	mov w3, #0x13                 | 52800263
	str w3, [x2]                  | b9000043
	mov x3, #0xff                 | d2801fe3
	msr icc_pmr_el1, x3           | d5184603
	mov x3, #0x1                  | d2800023
	msr icc_igrpen1_el1, x3       | d518cce3
	msr cntv_tval_el0, x0         | d51be300
	msr cntv_ctl_el0, x3          | d51be323
	isb sy                        | d5033fdf
	msr daifclr, #0x2             | d50342ff
	wfi                           | d503207f
	b .+0xfffffffffffffffc        | 17ffffff
`),
	vectors: map[uint64][]instruction{0x280: assemble(end)},
}
