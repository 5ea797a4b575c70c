package emulate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringo/arch/amd64/store"
	"ringo/arch/amd64/vcpu"
)

// processor is a traced process that carries out one instruction at a time.
type processor struct {
	pid        int
	regs       unix.PtraceRegs
	code, data uint64
}

// fxsave is struct user_fpregs_struct.
type fxsave struct {
	_   [160]byte
	XMM [16][16]byte
	_   [96]byte
}

func newProcessor(t *testing.T) *processor {
	t.Helper()
	runtime.LockOSThread()
	p, err := os.StartProcess("/proc/self/exe", []string{"traced"}, &os.ProcAttr{Sys: &unix.SysProcAttr{Ptrace: true}})
	if err != nil {
		t.Skipf("no traced process here: %v", err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(p.Pid, &status, 0, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Kill()
		_, _ = p.Wait()
		runtime.UnlockOSThread()
	})
	c := &processor{pid: p.Pid}
	if err := unix.PtraceGetRegs(c.pid, &c.regs); err != nil {
		t.Fatal(err)
	}
	c.code, c.data = c.regs.Rip, (c.regs.Rsp-0x800)&^0xfff
	return c
}

// step carries out code with regs, data around the middle of memory, and vectors.
func (c *processor) step(t *testing.T, code []byte, regs *unix.PtraceRegs, memory []byte, v *fxsave) {
	t.Helper()
	check := func(_ int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(unix.PtracePokeText(c.pid, uintptr(c.code), code))
	check(unix.PtracePokeData(c.pid, uintptr(c.data), memory))
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SETFPREGS, uintptr(c.pid), 0, uintptr(unsafe.Pointer(v)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	check(0, unix.PtraceSetRegs(c.pid, regs))
	check(0, unix.PtraceSingleStep(c.pid))
	var status unix.WaitStatus
	check(unix.Wait4(c.pid, &status, 0, nil))
	if !status.Stopped() || status.StopSignal() != unix.SIGTRAP {
		t.Fatalf("% x: %v", code, status.StopSignal())
	}
	check(0, unix.PtraceGetRegs(c.pid, regs))
	check(unix.PtracePeekData(c.pid, uintptr(c.data), memory))
}

// undefined are the flags that an instruction leaves undefined.
const undefined = flagAF

var families = []struct {
	name   string
	code   []byte // the opcode; ModRM and immediate follow
	digit  int    // of ModRM, -1: any register
	imm    int    // bytes; 4 shrinks with an operand size prefix
	lock   bool   // may have LOCK
	prefix []byte // mandatory
	logic  bool
	bare   bool // no ModRM
}{
	{name: "mov b", code: []byte{0x88}, digit: -1}, {name: "mov", code: []byte{0x89}, digit: -1},
	{name: "mov imm8", code: []byte{0xc6}, imm: 1}, {name: "mov imm", code: []byte{0xc7}, imm: 4},
	{name: "add b", code: []byte{0x00}, digit: -1, lock: true}, {name: "add", code: []byte{0x01}, digit: -1, lock: true},
	{name: "or", code: []byte{0x09}, digit: -1, lock: true, logic: true}, {name: "adc", code: []byte{0x11}, digit: -1, lock: true},
	{name: "sbb b", code: []byte{0x18}, digit: -1, lock: true}, {name: "sbb", code: []byte{0x19}, digit: -1, lock: true},
	{name: "and", code: []byte{0x21}, digit: -1, lock: true, logic: true}, {name: "sub", code: []byte{0x29}, digit: -1, lock: true},
	{name: "xor b", code: []byte{0x30}, digit: -1, lock: true, logic: true},
	{name: "add imm8", code: []byte{0x80}, imm: 1, lock: true}, {name: "adc imm", code: []byte{0x81}, digit: 2, imm: 4, lock: true},
	{name: "sub sx", code: []byte{0x83}, digit: 5, imm: 1, lock: true}, {name: "and sx", code: []byte{0x83}, digit: 4, imm: 1, logic: true},
	{name: "inc b", code: []byte{0xfe}, lock: true}, {name: "inc", code: []byte{0xff}, lock: true}, {name: "dec", code: []byte{0xff}, digit: 1, lock: true},
	{name: "not", code: []byte{0xf7}, digit: 2, lock: true}, {name: "neg b", code: []byte{0xf6}, digit: 3, lock: true}, {name: "neg", code: []byte{0xf7}, digit: 3},
	{name: "xchg b", code: []byte{0x86}, digit: -1}, {name: "xchg", code: []byte{0x87}, digit: -1, lock: true},
	{name: "xadd b", code: []byte{0x0f, 0xc0}, digit: -1, lock: true}, {name: "xadd", code: []byte{0x0f, 0xc1}, digit: -1, lock: true},
	{name: "cmpxchg b", code: []byte{0x0f, 0xb0}, digit: -1, lock: true}, {name: "cmpxchg", code: []byte{0x0f, 0xb1}, digit: -1, lock: true},
	{name: "push", code: []byte{0x50}, bare: true}, {name: "push r13", code: []byte{0x41, 0x55}, bare: true}, {name: "push imm8", code: []byte{0x6a}, imm: 1, bare: true},
	{name: "push imm32", code: []byte{0x68}, imm: 4, bare: true}, {name: "call", code: []byte{0xe8}, imm: 4, bare: true}, {name: "call rsi", code: []byte{0xff, 0xd6}, bare: true},
	{name: "push rsp", code: []byte{0x54}, bare: true},
	{name: "movups", code: []byte{0x0f, 0x11}, digit: -1}, {name: "movss", prefix: []byte{0xf3}, code: []byte{0x0f, 0x11}, digit: -1},
	{name: "movsd", prefix: []byte{0xf2}, code: []byte{0x0f, 0x11}, digit: -1}, {name: "movdqu", prefix: []byte{0xf3}, code: []byte{0x0f, 0x7f}, digit: -1},
	{name: "movhps", code: []byte{0x0f, 0x17}, digit: -1}, {name: "movlps", code: []byte{0x0f, 0x13}, digit: -1}, {name: "movq", prefix: []byte{0x66}, code: []byte{0x0f, 0xd6}, digit: -1},
	{name: "movd", prefix: []byte{0x66}, code: []byte{0x0f, 0x7e}, digit: -1},
}

// What the emulation makes of memory and registers is what the processor makes of them.
func TestAgainstTheProcessor(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	c := newProcessor(t)
	for _, f := range families {
		emulated := 0
		for range 120 {
			code, sse := encode(random, f.code, f.prefix, f.digit, f.imm, f.lock, f.bare)
			if c.compare(t, random, f.name, code, f.logic, sse) {
				emulated++
			}
			if t.Failed() {
				return
			}
		}
		if emulated < 40 {
			t.Errorf("%s: %d of 120 emulated", f.name, emulated)
		}
	}
	for cc := range byte(16) {
		for range 30 {
			if !c.compare(t, random, fmt.Sprintf("setcc %d", cc), []byte{0x0f, 0x90 + cc, 0x06}, false, false) {
				t.Errorf("setcc %d not emulated", cc)
			}
		}
	}
}

func encode(random *rand.Rand, op, prefix []byte, digit, imm int, lock, bare bool) (code []byte, sse bool) {
	sse = len(op) == 2 && op[0] == 0x0f && op[1] < 0x90 || len(op) == 2 && op[0] == 0x0f && op[1] == 0xd6
	if lock && random.IntN(2) == 0 {
		code = append(code, 0xf0)
	}
	if !bare && !sse && random.IntN(4) == 0 {
		code = append(code, 0x66)
		if imm == 4 {
			imm = 2
		}
	}
	code = append(code, prefix...)
	if !bare && random.IntN(2) == 0 {
		rex := byte(0x40 | random.IntN(2)<<2)
		if !sse || op[1] == 0x7e {
			rex |= byte(random.IntN(2) << 3)
		}
		code = append(code, rex)
		if rex&8 != 0 && imm == 2 {
			imm = 4
		}
	}
	code = append(code, op...)
	if !bare {
		reg := digit
		if digit < 0 {
			reg = random.IntN(8)
		}
		code = append(code, byte(reg<<3|6)) // [rsi]
	}
	for range imm {
		code = append(code, byte(random.Uint32()))
	}
	return code, sse
}

// compare carries code out both ways; false if it is not emulated.
func (c *processor) compare(t *testing.T, random *rand.Rand, name string, code []byte, logic, sse bool) bool {
	t.Helper()
	regs := c.regs
	number := func() uint64 {
		if random.IntN(3) == 0 {
			return []uint64{0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 1 << 31, 1<<31 - 1, 1 << 63, 1<<63 - 1, ^uint64(0)}[random.IntN(12)]
		}
		return random.Uint64() >> random.IntN(64)
	}
	for _, p := range []*uint64{&regs.Rax, &regs.Rbx, &regs.Rcx, &regs.Rdx, &regs.Rdi, &regs.Rbp, &regs.R8, &regs.R9, &regs.R10, &regs.R11, &regs.R12, &regs.R13, &regs.R14, &regs.R15} {
		*p = number()
	}
	const middle = 64
	regs.Rsi = c.data + middle + uint64(random.IntN(8))
	regs.Rsp = c.data + middle
	regs.Rip = c.code
	regs.Eflags = 0x202 | random.Uint64()&arithmetic
	regs.Orig_rax = ^uint64(0)
	memory := make([]byte, 2*middle)
	for i := range memory {
		memory[i] = byte(number())
	}
	if random.IntN(3) == 0 {
		for i := range 8 {
			memory[regs.Rsi-c.data+uint64(i)] = byte(regs.Rax >> (8 * i)) // so that comparisons succeed
		}
	}
	v := new(fxsave)
	v.XMM[0][0] = 0
	for i := range v.XMM {
		for j := range v.XMM[i] {
			v.XMM[i][j] = byte(random.Uint32())
		}
	}
	r := &vcpu.Registers{}
	r.System.CS.L, r.System.CS.Selector = 1, 3
	general(r, &regs)
	in := store.Decode(code, r, nil)
	s, ok := Decode(code, r, &in, func(n int) ([16]byte, error) { return v.XMM[n], nil })
	if !ok {
		return false
	}
	want, after := append([]byte(nil), memory...), s.After
	at := s.GVA - c.data
	if s.Update == nil {
		copy(want[at:], s.Data[:s.Len])
	} else {
		old := uint64(0)
		for i := range s.Len {
			old |= uint64(want[at+uint64(i)]) << (8 * i)
		}
		now := s.Update(old, &after)
		for i := range s.Len {
			want[at+uint64(i)] = byte(now >> (8 * i))
		}
	}
	before := regs
	c.step(t, code, &regs, memory, v)
	if string(memory) != string(want) {
		t.Errorf("%s (% x): memory % x, the processor says % x", name, code, want, memory)
	}
	got := &vcpu.Registers{}
	general(got, &regs)
	significant := uint64(arithmetic)
	if logic {
		significant &^= undefined
	}
	if diff := (got.General.RFLAGS ^ after.General.RFLAGS) & significant; diff != 0 {
		t.Errorf("%s (% x): flags %#x, the processor says %#x", name, code, after.General.RFLAGS&significant, got.General.RFLAGS&significant)
	}
	got.General.RFLAGS, after.General.RFLAGS = 0, 0
	if got.General != after.General {
		t.Errorf("%s (% x): registers\n%+v\nthe processor says\n%+v\nbefore\n%+v", name, code, after.General, got.General, before)
	}
	return true
}

func general(r *vcpu.Registers, p *unix.PtraceRegs) {
	g := &r.General
	g.RAX, g.RBX, g.RCX, g.RDX, g.RSI, g.RDI, g.RSP, g.RBP = p.Rax, p.Rbx, p.Rcx, p.Rdx, p.Rsi, p.Rdi, p.Rsp, p.Rbp
	g.R8, g.R9, g.R10, g.R11, g.R12, g.R13, g.R14, g.R15 = p.R8, p.R9, p.R10, p.R11, p.R12, p.R13, p.R14, p.R15
	g.RIP, g.RFLAGS = p.Rip, p.Eflags
}
