//go:build arm64

package ring0

// The Go side of the vectors in entry.s and user.s.

// boot runs on CPU 0 alone, on the boot stack and the boot page tables.
func boot(info uint64) {
	handlers.Boot(info)
}

// start runs on every CPU in its own area, on the kernel's page tables.
func start(index int) {
	enableFeatures()
	startGIC(index)
	handlers.Start(index)
}

func trapSyscall(t *Context) { handlers.Syscall(t) }

func exception(t *Context, esr, far uint64) {
	e := &currentCPU().event
	*e = classify(esr, far, t.Frame.ELR)
	handlers.Exception(t, e)
}

func interrupt(t *Context) { handlers.Interrupt(t, acknowledge()) }

func fatal(f *Frame, esr, far uint64) {
	e := &currentCPU().event
	*e = classify(esr, far, f.ELR)
	e.User = f.SPSR&0xf == pstateEL0t
	handlers.Fatal(f, e)
}

// SystemRegister is system register i of this CPU, for reports. ok is false behind the last.
func SystemRegister(i int) (name string, value uint64, ok bool) {
	esr, far, sctlr := systemRegisters()
	switch i {
	case 0:
		return "esr_el1", esr, true
	case 1:
		return "far_el1", far, true
	case 2:
		return "ttbr0_el1", readRoot(), true
	case 3:
		return "sctlr_el1", sctlr, true
	}
	return "", 0, false
}
