package ring0

import (
	"testing"
	"unsafe"
)

// ESR values as a CPU reports them (class << 26 | IL | ISS).
func TestClassify(t *testing.T) {
	const far, pc, il = 0x1234_5678, 0x40_0000, 1 << 25
	for _, c := range []struct {
		name    string
		esr     uint64
		want    Event
		signal  int32
		si_code int32
	}{
		{"SVC", ecSVC64<<26 | il, Event{Kind: EventSyscall, Addr: pc}, 4, 1},
		{"read of nothing", ecDataUser<<26 | il | 0x07, Event{Kind: EventPageFault, Addr: far}, 11, 1},
		{"write of nothing", ecDataUser<<26 | il | 0x47, Event{Kind: EventPageFault, Access: AccessWrite, Addr: far}, 11, 1},
		{"write to read-only", ecDataUser<<26 | il | 0x4f, Event{Kind: EventPageFault, Access: AccessWrite, Present: true, Addr: far}, 11, 2},
		{"cache maintenance reads", ecDataUser<<26 | il | 0x147, Event{Kind: EventPageFault, Addr: far}, 11, 1},
		{"fetch of no-exec", ecInstrUser<<26 | il | 0x0f, Event{Kind: EventPageFault, Access: AccessExec, Present: true, Addr: far}, 11, 2},
		{"access flag", ecDataUser<<26 | il | 0x0b, Event{Kind: EventPageFault, Addr: far}, 11, 1},
		{"level 0 address size", ecDataUser<<26 | il, Event{Kind: EventPageFault, Addr: far}, 11, 1},
		{"unaligned", ecDataUser<<26 | il | 0x21, Event{Kind: EventException, Addr: far}, 7, 1},
		{"external abort", ecDataUser<<26 | il | 0x50, Event{Kind: EventException, Access: AccessWrite, Addr: far}, 7, 3},
		{"kernel read", ecData<<26 | il | 0x06, Event{Kind: EventPageFault, Addr: far}, 11, 1},
		{"undefined", il, Event{Kind: EventException, Addr: pc}, 4, 1},
		{"BRK", ecBRK<<26 | il | 1, Event{Kind: EventException, Addr: pc}, 5, 1},
		{"odd PC", ecPCAlign<<26 | il, Event{Kind: EventException, Addr: far}, 7, 1},
		{"odd SP", ecSPAlign<<26 | il, Event{Kind: EventException, Addr: pc}, 7, 1},
		{"division by zero", ecFP64<<26 | il | 1<<23 | 1<<1, Event{Kind: EventException, Addr: pc}, 8, 3},
		{"invalid operation", ecFP64<<26 | il | 1<<23 | 1, Event{Kind: EventException, Addr: pc}, 8, 7},
	} {
		got := classify(c.esr, far, pc)
		c.want.Code, c.want.Vector = c.esr, uint32(c.esr>>26)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if n, code := got.Signal(); n != c.signal || code != c.si_code {
			t.Errorf("%s: signal %d code %d, want %d and %d", c.name, n, code, c.signal, c.si_code)
		}
		if got.Name() == "unknown exception" {
			t.Errorf("%s has no name", c.name)
		}
	}
}

// The assembly relies on these offsets where go_asm.h has no name for them.
func TestLayout(t *testing.T) {
	var f Frame
	var r Regs
	var c Context
	var u UserContext
	var v vectorRegisters
	for _, o := range []struct {
		name      string
		got, want uintptr
	}{
		{"Frame.X", unsafe.Offsetof(f.X), 0},
		{"Frame.SP", unsafe.Offsetof(f.SP), 31 * 8},
		{"Regs.X", unsafe.Offsetof(r.X), 0},
		{"Regs.SP", unsafe.Offsetof(r.SP), 31 * 8},
		{"Context.Frame", unsafe.Offsetof(c.Frame), 0},
		{"UserContext.regs", unsafe.Offsetof(u.regs), 0},
		{"UserContext.vector", unsafe.Offsetof(u.vector), userVectorOffset},
		{"FPSR", unsafe.Offsetof(v.fpsr), 512},
		{"FPCR", unsafe.Offsetof(v.fpcr), 516},
		{"size of UserContext", unsafe.Sizeof(u), userContextSize},
		{"size of the vector state", unsafe.Sizeof(v), vectorSize},
	} {
		if o.got != o.want {
			t.Errorf("%s is at %d, want %d", o.name, o.got, o.want)
		}
	}
}

// struct rt_sigframe of arch/arm64/kernel/signal.c and what runtime/defs_linux_arm64.go reads of it.
func TestSignalFrameIsLinuxs(t *testing.T) {
	var f signalFrame
	for _, o := range []struct {
		name      string
		got, want uintptr
	}{
		{"si_code", unsafe.Offsetof(f.code), 8},
		{"si_addr", unsafe.Offsetof(f.addr), 16},
		{"uc_flags", unsafe.Offsetof(f.flags), 128},
		{"uc_sigmask", unsafe.Offsetof(f.mask), 128 + 40},
		{"fault_address", unsafe.Offsetof(f.fault), 128 + 176},
		{"regs", unsafe.Offsetof(f.frame), 128 + 176 + 8},
		{"sp", unsafe.Offsetof(f.frame) + unsafe.Offsetof(f.frame.SP), 128 + 176 + 256},
		{"pc", unsafe.Offsetof(f.frame) + unsafe.Offsetof(f.frame.ELR), 128 + 176 + 264},
		{"pstate", unsafe.Offsetof(f.frame) + unsafe.Offsetof(f.frame.SPSR), 128 + 176 + 272},
		{"fpsimd_context", unsafe.Offsetof(f.vectorMagic), 128 + 176 + 288},
		{"vregs", unsafe.Offsetof(f.vector), 128 + 176 + 288 + 16},
		{"end mark", unsafe.Offsetof(f.endMagic), 128 + 176 + 288 + fpsimdSize},
	} {
		if o.got != o.want {
			t.Errorf("%s is at %d, want %d", o.name, o.got, o.want)
		}
	}
}

