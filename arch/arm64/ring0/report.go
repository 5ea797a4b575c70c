package ring0

// Register is general register i of a frame, for reports. ok is false behind the last.
func (f *Frame) Register(i int) (name string, value uint64, ok bool) {
	switch {
	case i < 0 || i >= 3+len(f.X):
		return "", 0, false
	case i == 0:
		return "pc", f.ELR, true
	case i == 1:
		return "sp", f.SP, true
	case i == 2:
		return "pstate", f.SPSR, true
	}
	return registerNames[i-3], f.X[i-3], true
}

var registerNames = [31]string{
	"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
	"x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
}

// PC is where the frame's code was.
func (f *Frame) PC() uint64 { return f.ELR }

// StackPointer is the frame's stack pointer.
func (f *Frame) StackPointer() uint64 { return f.SP }

// FramePointer starts the chain of frames for a backtrace.
func (f *Frame) FramePointer() uint64 { return f.X[29] }
