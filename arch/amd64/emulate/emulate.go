// Package emulate carries out stores of amd64 in the monitor's place of the vCPU: moves, pushes, calls, arithmetic on memory
// with and without LOCK, SSE stores. arch/arm64/emulate has the same names.
//
// Sources: AMD64 APM volume 3 (operations and flags), volume 1 section 3.1.4. TestAgainstTheProcessor compares it with the real one.
package emulate

import (
	"encoding/binary"
	"math/bits"

	gokvm "github.com/bobuhiro11/gokvm/kvm"

	"ringo/arch/amd64/pagetable"
	"ringo/arch/amd64/vcpu"
	"ringo/internal/emulate"
	"ringo/internal/store"
)

// Store is an emulated instruction.
type Store = emulate.Store[vcpu.Registers]

// Bits of RFLAGS, CR0, CR4 and DR7.
const (
	flagCF, flagPF, flagAF, flagZF, flagSF, flagOF = 1 << 0, 1 << 2, 1 << 4, 1 << 6, 1 << 7, 1 << 11
	flagTF, flagRF, flagAC                         = 1 << 8, 1 << 16, 1 << 18

	arithmetic = flagCF | flagPF | flagAF | flagZF | flagSF | flagOF

	cr0AM        = 1 << 18
	cr4CET       = 1 << 23
	dr7Enabled   = 0xff
	settledEntry = pagetable.AccessedBit | pagetable.DirtyBit
)

// Settled says that a store through w, the way to the address, changes nothing but the memory there: it is allowed, and the entry has
// the bits that the processor would set.
func Settled(w *pagetable.Walk, r *vcpu.Registers) bool {
	if w.Result != pagetable.WalkMapped || w.N < 1 || w.Prot&pagetable.Write == 0 || r.User() && w.Prot&pagetable.User == 0 {
		return false
	}
	return w.Steps[w.N-1].Entry&settledEntry == settledEntry
}

// decoder is one instruction: its parts that store.Decode does not tell.
type decoder struct {
	r    *vcpu.Registers
	in   *store.Instruction
	code []byte

	opsize, lock bool
	rep          byte
	rex          byte
	two          bool // 0F map
	opcode       byte
	modrm        byte
	vector       func(n int) ([16]byte, error)
	s            Store
}

// Decode is the instruction in, whose bytes are code and before which the registers are r, if it can be emulated. vector
// reads a vector register.
func Decode(code []byte, r *vcpu.Registers, in *store.Instruction, vector func(n int) ([16]byte, error)) (*Store, bool) {
	if in.Unknown || in.Len <= 0 || in.Len > len(code) || len(in.Operands) != 1 || in.FlagsAt != 0 || len(in.Until) > 0 {
		return nil, false
	}
	o := &in.Operands[0]
	if !o.Write || o.Partial || o.Len > emulate.MaxLen || r.System.CS.L == 0 || r.System.CR4&cr4CET != 0 || r.DR7&dr7Enabled != 0 ||
		r.General.RFLAGS&flagTF != 0 || r.General.RFLAGS&flagAC != 0 && r.System.CR0&cr0AM != 0 {
		return nil, false
	}
	d := decoder{r: r, in: in, code: code[:in.Len], vector: vector}
	if !d.parse() {
		return nil, false
	}
	d.s.GVA, d.s.Len, d.s.After = o.GVA, o.Len, *r
	d.s.After.General.RIP += uint64(in.Len)
	d.s.After.General.RFLAGS &^= flagRF
	ok := false
	if d.two {
		ok = d.twoByte()
	} else {
		ok = d.oneByte()
	}
	if !ok || d.lock && d.s.Update == nil {
		return nil, false
	}
	if d.s.Update != nil && d.s.GVA&7+uint64(d.s.Len) > 8 {
		return nil, false // a split lock, or an addition across words: the processor's business
	}
	return &d.s, true
}

// parse reads prefixes, opcode and ModRM.
func (d *decoder) parse() bool {
	for i := 0; i < len(d.code); i++ {
		b := d.code[i]
		switch {
		case b == 0x66:
			d.opsize = true
		case b == 0xf0:
			d.lock = true
		case b == 0xf2, b == 0xf3:
			d.rep = b
		case b == 0x67, b == 0x64, b == 0x65, b == 0x26, b == 0x2e, b == 0x36, b == 0x3e: // in the operand already
		default:
			if b&0xf0 == 0x40 {
				d.rex = b
				if i++; i >= len(d.code) {
					return false
				}
				b = d.code[i]
			}
			if b == 0x0f {
				d.two = true
				if i++; i >= len(d.code) {
					return false
				}
				b = d.code[i]
			}
			d.opcode = b
			if i+1 < len(d.code) {
				d.modrm = d.code[i+1]
			}
			return b != 0xc4 && b != 0xc5 && b != 0x62 || d.two
		}
	}
	return false
}

func (d *decoder) reg() int { return int(d.modrm>>3&7) | int(d.rex&4)<<1 }

// register is the general register n of r.
func register(g *gokvm.Regs, n int) *uint64 {
	return [...]*uint64{&g.RAX, &g.RCX, &g.RDX, &g.RBX, &g.RSP, &g.RBP, &g.RSI, &g.RDI, &g.R8, &g.R9, &g.R10, &g.R11, &g.R12, &g.R13, &g.R14, &g.R15}[n&15]
}

// high says that register number n of a byte instruction is AH, CH, DH or BH.
func (d *decoder) high(n, size int) bool { return size == 1 && d.rex == 0 && n >= 4 && n < 8 }

// get is register n as a value of size bytes.
func (d *decoder) get(g *gokvm.Regs, n, size int) uint64 {
	if d.high(n, size) {
		return *register(g, n-4) >> 8 & 0xff
	}
	return *register(g, n) & mask(size)
}

// set changes register n: 32-bit values clear the upper half, smaller ones leave the rest alone.
func (d *decoder) set(g *gokvm.Regs, n, size int, v uint64) {
	switch {
	case d.high(n, size):
		p := register(g, n-4)
		*p = *p&^0xff00 | v&0xff<<8
	case size >= 4:
		*register(g, n) = v & mask(size)
	default:
		p := register(g, n)
		*p = *p&^mask(size) | v&mask(size)
	}
}

func mask(size int) uint64 { return ^uint64(0) >> (64 - 8*size) }

// immediate is the last n bytes of the instruction, sign-extended.
func (d *decoder) immediate(n int) uint64 {
	b := d.code[len(d.code)-n:]
	switch n {
	case 1:
		return uint64(int8(b[0]))
	case 2:
		return uint64(int16(binary.LittleEndian.Uint16(b)))
	}
	return uint64(int32(binary.LittleEndian.Uint32(b)))
}

// plain makes it a store of v.
func (d *decoder) plain(v uint64) bool {
	binary.LittleEndian.PutUint64(d.s.Data[:], v)
	return d.s.Len <= 8
}

// push makes it a push of v.
func (d *decoder) push(v uint64) bool {
	d.s.After.General.RSP -= 8
	return d.plain(v) && d.s.Len == 8 && !d.opsize
}

// byteOr is the operand size: 1 for the even opcode of a pair.
func (d *decoder) byteOr() int { return d.in.Operands[0].Len }

