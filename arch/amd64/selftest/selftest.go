//go:build amd64

// Package selftest holds user programs in machine code with which the kernel tests its own
// switch to user mode (guestkernel/selftest). arch/amd64/selftest and arch/arm64/selftest have the same API.
//
// The programs run at CodeBase, position dependent, with the data of DataBase mapped; they need
// no stack except where Hazard.Stack says so. They talk to the kernel with the Call numbers.
package selftest

import (
	"fmt"
	"unsafe"

	"ringo/arch/amd64/ring0"
)

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
	CallFailed  = 1001 // first argument: which register was wrong, see RegisterName
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
	Vectors    uint64 // bytes of each vector register to use: 16, 32 or 64
	Iterations uint64
	Mode       uint64
	Spin       uint64 // loop count of ModeSpin, refilled from SpinReload
	SpinReload uint64
	Bases      uint64 // not 0: load FS and GS base
	_          [2]uint64
	General    [16]uint64 // AX CX DX BX SP BP SI DI R8-R15
	FSBase     uint64
	GSBase     uint64
	_          [6]uint64
	MXCSR      uint32
	FCW        uint16
	_          [250]byte
	Vector     [32][64]byte
	Mask       [8]uint64 // AVX-512 opmask registers
}

// Offsets that check.s relies on.
var (
	_ = [1]byte{}[unsafe.Offsetof(Data{}.General)-0x40]
	_ = [1]byte{}[unsafe.Offsetof(Data{}.FSBase)-0xc0]
	_ = [1]byte{}[unsafe.Offsetof(Data{}.MXCSR)-0x100]
	_ = [1]byte{}[unsafe.Offsetof(Data{}.Vector)-0x200]
	_ = [1]byte{}[unsafe.Offsetof(Data{}.Mask)-0xa00]
)

// Fill makes d a pattern that depends on seed, for the state that xcr0 enables.
func (d *Data) Fill(seed, iterations, mode uint64) {
	x := seed*0x9e3779b97f4a7c15 + 1
	next := func() uint64 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		return x
	}
	*d = Data{Iterations: iterations, Mode: mode, Spin: 20000, SpinReload: 20000, MXCSR: 0x1f80 | uint32(seed&3)<<13, FCW: 0x37f&^0xc00 | uint16(seed&3)<<10}
	d.Vectors = vectorBytes()
	for i := range d.General {
		d.General[i] = next()
	}
	d.Bases = 1
	d.FSBase = next() & (1<<47 - 1)
	d.GSBase = next() & (1<<47 - 1)
	for i := range d.Vector {
		for j := 0; j < 64; j += 8 {
			v := next()
			for b := range 8 {
				d.Vector[i][j+b] = byte(v >> (8 * b))
			}
		}
	}
	for i := range d.Mask {
		d.Mask[i] = next()
	}
}

// vectorBytes is the width of the vector registers that the kernel enables for user mode.
func vectorBytes() uint64 {
	switch x := ring0.UserFeatures(); {
	case x&0xe6 == 0xe6:
		return 64
	case x&6 == 6:
		return 32
	}
	return 16
}

// RegisterName names what CallFailed reports.
func RegisterName(n uint64) string {
	names := [...]string{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}
	switch {
	case n < 16:
		return names[n]
	case n == 16:
		return "mxcsr"
	case n == 17:
		return "x87 control word"
	case n == 18:
		return "x87 st0"
	case n == 19:
		return "x87 st1"
	case n == 20:
		return "fs base"
	case n == 21:
		return "gs base"
	case n >= 32 && n < 64:
		return "vector register"
	case n >= 64 && n < 72:
		return "opmask register"
	}
	return "unknown register"
}

// CheckProgram is the code that fills every register from Data, does what Mode says and
// compares every register, Iterations times.
func CheckProgram() []byte { return code(checkCode()) }

func code(start, end uintptr) []byte {
	p := *(*unsafe.Pointer)(unsafe.Pointer(&start))
	return unsafe.Slice((*byte)(p), end-start)
}

// Defined in check.s.
func check()
func checkCode() (start, end uintptr)
func flags() uint64

// CheckState looks at flags of the running kernel code that a user could have left behind.
func CheckState() error {
	const wrong = 1<<8 | 1<<10 | 3<<12 | 1<<14 | 1<<18 // TF, DF, IOPL, NT, AC
	const interrupts = 1 << 9
	if f := flags(); f&wrong != 0 || f&interrupts == 0 {
		return fmt.Errorf("flags are %#x: TF, DF, IOPL, NT or AC set, or interrupts off", f)
	}
	return nil
}