func TestSignalRoundTrip(t *testing.T) {
	for _, resume := range []uint64{resumeCall, resumeTrap} {
		stack := make([]uint64, 4096)
		area := make([]uint64, vectorSize/8+1)
		top := uint64(uintptr(unsafe.Pointer(&stack[len(stack)-2])))
		c := Context{Vector: uint64(uintptr(unsafe.Pointer(&area[0]))), Resume: resume}
		for i := range c.Frame.X {
			c.Frame.X[i] = uint64(i) * 0x0101_0101
		}
		for i := range area {
			area[i] = uint64(i) * 0x1111
		}
		c.Frame.SP, c.Frame.ELR, c.Frame.SPSR = top, 0x40_1000, 0xf<<28|pstateKernel
		before, vector := c, append([]uint64(nil), area...)
		s := Signal{Number: 23, Code: -6, Handler: 0x5000, Mask: 0xabc}
		lo, hi := c.SignalStack(&s)
		c.PushSignal(&s)
		if c.PC() != 0x5000 || c.Frame.X[0] != 23 || c.Frame.X[28] != before.Frame.X[28] || c.Resume != resumeCall {
			t.Errorf("handler starts with %+v", c.Frame)
		}
		if c.SP()%16 != 0 || c.SP() < lo || hi > top {
			t.Errorf("frame at %#x, announced %#x to %#x below %#x", c.SP(), lo, hi, top)
		}
		clear(area) // the handler uses the registers
		if mask := c.PopSignal(); mask != 0xabc {
			t.Errorf("mask %#x, want 0xabc", mask)
		}
		if c != before {
			t.Errorf("state after the signal\n%+v, want\n%+v", c, before)
		}
		for i := range area {
			if want := vector[i]; resume == resumeTrap && i < vectorSize/8 && area[i] != want {
				t.Errorf("vector word %d = %#x, want %#x", i, area[i], want)
			}
		}
	}
}

// A handler cannot make itself more powerful by editing the frame.
func TestPopSignalKeepsTheMode(t *testing.T) {
	stack := make([]uint64, 4096)
	c := Context{}
	c.Frame.SP = uint64(uintptr(unsafe.Pointer(&stack[4000])))
	s := Signal{Number: 11, Handler: 0x5000}
	c.PushSignal(&s)
	(*signalFrame)(pointer(c.SP())).frame.SPSR = ^uint64(0)
	c.PopSignal()
	if c.Frame.SPSR != pstateUserMask|pstateKernel {
		t.Errorf("PSTATE %#x", c.Frame.SPSR)
	}
}

func TestAlternateStack(t *testing.T) {
	c := Context{}
	c.Frame.SP = 0x7000
	s := Signal{AltBase: 0x10_0000, AltSize: 0x8000}
	if lo, hi := c.SignalStack(&s); lo < s.AltBase || hi > s.AltBase+s.AltSize {
		t.Errorf("frame from %#x to %#x is not on the alternate stack", lo, hi)
	}
	c.Frame.SP = 0x10_4000 // already there
	if lo, hi := c.SignalStack(&s); lo < s.AltBase || hi > c.Frame.SP {
		t.Errorf("nested frame from %#x to %#x overwrites the one below %#x", lo, hi, c.Frame.SP)
	}
}

func TestUserContext(t *testing.T) {
	var c, child UserContext
	c.Reset(0x40_0000, 0x7000)
	r := c.Regs()
	r.OrigX0, r.Nr = 1, 64
	for i := range 6 {
		r.X[i] = uint64(10 + i)
	}
	c.SetReturn(-4)
	if nr, args := c.Syscall(); nr != 64 || args != [6]uint64{1, 11, 12, 13, 14, 15} || c.Return() != -4 {
		t.Errorf("system call %d %v returns %d", nr, args, c.Return())
	}
	c.SetPC(0x40_0004)
	c.RestartSyscall()
	if c.PC() != 0x40_0000 || r.X[0] != 1 {
		t.Errorf("restart at %#x with x0 = %d", c.PC(), r.X[0])
	}
	state := make([]byte, vectorSize)
	state[17] = 5
	if c.SetVectorState(state[:vectorSize-1]) || !c.SetVectorState(state) {
		t.Error("SetVectorState accepts a short image, or refuses a whole one")
	}
	child.SetRoot(0x9000)
	c.SetRoot(0x8000)
	child.CopyFrom(&c)
	if *child.Regs() != *c.Regs() || child.VectorState()[17] != 5 || child.Root() != 0x9000 {
		t.Error("a copy differs, or took the root along")
	}
	if cpu := c.Interrupt(); cpu != -1 || c.kick != 1 {
		t.Errorf("Interrupt outside user mode: CPU %d, kick %d", cpu, c.kick)
	}
}
