//go:build amd64

package ring0

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"
)

// The entry code stores registers with the offsets of Frame into a Regs, and addresses a
// thread's Context by its Frame.
func TestLayoutsThatAssemblyReliesOn(t *testing.T) {
	var f Frame
	var r Regs
	var c Context
	var u UserContext
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"Regs.R15", unsafe.Offsetof(r.R15), unsafe.Offsetof(f.R15)},
		{"Regs.BX", unsafe.Offsetof(r.BX), unsafe.Offsetof(f.BX)},
		{"Regs.AX", unsafe.Offsetof(r.AX), unsafe.Offsetof(f.AX)},
		{"Regs.DI", unsafe.Offsetof(r.DI), unsafe.Offsetof(f.DI)},
		{"Regs.IP", unsafe.Offsetof(r.IP), unsafe.Offsetof(f.IP)},
		{"Regs.SS", unsafe.Offsetof(r.SS), unsafe.Offsetof(f.SS)},
		{"Context.Frame", unsafe.Offsetof(c.Frame), 0},
		{"UserContext.regs", unsafe.Offsetof(u.regs), 0},
		{"UserContext.vector", unsafe.Offsetof(u.vector), userVectorOffset},
		{"UserContext", unsafe.Sizeof(u), userContextSize},
		{"IRETQ frame", unsafe.Offsetof(f.SS) - unsafe.Offsetof(f.IP), 32},
		{"vector area alignment", unsafe.Offsetof(u.vector) % 64, 0},
		{"TSS", unsafe.Sizeof(bootCPU.tss), 104},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is at %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}

func TestAreaHasAGuardBelowEveryStack(t *testing.T) {
	for _, top := range []int{areaFatalTop, areaIRQTop, areaExcTop, areaStackTop} {
		page := top/pageSize - 1
		if AreaGuard(page) {
			t.Errorf("the top page %d of a stack is a guard", page)
		}
		for page >= 0 && !AreaGuard(page) {
			page--
		}
		if page < 0 {
			t.Errorf("no guard below the stack that ends at %#x", top)
		}
	}
	if AreaGuard(AreaPages - 1) {
		t.Error("the per-CPU struct is in a guard page")
	}
}

// thread makes a thread whose stack is real memory, so that signal frames can be pushed.
func thread(t *testing.T) (*Context, []byte) {
	t.Helper()
	initial := vectorSize
	vectorSize = 832
	t.Cleanup(func() { vectorSize = initial })
	stack := make([]byte, 32<<10)
	vector := make([]byte, 4096+64)
	v := (uint64(uintptr(unsafe.Pointer(&vector[0]))) + 63) &^ 63
	t.Cleanup(func() { _, _ = stack[0], vector[0] })
	c := &Context{Vector: v, Resume: resumeTrap}
	c.Frame = Frame{
		R15: 1, R14: 2, R13: 3, R12: 4, BP: 5, BX: 6, R11: 7, R10: 8, R9: 9, R8: 10, AX: 11, CX: 12, DX: 13, SI: 14, DI: 15,
		IP: 0xffffffff80001234, CS: kernelCS, Flags: flagsKernel | flagCF, SS: kernelDS,
		SP: uint64(uintptr(unsafe.Pointer(&stack[0]))) + 16<<10,
	}
	for i := range vectorSize {
		*(*byte)(pointer(v + uint64(i))) = byte(i * 7)
	}
	return c, stack
}

