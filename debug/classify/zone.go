package classify

// Zone is a part of a sleeping stack, by who may write there.
type Zone int

// Zones of a stack [lo, hi) whose owner sleeps with its stack pointer at sp.
const (
	Outside Zone = iota // not in the stack
	Dead                // [lo, sp): holds nothing; a write is harmless and is only counted
	Guard               // the lowest bytes of Dead: whoever writes there is running out of stack, or is a neighbour that did
	Live                // [sp+frame, hi-top): frames of the sleeper's callers; wakers may write results there
	Saved               // [sp, sp+frame): what the switch saved; nobody but the switch may write there
	Top                 // [hi-top, hi): the registers of user mode; the same
)

var zoneNames = [...]string{"outside", "dead", "guard", "live", "saved frame", "user registers"}

// String is the zone's name in reports.
func (z Zone) String() string {
	if z < 0 || int(z) >= len(zoneNames) {
		return "?"
	}
	return zoneNames[z]
}

// Alarms reports whether a foreign write there is an error unless a rule allows it.
func (z Zone) Alarms() bool { return z >= Guard }

// Allowable reports whether an allow rule may excuse a write there: never what the switch saved.
func (z Zone) Allowable() bool { return z < Saved }

// Stack is a kernel stack whose owner sleeps.
type Stack struct {
	Span
	SP uint64 // saved stack pointer; everything from here to Hi is in use
	// Frame and Top are the sizes of the saved frame at SP and of the user registers below Hi,
	// in bytes; GuardSize is how much above Lo is guarded. 0: there is none.
	Frame, Top, GuardSize uint64
}

// Zone says where a GVA lies.
func (s Stack) Zone(addr uint64) Zone {
	switch {
	case !s.Contains(addr):
		return Outside
	case addr < s.SP && addr-s.Lo < s.GuardSize:
		return Guard
	case addr < s.SP:
		return Dead
	case addr-s.SP < s.Frame:
		return Saved
	case s.Hi-addr <= s.Top:
		return Top
	}
	return Live
}

// Worst is the zone that matters most among those a write of n bytes at addr touches, and the
// first address in it.
func (s Stack) Worst(addr, n uint64) (Zone, uint64) {
	end := addr + n
	if end < addr { // wraps: hostile input
		end = ^uint64(0)
	}
	worst, at := Outside, uint64(0)
	// A zone's first address in the write is the write's own or one of the borders.
	for _, a := range []uint64{addr, s.Lo, s.Lo + s.GuardSize, s.SP, s.SP + s.Frame, s.Hi - s.Top} {
		if a < addr || a >= end {
			continue
		}
		if z := s.Zone(a); z > worst || z == worst && z != Outside && a < at {
			worst, at = z, a
		}
	}
	return worst, at
}
