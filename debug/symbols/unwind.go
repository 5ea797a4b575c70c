package symbols

// MaxFrames bounds a stack: a damaged one can go round for ever.
const MaxFrames = 64

// Registers are where a walk starts.
type Registers interface {
	PC() uint64
	SP() uint64
	FP() uint64
	// Link is the return address of a function that has not stored it, 0 on amd64.
	Link() uint64
}

// Frame is one call on a stack.
type Frame struct {
	PC uint64 // GVA; of a caller, the return address
	// Symbol is of the call, not of the instruction behind it.
	Symbol Symbol
	Known  bool // Symbol means something
}

// Memory is what a walk reads of the guest.
type Memory struct {
	// Word reads the 8 bytes at a GVA.
	Word func(gva uint64) (uint64, bool)
	// CallTarget is where the direct call went that returns to ret. It may be nil.
	CallTarget func(ret uint64) (target uint64, ok bool)
}

// Unwind walks a stack by frame pointers: at the frame pointer lies the caller's frame
// pointer, and behind it the return address. Go's compiler does that on amd64 and arm64
// alike, in assembly with a frame too, and so does Linux when built for it. The walk ends
// where it cannot go on.
func (t *Table) Unwind(r Registers, m Memory) []Frame {
	frames := []Frame{t.frame(r.PC(), false)}
	if ret, ok := t.framelessReturn(r, m); ok {
		frames = append(frames, t.frame(ret, true))
	}
	word := m.Word
	seen := make(map[uint64]bool)
	for fp := r.FP(); len(frames) < MaxFrames && fp != 0 && fp%8 == 0 && !seen[fp]; {
		seen[fp] = true
		ret, ok := word(fp + 8)
		if !ok || ret == 0 {
			break
		}
		f := t.frame(ret, true)
		// Where there are symbols, an address without one means that this is no frame.
		if t != nil && !f.Known {
			break
		}
		frames = append(frames, f)
		if fp, ok = word(fp); !ok {
			break
		}
	}
	return frames
}

// framelessReturn is the return address of a function that has not built a frame, or has
// none: the frame pointer is still its caller's, so that the chain would leave the caller
// out. The address is believed at the function's very start, or when a call of this function
// lies before it; and not when the chain has it as well.
func (t *Table) framelessReturn(r Registers, m Memory) (uint64, bool) {
	s, ok := t.Lookup(r.PC())
	if !ok {
		return 0, false
	}
	ret := r.Link()
	if ret == 0 {
		if ret, ok = m.Word(r.SP()); !ok {
			return 0, false
		}
	}
	if !t.Contains(ret) {
		return 0, false
	}
	if next, ok := m.Word(r.FP() + 8); ok && next == ret && r.FP() != 0 {
		return 0, false
	}
	if s.Offset <= 4 {
		return ret, true
	}
	if m.CallTarget == nil {
		return 0, false
	}
	target, ok := m.CallTarget(ret)
	return ret, ok && target == s.Start
}

func (t *Table) frame(pc uint64, isReturn bool) Frame {
	at := pc
	if isReturn {
		at-- // the call may be its function's last instruction
	}
	f := Frame{PC: pc}
	f.Symbol, f.Known = t.Lookup(at)
	if isReturn && f.Known {
		f.Symbol.Offset++
	}
	return f
}