func TestSignalFrameRoundTrip(t *testing.T) {
	for _, alternate := range []bool{false, true} {
		c, stack := thread(t)
		base := uint64(uintptr(unsafe.Pointer(&stack[0])))
		before := *c
		s := &Signal{Number: int32(syscall.SIGSEGV), Code: 1, Addr: 0x1234, Handler: 0xffffffff80005000, Restorer: 0xffffffff80006000, Mask: 0xabc}
		if alternate {
			s.AltBase, s.AltSize = base+24<<10, 8<<10
		}
		lo, hi := c.SignalStack(s)
		if lo < base || hi > base+32<<10 || lo >= hi {
			t.Fatalf("frame [%#x, %#x) is outside the stack", lo, hi)
		}
		if onAlternate := lo >= base+24<<10; onAlternate != alternate {
			t.Errorf("frame at %#x, alternate stack wanted: %v", lo, alternate)
		}
		c.PushSignal(s)
		if c.Frame.SP < lo || c.Frame.SP >= hi || c.Frame.SP%16 != 8 {
			t.Errorf("handler's SP %#x: a function is entered 8 below a multiple of 16", c.Frame.SP)
		}
		if c.Frame.IP != s.Handler || c.Frame.DI != uint64(s.Number) || *(*uint64)(pointer(c.Frame.SP)) != s.Restorer {
			t.Errorf("handler %#x, signal %d", c.Frame.IP, c.Frame.DI)
		}
		if number := *(*int32)(pointer(c.Frame.SI)); number != s.Number {
			t.Errorf("siginfo has signal %d", number)
		}
		// ucontext: uc_mcontext is at 40; rip is its 17th word.
		if ip := *(*uint64)(pointer(c.Frame.DX + 40 + 16*8)); ip != before.Frame.IP {
			t.Errorf("ucontext has rip %#x", ip)
		}
		// The handler has used vector registers and returns through the restorer.
		for i := range vectorSize {
			*(*byte)(pointer(c.Vector + uint64(i))) = 0xee
		}
		c.Frame.SP += 8
		if mask := c.PopSignal(); mask != s.Mask {
			t.Errorf("mask %#x, want %#x", mask, s.Mask)
		}
		if c.Frame != before.Frame || c.Resume != before.Resume {
			t.Errorf("restored %+v\nwant %+v", c.Frame, before.Frame)
		}
		for i := range vectorSize {
			if got := *(*byte)(pointer(c.Vector + uint64(i))); got != byte(i*7) {
				t.Fatalf("vector state byte %d is %#x", i, got)
			}
		}
	}
}

func TestSignalInASystemCallKeepsNoVectorState(t *testing.T) {
	c, _ := thread(t)
	c.Resume = resumeCall
	c.SetResult(-int64(syscall.EINTR))
	s := &Signal{Number: int32(syscall.SIGURG), Handler: 1 << 63}
	c.PushSignal(s)
	c.Frame.SP += 8
	c.PopSignal()
	if c.Resume != resumeCall || c.Result() != -int64(syscall.EINTR) {
		t.Errorf("resumes by %d with result %d", c.Resume, c.Result())
	}
}

// TestForgedVectorState: nothing that a user writes into a signal frame may make XRSTOR fault
// (Intel SDM volume 1, 13.8.1).
func TestForgedVectorState(t *testing.T) {
	oldSize, oldXCR0 := vectorSize, xcr0
	defer func() { vectorSize, xcr0 = oldSize, oldXCR0 }()
	vectorSize, xcr0 = 832, 7
	rng := rand.New(rand.NewPCG(7, 8))
	for range 1000 {
		forged := make([]byte, rng.IntN(1000))
		for i := range forged {
			forged[i] = byte(rng.Uint32())
		}
		dst := make([]byte, vectorSize)
		initVector(dst)
		ok := sanitizeVector(dst, forged)
		if ok != (len(forged) >= xsaveLegacy+xsaveHeaderSize) {
			t.Fatalf("%d bytes accepted: %v", len(forged), ok)
		}
		if bv := get64(dst, xsaveBV); bv&^xcr0 != 0 {
			t.Fatalf("xstate_bv %#x has components that do not exist", bv)
		}
		if get32(dst, xsaveMXCSR)&^0xffff != 0 || get32(dst, xsaveMXCSR)&^mxcsrMask != 0 {
			t.Fatalf("mxcsr %#x has reserved bits", get32(dst, xsaveMXCSR))
		}
		for i := xsaveCompBV; i < xsaveLegacy+xsaveHeaderSize; i++ {
			if dst[i] != 0 {
				t.Fatalf("header byte %d is %#x", i, dst[i])
			}
		}
	}
}

