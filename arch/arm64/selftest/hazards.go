package selftest

import "encoding/binary"

// Expectation of a Hazard.
const (
	WantException = iota // Vector
	WantPageFault        // at Addr
	WantSyscall          // the kernel then checks itself
)

// Hazard is a short program that tries to hurt the kernel.
type Hazard struct {
	Name   string
	Code   []byte // at CodeBase, or At
	At     uint64 // where Code lies if not at CodeBase (its page is mapped for it)
	Want   int
	Vector uint32
	Or     uint32 // another vector that is as good, 0: none
	Addr   uint64
	// Then, if not 0, is one more than the exception expected from running it again after a system call.
	Then uint32
}

// Exception classes (ESR_EL1.EC).
const (
	undefined = 0x00
	system    = 0x18
	pcAlign   = 0x22
	dataAbort = 0x24
	brk       = 0x3c
)

// Instructions. x0 is the operand of those that need one.
const (
	svc     = 0xd400_0001
	udf     = 0x0000_0000
	load    = 0xf940_0001 // ldr x1, [x0]
	store   = 0xf900_0001 // str x1, [x0]
	branch  = 0xd61f_0000 // br x0
	moveSP  = 0x9100_001f // mov sp, x0
	moveG   = 0xaa00_03fc // mov x28, x0
	move18  = 0xaa00_03f2 // mov x18, x0
	loadEx  = 0xc85f_7c01 // ldxr x1, [x0]
	zero    = 0xd50b_7420 // dc zva, x0
	clean   = 0xd50b_7b20 // dc cvau, x0
	discard = 0xd50b_7520 // ic ivau, x0
	setFPCR = 0xd51b_4400 // msr fpcr, x0
	setTLS  = 0xd51b_d040 // msr tpidr_el0, x0
)

// Hazards are run in order, each in a fresh context with SP = StackTop.
func Hazards() []Hazard {
	const (
		topPage     = 1<<47 - 0x1000
		kernelImage = 0x8000_4020_0000
		directMap   = 0x8000_4000_0000
		upperHalf   = 0xffff_8000_0000_0000
		nowhere     = 0x0001_0000_0000_0000
	)
	one := func(name string, instruction uint32, vector uint32) Hazard {
		h := Hazard{Name: name, Code: assemble(nil, instruction), Vector: vector}
		if vector == undefined {
			h.Or = system // FEAT_IDST
		}
		return h
	}
	with := func(name string, x0 uint64, want Hazard, instructions ...uint32) Hazard {
		want.Name, want.Code = name, assemble(&x0, instructions...)
		return want
	}
	fault := func(addr uint64) Hazard { return Hazard{Want: WantPageFault, Addr: addr} }
	survives := Hazard{Want: WantSyscall, Then: undefined + 1}
	return []Hazard{
		one("undefined instruction", udf, undefined),
		one("eret", 0xd69f_03e0, undefined),
		one("hvc", 0xd400_0002, undefined),
		one("smc", 0xd400_0003, undefined),
		one("tlbi vmalle1", 0xd508_871f, undefined),
		one("dc ivac", 0xd508_7620, undefined),
		one("msr vbar_el1", 0xd518_c000, undefined),
		one("msr sctlr_el1", 0xd518_1000, undefined),
		one("msr ttbr0_el1", 0xd518_2000, undefined),
		one("mrs ttbr0_el1", 0xd538_2000, undefined),
		one("msr tpidr_el1", 0xd518_d080, undefined),
		one("msr tpidrro_el0", 0xd51b_d060, undefined),
		one("msr icc_sgi1r_el1", 0xd518_cba0, undefined),
		one("msr spsel", 0xd500_41bf, undefined),
		one("msr pan", 0xd500_409f, undefined),
		one("msr daifset", 0xd503_42df, system),
		one("mrs cntpct_el0", 0xd53b_e020, system),
		one("msr cntv_ctl_el0", 0xd51b_e320, system),
		one("brk", 0xd420_0000, brk),
		with("branch to an odd address", CodeBase+2, Hazard{Vector: pcAlign}, branch),
		with("unaligned exclusive load", DataBase+12, Hazard{Vector: dataAbort}, loadEx),
		with("load from the kernel image", kernelImage, fault(kernelImage), load),
		with("store to the direct map", directMap, fault(directMap), store),
		with("branch into the kernel image", kernelImage+0x1000, fault(kernelImage+0x1000), branch),
		with("load from the upper half", upperHalf, fault(upperHalf), load),
		with("load from beyond 48 bits", nowhere, fault(nowhere), load),
		with("execute data", DataBase, fault(DataBase), branch),
		with("store to code", CodeBase, fault(CodeBase), store),
		with("dc zva of nothing", FaultPage, fault(FaultPage), zero),
		with("dc zva of the direct map", directMap, fault(directMap), zero),
		with("cache maintenance", DataBase, survives, clean, discard, svc, udf),
		with("rounding mode and flush to zero in a system call", 0x07c0_0000, survives, setFPCR, svc, udf),
		with("floating-point traps in a system call", 0x0000_9f00, survives, setFPCR, svc, udf),
		with("stack pointer in the kernel", directMap+0x8000, survives, moveSP, svc, udf),
		with("unaligned stack pointer in a system call", DataBase+9, survives, moveSP, svc, udf),
		with("kernel address in x28 and x18", directMap, survives, moveG, move18, svc, udf),
		with("kernel address in tpidr_el0", directMap, survives, setTLS, svc, udf),
		with("system call with an immediate", 0, survives, svc|0xffff<<5, udf),
		// The return address is the first one of the kernel half.
		{Name: "system call at the end of user space", Code: assemble(nil, svc), At: topPage + 0xffc, Want: WantSyscall},
	}
}

// assemble is machine code: x0 loaded with a constant unless nil, x8 with CallNothing then, and instructions.
func assemble(x0 *uint64, instructions ...uint32) []byte {
	const movz, movk = 0xd280_0000, 0xf280_0000
	var code []byte
	add := func(i uint32) { code = binary.LittleEndian.AppendUint32(code, i) }
	if x0 != nil {
		add(movz | uint32(*x0&0xffff)<<5)
		for shift := uint32(1); shift < 4; shift++ {
			add(movk | shift<<21 | uint32(*x0>>(16*shift)&0xffff)<<5)
		}
		add(movz | CallNothing<<5 | 8)
	}
	for _, i := range instructions {
		add(i)
	}
	return code
}
