// Package selftest proves that user mode keeps its registers: a user program fills every register
// with a pattern, does one thing that enters the kernel (a Probe), stores every register and ends. The
// kernel compares what it saw in the UserContext and what the program stored. The sibling package of the
// other architecture has the same API.
//
// The kernel maps Code executable and a data page of DataSize bytes writable, fills the data page with Fill, and runs:
//
//	Start(ctx, codeVA, dataVA, probe)
//	ev := RunUser(ctx)       // the probe's own event, repeatedly for ProbeSpin
//	CheckContext(ctx, data)  // registers as the kernel sees them
//	Finish(ctx, probe)       // past the probe
//	ev = RunUser(ctx)        // EventSyscall: the dump is complete
//	CheckDump(data, probe)   // registers as the program saw them afterwards
package selftest

import (
	"encoding/binary"
	"fmt"

	"ringo/arch/arm64/ring0"
)

// Probe is what the program does while its registers hold the pattern.
type Probe int

// Probes.
const (
	ProbeSyscall Probe = iota // one system call; the kernel sets SyscallResult
	ProbeFault                // a store to the address given to Fill
	ProbeSpin                 // an endless loop, for interrupts and preemption
	ProbeTrap                 // a breakpoint instruction
	NumProbes
)

// String names the probe.
func (p Probe) String() string {
	return [...]string{"system call", "page fault", "spin", "breakpoint"}[p]
}

// Sizes in bytes.
const (
	CodeSize   = 4 * probeSize
	DataSize   = 2048
	probeSize  = 512
	fillSize   = 40 * 4 // instructions before the probe
	dumpOffset = 1024
)

// SyscallResult is what the kernel returns from ProbeSyscall's call.
const SyscallResult = 0x5eed_5eed

// Offsets in the state of the data page; program.s has the same numbers.
const (
	offNZCV  = 248
	offFPSR  = 256
	offFPCR  = 264
	offTLS   = 272
	offQ     = 288
	stateEnd = offQ + 512

	faultRegister = 2 // holds ProbeFault's address

	fpsrBits = 0x0800_009f // QC and the cumulative exceptions
	fpcrBits = 0x07c0_0000 // AHP, DN, FZ, RMode: no trap enables, so that no instruction traps
	nzcvBits = 0xf << 28
)

// Fill writes a state made from seed to the data page. faultVA is the address that ProbeFault stores to.
func Fill(data []byte, seed, faultVA uint64) {
	clear(data[:DataSize])
	for off := 0; off < stateEnd; off += 8 {
		v := mix(seed + uint64(off))
		switch off {
		case faultRegister * 8:
			v = faultVA
		case offNZCV:
			v &= nzcvBits
		case offFPSR:
			v &= fpsrBits
		case offFPCR:
			v &= fpcrBits
		case offTLS + 8:
			v = 0
		}
		binary.LittleEndian.PutUint64(data[off:], v)
	}
}

// mix is the finaliser of splitmix64: every bit of the result depends on every bit of x.
func mix(x uint64) uint64 {
	x += 0x9e37_79b9_7f4a_7c15
	x = (x ^ x>>30) * 0xbf58_476d_1ce4_e5b9
	x = (x ^ x>>27) * 0x94d0_49bb_1331_11eb
	return x ^ x>>31
}

// Start makes the context begin a probe.
func Start(c *ring0.UserContext, code, data uint64, p Probe) {
	c.Reset(code+uint64(p)*probeSize, data)
}

// Finish moves the context past the probe. ProbeFault: the page is mapped now, the store
// runs again.
func Finish(c *ring0.UserContext, p Probe) {
	switch p {
	case ProbeSyscall:
		c.SetReturn(SyscallResult)
	case ProbeSpin, ProbeTrap:
		c.SetPC(c.PC() + 4)
	}
}

// Filled says whether a context stopped in ProbeSpin has its registers filled already: an interrupt may
// come before.
func Filled(c *ring0.UserContext, code uint64, p Probe) bool {
	return c.PC() == code+uint64(p)*probeSize+fillSize
}

// CheckContext compares the registers in the context with the state in the data page.
func CheckContext(c *ring0.UserContext, data []byte) error {
	r := c.Regs()
	for i, got := range r.X {
		if want := word(data, i*8); got != want {
			return fmt.Errorf("kernel sees x%d = %#x, want %#x", i, got, want)
		}
	}
	if got, want := r.PState&nzcvBits, word(data, offNZCV); got != want {
		return fmt.Errorf("kernel sees NZCV = %#x, want %#x", got, want)
	}
	if got, want := c.TLS(), word(data, offTLS); got != want {
		return fmt.Errorf("kernel sees TPIDR_EL0 = %#x, want %#x", got, want)
	}
	v := c.VectorState()
	for i := range 32 {
		if got, want := v[16*i:16*i+16], data[offQ+16*i:offQ+16*i+16]; string(got) != string(want) {
			return fmt.Errorf("kernel sees q%d = %x, want %x", i, got, want)
		}
	}
	for _, s := range []struct {
		name   string
		at, in int
	}{{"FPSR", 512, offFPSR}, {"FPCR", 516, offFPCR}} {
		if got, want := uint64(binary.LittleEndian.Uint32(v[s.at:])), word(data, s.in); got != want {
			return fmt.Errorf("kernel sees %s = %#x, want %#x", s.name, got, want)
		}
	}
	return nil
}

// CheckDump compares what the program stored after the probe with what it had loaded.
func CheckDump(data []byte, p Probe) error {
	for off := 0; off < stateEnd; off += 8 {
		got, want := word(data, dumpOffset+off), word(data, off)
		if off == 0 && p == ProbeSyscall {
			want = SyscallResult
		}
		if got != want && off != offTLS+8 {
			return fmt.Errorf("after a %v the program has %s = %#x, want %#x", p, registerName(off), got, want)
		}
	}
	return nil
}

func registerName(off int) string {
	switch {
	case off < offNZCV:
		return fmt.Sprintf("x%d", off/8)
	case off == offNZCV:
		return "NZCV"
	case off == offFPSR:
		return "FPSR"
	case off == offFPCR:
		return "FPCR"
	case off == offTLS:
		return "TPIDR_EL0"
	}
	return fmt.Sprintf("q%d bits %d to %d", (off-offQ)/16, (off-offQ)%16*8, (off-offQ)%16*8+63)
}

func word(b []byte, off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }
