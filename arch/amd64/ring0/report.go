//go:build amd64

package ring0

// Register is general register i of a frame, for reports. ok is false behind the last.
func (f *Frame) Register(i int) (name string, value uint64, ok bool) {
	switch i {
	case 0:
		return "rip", f.IP, true
	case 1:
		return "rsp", f.SP, true
	case 2:
		return "rflags", f.Flags, true
	case 3:
		return "rax", f.AX, true
	case 4:
		return "rbx", f.BX, true
	case 5:
		return "rcx", f.CX, true
	case 6:
		return "rdx", f.DX, true
	case 7:
		return "rsi", f.SI, true
	case 8:
		return "rdi", f.DI, true
	case 9:
		return "rbp", f.BP, true
	case 10:
		return "r8", f.R8, true
	case 11:
		return "r9", f.R9, true
	case 12:
		return "r10", f.R10, true
	case 13:
		return "r11", f.R11, true
	case 14:
		return "r12", f.R12, true
	case 15:
		return "r13", f.R13, true
	case 16:
		return "r14", f.R14, true
	case 17:
		return "r15", f.R15, true
	case 18:
		return "cs", f.CS, true
	case 19:
		return "ss", f.SS, true
	}
	return "", 0, false
}

// SystemRegister is system register i of this CPU, for reports. ok is false behind the last.
func SystemRegister(i int) (name string, value uint64, ok bool) {
	switch i {
	case 0:
		return "cr0", readCR0(), true
	case 1:
		return "cr2", readCR2(), true
	case 2:
		return "cr3", readCR3(), true
	case 3:
		return "cr4", readCR4(), true
	case 4:
		return "efer", rdmsr(msrEFER), true
	case 5:
		return "xcr0", xcr0, true
	}
	return "", 0, false
}

// PC, SP and FramePointer are where the frame's code was.
func (f *Frame) PC() uint64 { return f.IP }

// StackPointer is the frame's stack pointer.
func (f *Frame) StackPointer() uint64 { return f.SP }

// FramePointer starts the chain of frames for a backtrace.
func (f *Frame) FramePointer() uint64 { return f.BP }