func (d *decoder) oneByte() bool {
	if d.rep != 0 {
		return false // a hint for transactions, or a string
	}
	g, size, op := &d.r.General, d.byteOr(), d.opcode
	switch {
	case op < 0x38 && op&7 <= 1:
		return d.calculate(int(op>>3), d.get(g, d.reg(), size))
	case op == 0x80:
		return d.calculate(int(d.modrm>>3&7), d.immediate(1))
	case op == 0x81:
		return d.calculate(int(d.modrm>>3&7), d.immediate(min(size, 4)))
	case op == 0x83:
		return d.calculate(int(d.modrm>>3&7), d.immediate(1))
	case op&0xf8 == 0x50:
		return d.push(*register(g, int(op&7)|int(d.rex&1)<<3))
	case op == 0x68:
		return d.push(d.immediate(4))
	case op == 0x6a:
		return d.push(d.immediate(1))
	case op == 0x86, op == 0x87:
		return d.exchange(size)
	case op == 0x88, op == 0x89:
		return d.plain(d.get(g, d.reg(), size))
	case op == 0xa2, op == 0xa3:
		return d.plain(g.RAX)
	case op == 0xc6, op == 0xc7:
		return d.modrm>>3&7 == 0 && d.plain(d.immediate(min(size, 4)))
	case op == 0xe8:
		next := d.s.After.General.RIP
		d.s.After.General.RIP += d.immediate(4)
		return canonical(d.s.After.General.RIP) && d.push(next)
	case op == 0xf6, op == 0xf7:
		return d.unary(int(d.modrm >> 3 & 7))
	case op == 0xfe, op == 0xff:
		return d.group5(size)
	}
	return false
}

func canonical(a uint64) bool { return uint64(int64(a<<16)>>16) == a }

// group5 is FE and FF.
func (d *decoder) group5(size int) bool {
	g := &d.r.General
	rm := int(d.modrm&7) | int(d.rex&1)<<3
	switch d.modrm >> 3 & 7 {
	case 0, 1:
		down := d.modrm>>3&7 == 1
		d.s.Update = func(old uint64, after *vcpu.Registers) uint64 {
			kept := after.General.RFLAGS & flagCF
			f := &after.General.RFLAGS
			v := add(old, 1, 0, size, f)
			if down {
				v = sub(old, 1, 0, size, f)
			}
			*f = *f&^flagCF | kept
			return v
		}
		return true
	case 2: // call through a register
		if d.opcode != 0xff || d.modrm>>6 != 3 || !canonical(*register(g, rm)) {
			return false
		}
		next := d.s.After.General.RIP
		d.s.After.General.RIP = *register(g, rm)
		return d.push(next)
	case 6:
		return d.opcode == 0xff && d.modrm>>6 == 3 && d.push(*register(g, rm))
	}
	return false
}

// calculate is add, or, adc, sbb, and, sub and xor, in the encoding's order.
func (d *decoder) calculate(operation int, v uint64) bool {
	size := d.in.Operands[0].Len
	v &= mask(size)
	if operation > 6 {
		return false
	}
	d.s.Update = func(old uint64, after *vcpu.Registers) uint64 {
		f := &after.General.RFLAGS
		carry := *f & flagCF
		switch operation {
		case 0:
			return add(old, v, 0, size, f)
		case 1:
			return logic(old|v, size, f)
		case 2:
			return add(old, v, carry, size, f)
		case 3:
			return sub(old, v, carry, size, f)
		case 4:
			return logic(old&v, size, f)
		case 5:
			return sub(old, v, 0, size, f)
		}
		return logic(old^v, size, f)
	}
	return true
}

// unary is not and neg.
func (d *decoder) unary(operation int) bool {
	size := d.in.Operands[0].Len
	switch operation {
	case 2:
		d.s.Update = func(old uint64, _ *vcpu.Registers) uint64 { return ^old & mask(size) }
	case 3:
		d.s.Update = func(old uint64, after *vcpu.Registers) uint64 { return sub(0, old, 0, size, &after.General.RFLAGS) }
	default:
		return false
	}
	return true
}

// exchange is xchg.
func (d *decoder) exchange(size int) bool {
	v, n := d.get(&d.r.General, d.reg(), size), d.reg()
	d.s.Update = func(old uint64, after *vcpu.Registers) uint64 {
		d.set(&after.General, n, size, old)
		return v
	}
	return true
}

