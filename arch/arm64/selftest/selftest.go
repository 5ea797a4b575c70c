// Package selftest holds user programs in machine code with which the kernel tests its own
// switch to user mode (guestkernel/selftest). arch/amd64/selftest and arch/arm64/selftest have the same API.
//
// The programs run at CodeBase, position dependent, with the data of DataBase mapped; they need
// no stack. They talk to the kernel with the Call numbers.
package selftest

import "unsafe"

// Where the kernel maps things for a program (GVA).
const (
	CodeBase  = 0x200000 // one page, read and execute
	DataBase  = 0x210000 // DataPages pages, read and write
	DataPages = 4
	FaultPage = 0x220000 // not mapped: ModeFault touches it
	StackTop  = DataBase + DataPages*0x1000 - 64
)

// System call numbers of the programs.
const (
	CallDone    = 1000 // all iterations have passed
	CallFailed  = 1001 // first argument: which register was wrong, see RegisterName; then wanted and found
	CallNothing = 1002 // comes back
)

// What the check program does between filling the registers and checking them.
const (
	ModeSyscall = iota
	ModeFault
	ModeSpin
	NumModes
)

// Data is the start of the page at DataBase: what the check program loads and compares with.
type Data struct {
	Iterations uint64
	Mode       uint64
	Spin       uint64 // loop count of ModeSpin
	_          [5]uint64

	// State: words 0 to 99 as RegisterName numbers them.
	General [31]uint64 // x0 to x30
	NZCV    uint64
	FPSR    uint64
	FPCR    uint64
	TLS     uint64 // TPIDR_EL0
	_       uint64
	Vector  [32][2]uint64 // q0 to q31
}

// Offsets that check.s relies on.
var (
	_ = [1]byte{}[unsafe.Offsetof(Data{}.General)-64]
	_ = [1]byte{}[unsafe.Offsetof(Data{}.NZCV)-64-248]
	_ = [1]byte{}[unsafe.Offsetof(Data{}.Vector)-64-288]
	_ = [1]byte{}[unsafe.Sizeof(Data{})-64-800]
)

const (
	words     = 100
	wordNZCV  = 31
	wordFPSR  = 32
	wordFPCR  = 33
	wordTLS   = 34
	wordQ     = 36
	faultReg  = 2
	numberReg = 8
	nzcvBits  = 0xf << 28
	fpsrBits  = 0x0800_009f // QC and the cumulative exceptions
	fpcrBits  = 0x07c0_0000 // AHP, DN, FZ, RMode; no trap enables
)

// Fill makes d a pattern that depends on seed.
func (d *Data) Fill(seed, iterations, mode uint64) {
	x := seed*0x9e3779b97f4a7c15 + 1
	next := func() uint64 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		return x
	}
	*d = Data{Iterations: iterations, Mode: mode, Spin: 20000}
	for i := range d.General {
		d.General[i] = next()
	}
	d.General[faultReg] = FaultPage + next()%512*8
	d.General[numberReg] = CallNothing
	d.NZCV = next() & nzcvBits
	d.FPSR = next() & fpsrBits
	d.FPCR = next() & fpcrBits
	d.TLS = next()
	for i := range d.Vector {
		d.Vector[i] = [2]uint64{next(), next()}
	}
}

// RegisterName names what CallFailed reports.
func RegisterName(n uint64) string {
	switch {
	case n < wordNZCV:
		return "x" + decimal(n)
	case n == wordNZCV:
		return "NZCV"
	case n == wordFPSR:
		return "FPSR"
	case n == wordFPCR:
		return "FPCR"
	case n == wordTLS:
		return "TPIDR_EL0"
	case n >= wordQ && n < words:
		half := " low half"
		if (n-wordQ)%2 == 1 {
			half = " high half"
		}
		return "q" + decimal((n-wordQ)/2) + half
	}
	return "unknown register"
}

func decimal(n uint64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return string(rune('0'+n/10)) + string(rune('0'+n%10))
}