func TestClockIsItsOwnInverse(t *testing.T) {
	old := clock
	defer func() { clock = old }()
	for _, hz := range []uint64{1_000_000_000, 2_596_131_000, 24_000_000, 999_999_937} {
		entryCounter = 12345
		initClock(hz, 1_700_000_000_000_000_000)
		if nanosAt(entryCounter) != 0 || nanosAt(0) != 0 {
			t.Errorf("%d Hz: the clock does not start at 0", hz)
		}
		last := int64(-1)
		for ns := int64(0); ns < 1<<55; ns = ns*3 + 1000 {
			got := nanosAt(CounterAt(ns))
			if slack := int64(1_000_000_000/hz) + 2 + ns>>30; got > ns+slack || got < ns-slack {
				t.Errorf("%d Hz: %d ns came back as %d", hz, ns, got)
			}
			if got <= last {
				t.Errorf("%d Hz: time went backwards at %d", hz, ns)
			}
			last = got
		}
	}
	if CounterAt(-5) != clock.base {
		t.Error("a time before boot is not now")
	}
}

func TestExceptionsBecomeLinuxSignals(t *testing.T) {
	for _, tt := range []struct {
		name      string
		vector    uint32
		code      uint64
		signal    syscall.Signal
		wantCode  int32
		wantKind  EventKind
		access    Access
		isPresent bool
	}{
		{"divide", vectorDE, 0, syscall.SIGFPE, 1, EventException, AccessRead, false},
		{"breakpoint", vectorBP, 0, syscall.SIGTRAP, 0x80, EventException, AccessRead, false},
		{"invalid opcode", vectorUD, 0, syscall.SIGILL, 2, EventException, AccessRead, false},
		{"protection", vectorGP, 0, syscall.SIGSEGV, 0x80, EventException, AccessRead, false},
		{"alignment", vectorAC, 0, syscall.SIGBUS, 1, EventException, AccessRead, false},
		{"not present, read", vectorPF, 4, syscall.SIGSEGV, 1, EventPageFault, AccessRead, false},
		{"not present, write", vectorPF, 6, syscall.SIGSEGV, 1, EventPageFault, AccessWrite, false},
		{"protection, write", vectorPF, 7, syscall.SIGSEGV, 2, EventPageFault, AccessWrite, true},
		{"fetch", vectorPF, 0x15, syscall.SIGSEGV, 2, EventPageFault, AccessExec, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := Event{Vector: tt.vector, Code: tt.code, Addr: 0x1000}
			e.classify(0x2000)
			if e.Kind != tt.wantKind || e.Access != tt.access || e.Present != tt.isPresent {
				t.Errorf("event %+v", e)
			}
			if n, code := e.Signal(); n != int32(tt.signal) || code != tt.wantCode {
				t.Errorf("signal %d, code %d", n, code)
			}
			if e.Name() == "unknown exception" {
				t.Error("no name")
			}
		})
	}
}

func TestUserContextAsTheKernelUsesIt(t *testing.T) {
	oldSize := vectorSize
	defer func() { vectorSize = oldSize }()
	vectorSize = 832
	page := make([]byte, 2*userContextSize)
	at := (uintptr(unsafe.Pointer(&page[0])) + 63) &^ 63
	c := InitUserContext(at)
	c.Reset(0x401000, 0x7fff0000)
	if c.PC() != 0x401000 || c.SP() != 0x7fff0000 || c.Regs().AX != 0 || c.Regs().CS != userCS {
		t.Errorf("after Reset: %+v", *c.Regs())
	}
	r := c.Regs()
	r.OrigAX, r.AX, r.DI, r.SI, r.DX, r.R10, r.R8, r.R9, r.IP = 59, 59, 1, 2, 3, 4, 5, 6, 0x401002
	nr, args := c.Syscall()
	if nr != 59 || args != [6]uint64{1, 2, 3, 4, 5, 6} {
		t.Errorf("system call %d %v", nr, args)
	}
	c.SetReturn(-4)
	if c.Return() != -4 {
		t.Errorf("return %d", c.Return())
	}
	c.RestartSyscall()
	if c.PC() != 0x401000 || r.AX != 59 {
		t.Errorf("restart at %#x with rax %d", c.PC(), r.AX)
	}
	c.SetTLS(1<<63 | 0x1234)
	if c.TLS() != 0x1234 {
		t.Errorf("TLS %#x: a kernel address was accepted", c.TLS())
	}
	if cpu := c.Interrupt(); cpu != -1 || c.kick != 1 {
		t.Errorf("interrupt of a context that runs nowhere: CPU %d", cpu)
	}
	_ = page[0]
}
