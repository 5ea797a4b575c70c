//go:build amd64

package ring0

// The func values that the entry code calls, statically initialised because they are used
// before package initialisation.
var (
	onBoot  = boot
	onStart = start
	onTrap  = trapped
	onFatal = fatal
)

// Exception vectors (AMD64 APM volume 2, 8.2) and our own interrupt vectors.
const (
	vectorDE = 0
	vectorDB = 1
	vectorBP = 3
	vectorOF = 4
	vectorBR = 5
	vectorUD = 6
	vectorSS = 12
	vectorGP = 13
	vectorPF = 14
	vectorMF = 16
	vectorAC = 17
	vectorXM = 19

	vectorTimer     = 32
	vectorIPI       = 33
	vectorSpurious  = 0x5f // low four bits set, as old APICs want it
	vectorLine      = 40   // + I/O APIC pin
	numVectors      = 96
	vectorAway      = 258 // not a vector: some of the context's vector state is in another CPU's registers
	vectorElsewhere = 257 // not a vector: the CPU is not one that may run the context
	vectorSyscall   = 256 // not a vector: the user executed SYSCALL
)

// boot runs on CPU 0 alone, on the boot stack and the boot page tables.
func boot(info uint64) {
	// The entry stacks of traps lie in the lower half of the boot stack.
	bootCPU.fatal = bootCPU.stack - bootStackSize*3/4
	bootCPU.setup(bootCPU.stack-bootStackSize*5/8, bootCPU.stack-bootStackSize*11/16, bootCPU.stack-bootStackSize*23/32)
	fillIDT()
	bootCPU.load()
	handlers.Boot(info)
}

// start runs on every CPU in its own area, on the kernel's page tables.
func start(index int) {
	c := currentCPU()
	c.load()
	enableFeatures()
	startAPIC(c)
	handlers.Start(index)
}

// trapped is the Go side of every trap out of a thread that needs the nucleus: interrupts from
// anywhere, exceptions in kernel Go code.
func trapped(t *Context, vector, code, addr uint64) {
	if vector >= 32 {
		handlers.Interrupt(t, acknowledge(vector))
		return
	}
	e := &currentCPU().event
	*e = Event{Vector: uint32(vector), Code: code, Addr: addr}
	e.classify(t.Frame.IP)
	handlers.Exception(t, e)
}

func fatal(f *Frame, vector, code, addr uint64) {
	e := &currentCPU().event
	*e = Event{Vector: uint32(vector), Code: code, Addr: addr}
	e.classify(f.IP)
	handlers.Fatal(f, e)
	halt()
}

// classify turns vector, error code and CR2 into the architecture-neutral fields.
func (e *Event) classify(ip uint64) {
	const (
		present = 1 << 0
		write   = 1 << 1
		fetch   = 1 << 4
	)
	e.Access, e.Present = AccessRead, false
	if e.Vector != vectorPF {
		e.Kind = EventException
		e.Addr = ip
		return
	}
	e.Kind = EventPageFault
	e.Present = e.Code&present != 0
	switch {
	case e.Code&fetch != 0:
		e.Access = AccessExec
	case e.Code&write != 0:
		e.Access = AccessWrite
	}
}

// Name is the exception's name and number in reports.
func (e *Event) Name() string {
	if e.Vector < uint32(len(exceptionNames)) {
		return exceptionNames[e.Vector]
	}
	return "unknown exception"
}

var exceptionNames = [32]string{
	"#DE divide error", "#DB debug", "NMI", "#BP breakpoint", "#OF overflow", "#BR bound range", "#UD invalid opcode",
	"#NM device not available", "#DF double fault", "vector 9", "#TS invalid TSS", "#NP segment not present",
	"#SS stack", "#GP general protection", "#PF page fault", "vector 15", "#MF x87 floating point", "#AC alignment check",
	"#MC machine check", "#XM SIMD floating point", "#VE virtualization", "#CP control protection",
	"vector 22", "vector 23", "vector 24", "vector 25", "vector 26", "vector 27", "#HV hypervisor injection",
	"#VC VMM communication", "#SX security", "vector 31",
}