func (d *decoder) twoByte() bool {
	g, size, op := &d.r.General, d.in.Operands[0].Len, d.opcode
	n := d.reg()
	general := d.rep == 0
	switch {
	case general && op >= 0x90 && op <= 0x9f:
		return d.plain(condition(g.RFLAGS, op&15))
	case general && (op == 0xb0 || op == 0xb1): // cmpxchg
		v, expected := d.get(g, n, size), g.RAX&mask(size)
		d.s.Update = func(old uint64, after *vcpu.Registers) uint64 {
			sub(expected, old, 0, size, &after.General.RFLAGS)
			if old == expected {
				return v
			}
			if size >= 4 {
				after.General.RAX = old
			} else {
				after.General.RAX = after.General.RAX&^mask(size) | old
			}
			return old
		}
		return true
	case general && (op == 0xc0 || op == 0xc1): // xadd
		v := d.get(g, n, size)
		d.s.Update = func(old uint64, after *vcpu.Registers) uint64 {
			sum := add(old, v, 0, size, &after.General.RFLAGS)
			d.set(&after.General, n, size, old)
			return sum
		}
		return true
	case general && !d.opsize && op == 0xc3: // movnti
		return d.plain(d.get(g, n, size))
	}
	return d.sse(op, n)
}

// sse is the stores of XMM registers.
func (d *decoder) sse(op byte, n int) bool {
	from := 0
	switch op {
	case 0x11: // movups, movupd, movss, movsd
	case 0x13: // movlps, movlpd
	case 0x17: // movhps, movhpd
		from = 8
	case 0x29, 0x2b: // movaps, movntps: aligned, or they fault
		if d.s.GVA&15 != 0 {
			return false
		}
	case 0x7e: // movd, movq
		if !d.opsize || d.rep != 0 {
			return false
		}
	case 0x7f: // movdqa, movdqu
		if d.rep == 0xf2 || d.rep == 0 && (!d.opsize || d.s.GVA&15 != 0) {
			return false
		}
	case 0xd6: // movq
		if !d.opsize || d.rep != 0 {
			return false
		}
	case 0xe7: // movntdq
		if !d.opsize || d.rep != 0 || d.s.GVA&15 != 0 {
			return false
		}
	default:
		return false
	}
	if d.lock || d.vector == nil || d.s.Len > 16-from {
		return false
	}
	x, err := d.vector(n)
	copy(d.s.Data[:], x[from:])
	return err == nil
}

// add is a+b+carry with its flags.
func add(a, b, carry uint64, size int, f *uint64) uint64 {
	m := mask(size)
	a, b = a&m, b&m
	full, out := bits.Add64(a, b, carry)
	sum := full & m
	if size < 8 {
		out = full >> (8 * size) & 1
	}
	result(f, sum, size, out != 0, (a^sum)&(b^sum)>>(8*size-1)&1 != 0, (a^b^sum)&0x10 != 0)
	return sum
}

// sub is a-b-borrow with its flags.
func sub(a, b, borrow uint64, size int, f *uint64) uint64 {
	m := mask(size)
	a, b = a&m, b&m
	full, out := bits.Sub64(a, b, borrow)
	diff := full & m
	result(f, diff, size, out != 0, (a^b)&(a^diff)>>(8*size-1)&1 != 0, (a^b^diff)&0x10 != 0)
	return diff
}

// logic is v with the flags of and, or and xor. AF is undefined; processors clear it.
func logic(v uint64, size int, f *uint64) uint64 {
	v &= mask(size)
	result(f, v, size, false, false, false)
	return v
}

func result(f *uint64, v uint64, size int, carry, overflow, half bool) {
	*f &^= arithmetic
	for _, c := range [...]struct {
		on  bool
		bit uint64
	}{
		{carry, flagCF}, {overflow, flagOF}, {half, flagAF}, {v == 0, flagZF}, {v>>(8*size-1)&1 != 0, flagSF}, {bits.OnesCount8(uint8(v))%2 == 0, flagPF},
	} {
		if c.on {
			*f |= c.bit
		}
	}
}

// condition is 1 if condition code c holds (APM volume 3, table A-3's tttn).
func condition(f uint64, c byte) uint64 {
	cf, zf, sf, of := f&flagCF != 0, f&flagZF != 0, f&flagSF != 0, f&flagOF != 0
	holds := [...]bool{of, cf, zf, cf || zf, sf, f&flagPF != 0, sf != of, zf || sf != of}[c>>1&7]
	if holds != (c&1 != 0) {
		return 1
	}
	return 0
}
