package emulate

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringo/arch/arm64/store"
	"ringo/arch/arm64/vcpu"
)

const (
	ntPRSTATUS, ntPRFPREG = 1, 2

	zeroBlock = 64

	tries = 60 // of each family
)

// fpsimd is struct user_fpsimd_state.
type fpsimd struct {
	V [32][16]byte
	_ [16]byte
}

// processor is a traced process that carries out one instruction at a time.
type processor struct {
	pid        int
	regs       unix.PtraceRegsArm64
	code, data uint64
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
	if err := unix.PtraceGetRegSetArm64(c.pid, ntPRSTATUS, &c.regs); err != nil {
		t.Fatal(err)
	}
	c.code, c.data = c.regs.Pc, (c.regs.Sp-0x800)&^0xfff
	return c
}

func (c *processor) step(t *testing.T, word uint32, regs *unix.PtraceRegsArm64, memory []byte, v *fpsimd) {
	t.Helper()
	check := func(_ int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(unix.PtracePokeText(c.pid, uintptr(c.code), binary.LittleEndian.AppendUint32(nil, word)))
	local := []unix.Iovec{{Base: &memory[0], Len: uint64(len(memory))}}
	remote := []unix.RemoteIovec{{Base: uintptr(c.data), Len: len(memory)}}
	check(unix.ProcessVMWritev(c.pid, local, remote, 0))
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(v)), Len: uint64(unsafe.Sizeof(*v))}
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SETREGSET, uintptr(c.pid), ntPRFPREG, uintptr(unsafe.Pointer(&iov)), 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	runtime.KeepAlive(v)
	check(0, unix.PtraceSetRegSetArm64(c.pid, ntPRSTATUS, regs))
	check(0, unix.PtraceSingleStep(c.pid))
	var status unix.WaitStatus
	check(unix.Wait4(c.pid, &status, 0, nil))
	if !status.Stopped() || status.StopSignal() != unix.SIGTRAP {
		t.Fatalf("%#x: %v", word, status.StopSignal())
	}
	check(0, unix.PtraceGetRegSetArm64(c.pid, ntPRSTATUS, regs))
	check(unix.ProcessVMReadv(c.pid, local, remote, 0))
}

// families are encodings with zero in the fields that vary: Rt, Rn, and those of mask.
var families = []struct {
	name       string
	base, mask uint32
}{
	{"strb", 0x39000000, 3 << 10}, {"strh", 0x79000000, 3 << 10}, {"str w", 0xb9000000, 3 << 10}, {"str x", 0xf9000000, 3 << 10},
	{"stur", 0xf8000000, 7 << 12}, {"str post", 0xf8000400, 7 << 12}, {"str w pre", 0xb8000c00, 7 << 12},
	{"stur down", 0xf81f8000, 7 << 12}, {"str post down", 0xf81f8400, 7 << 12}, {"str w pre down", 0xb81f8c00, 7 << 12},
	{"str reg", 0xf8206800, 1 << 12}, {"strb uxtw", 0x38204800, 0}, {"str w sxtw", 0xb820c800, 1 << 12}, {"strh sxtx", 0x7820e800, 1 << 12},
	{"stp", 0xa9000000, 3<<15 | 31<<10}, {"stp w", 0x29000000, 3<<15 | 31<<10}, {"stp post", 0xa8800000, 3<<15 | 31<<10},
	{"stp pre down", 0xa9bf0000, 31 << 10}, {"stnp", 0xa8000000, 3<<15 | 31<<10}, {"stp q", 0xad000000, 1<<15 | 31<<10}, {"stp d post down", 0x6cbf0000, 31 << 10},
	{"str q", 0x3d800000, 1 << 10}, {"str d", 0xfd000000, 3 << 10}, {"str s", 0xbd000000, 3 << 10}, {"str h", 0x7d000000, 3 << 10}, {"str b post", 0x3c000400, 7 << 12},
	{"str q reg", 0x3ca06800, 0},
	{"stlr", 0xc89ffc00, 0}, {"stlr w", 0x889ffc00, 0}, {"stlrb", 0x089ffc00, 0},
	{"ldadd", 0xf8200000, 3<<22 | 7<<12 | 31<<16}, {"ldadd w", 0xb8200000, 3<<22 | 7<<12 | 31<<16}, {"ldadd h", 0x78200000, 3<<22 | 7<<12 | 31<<16},
	{"ldadd b", 0x38200000, 3<<22 | 7<<12 | 31<<16}, {"swp", 0xf8208000, 3<<22 | 31<<16}, {"swp w", 0xb8208000, 3<<22 | 31<<16}, {"swpb", 0x38208000, 31 << 16},
	{"cas", 0xc8a07c00, 1<<22 | 1<<15 | 31<<16}, {"cas w", 0x88a07c00, 1<<22 | 1<<15 | 31<<16}, {"cash", 0x48a07c00, 31 << 16}, {"casb", 0x08a07c00, 31 << 16},
	{"dc zva", 0xd50b7420, 0},
}

// What the emulation makes of memory and registers is what the processor makes of them.
func TestAgainstTheProcessor(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	c := newProcessor(t)
	for _, f := range families {
		emulated := 0
		for range tries {
			if c.compare(t, random, f.name, f.base, f.mask) {
				emulated++
			}
			if t.Failed() {
				return
			}
		}
		if emulated < tries*9/10 {
			t.Errorf("%s: %d of %d emulated", f.name, emulated, tries)
		}
	}
}

// compare carries an instruction out both ways; false if it is not emulated.
func (c *processor) compare(t *testing.T, random *rand.Rand, name string, base, mask uint32) bool {
	t.Helper()
	const middle, size = 64, 160
	word := base | random.Uint32()&mask | uint32(random.IntN(32))
	rn := uint32(random.IntN(29))
	if base>>24 == 0xd5 {
		word = base | rn
	} else {
		for rn == word&31 || rn == word>>10&31 || rn == word>>16&31 { // write-back to a register that is stored is unpredictable
			rn = uint32(random.IntN(29))
		}
		word |= rn << 5
	}
	if word>>24&0x3b == 0x38 && word>>10&3 == 2 && word>>21&1 == 1 { // a register offset
		word |= (rn + 1) % 29 << 16
		if word&31 == (rn+1)%29 {
			word ^= 31 & (word ^ 30)
		}
	}
	regs := c.regs
	for i := range regs.Regs {
		regs.Regs[i] = random.Uint64() >> random.IntN(64)
		if random.IntN(4) == 0 {
			regs.Regs[i] = []uint64{0, 1, 1 << 63, 1<<63 - 1, 0x80, 0x7f, 0xffff, ^uint64(0), 1 << 31}[random.IntN(9)]
		}
	}
	regs.Pc = c.code
	aligned := base>>28&3 == 0 || base&0x3b200c00 == 0x38200000 // the atomic ones
	regs.Regs[rn] = c.data + middle
	if !aligned {
		regs.Regs[rn] += uint64(random.IntN(8))
	}
	if base&0x3b200c00 == 0x38200800 {
		offset := int64(random.IntN(16) - 8)
		if base>>13&7 == 2 {
			offset = int64(random.IntN(8)) | int64(random.Uint32())<<32
		}
		regs.Regs[(rn+1)%29] = uint64(offset)
	}
	memory := make([]byte, size)
	for i := range memory {
		memory[i] = byte(random.Uint32())
	}
	if rs := word >> 16 & 31; aligned && rs < 31 && random.IntN(3) == 0 {
		binary.LittleEndian.PutUint64(memory[middle:], regs.Regs[rs]) // so that comparisons succeed
	}
	v := new(fpsimd)
	for i := range v.V {
		for j := range v.V[i] {
			v.V[i][j] = byte(random.Uint32())
		}
	}
	r := registers(&regs)
	code := binary.LittleEndian.AppendUint32(nil, word)
	in := store.Decode(code, r, &store.Environment{ZeroBlock: zeroBlock})
	s, ok := Decode(code, r, &in, func(n int) ([16]byte, error) { return v.V[n], nil })
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
	c.step(t, word, &regs, memory, v)
	if string(memory) != string(want) {
		t.Errorf("%s (%#x): memory % x, the processor says % x", name, word, want, memory)
	}
	if got := registers(&regs); *got != after {
		t.Errorf("%s (%#x): registers\n%v\nthe processor says\n%v\nbefore\n%v", name, word, &after, got, r)
	}
	return true
}

func registers(p *unix.PtraceRegsArm64) *vcpu.Registers {
	r := &vcpu.Registers{X: p.Regs, SPEL0: p.Sp, ProgramCounter: p.Pc}
	r.PSTATE = p.Pstate &^ (1 << 21) // a step's own
	return r
}
