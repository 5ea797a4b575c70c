// Package emulate carries out stores of arm64 in the monitor's place of the vCPU: single registers and pairs, store-release, atomic
// operations, dc zva. arch/amd64/emulate has the same names. Exclusive stores are never emulated: the reservation is the processor's.
//
// Source: Arm ARM DDI 0487, C4.1 and C6.2. TestAgainstTheProcessor compares it with the real one.
package emulate

import (
	"encoding/binary"

	"ringo/arch/arm64/pagetable"
	"ringo/arch/arm64/vcpu"
	"ringo/internal/emulate"
	"ringo/internal/store"
)

// Store is an emulated instruction.
type Store = emulate.Store[vcpu.Registers]

// Bits of PSTATE: illegal state, software step, branch type.
const pstateIL, pstateSS, pstateBTYPE = 1 << 20, 1 << 21, 3 << 10

// Settled says that a store through w, the way to the address, changes nothing but the memory there: it is allowed, and the entry has
// the bits that the processor would set.
func Settled(w *pagetable.Walk, r *vcpu.Registers) bool {
	if w.Result != pagetable.WalkMapped || w.N < 1 || w.Prot&pagetable.Write == 0 || w.Prot&pagetable.Device != 0 || r.User() && w.Prot&pagetable.User == 0 {
		return false
	}
	return w.Steps[w.N-1].Entry&pagetable.AF != 0
}

type decoder struct {
	w      uint32
	r      *vcpu.Registers
	vector func(n int) ([16]byte, error)
	s      Store
}

func (d *decoder) field(hi, lo uint) uint32 { return d.w >> lo & (1<<(hi-lo+1) - 1) }
func (d *decoder) bit(n uint) bool          { return d.w>>n&1 != 0 }

// signed is bits hi to lo as a signed number.
func (d *decoder) signed(hi, lo uint) int64 { return int64(int32(d.w<<(31-hi))) >> (31 - hi + lo) }

// x is register n, 31 being zero.
func (d *decoder) x(n uint32) uint64 {
	if n == 31 {
		return 0
	}
	return d.r.X[n]
}

// Decode is the instruction in, whose bytes are code and before which the registers are r, if it can be emulated. vector
// reads a vector register.
func Decode(code []byte, r *vcpu.Registers, in *store.Instruction, vector func(n int) ([16]byte, error)) (*Store, bool) {
	if in.Unknown || in.Attempt || in.Len != 4 || len(code) < 4 || len(in.Operands) != 1 || len(in.Until) > 0 {
		return nil, false
	}
	o := &in.Operands[0]
	if !o.Write || o.Partial || o.Len > emulate.MaxLen || r.PSTATE&(pstateIL|pstateSS) != 0 {
		return nil, false
	}
	d := decoder{w: binary.LittleEndian.Uint32(code), r: r, vector: vector}
	d.s.GVA, d.s.Len, d.s.After = o.GVA, o.Len, *r
	d.s.After.ProgramCounter += 4
	d.s.After.PSTATE &^= pstateBTYPE
	if !d.instruction() {
		return nil, false
	}
	if d.s.Update != nil && d.s.GVA%uint64(d.s.Len) != 0 {
		return nil, false // faults, or not, as the processor likes
	}
	return &d.s, true
}

func (d *decoder) instruction() bool {
	if d.w&^0x1f == 0xd50b7420 { // dc zva
		return true
	}
	if d.field(28, 25)&5 != 4 {
		return false
	}
	vector := d.bit(26)
	switch d.field(29, 27) {
	case 1:
		return !vector && !d.bit(24) && d.ordered()
	case 3: // stlur
		return d.bit(24) && !vector && !d.bit(21) && d.field(11, 10) == 0 && d.field(23, 22) == 0 && d.plain(0, 0, d.s.Len)
	case 5:
		return d.pair(vector)
	case 7:
		return d.single(vector)
	}
	return false
}

// plain stores register number d.field(t+4, t), n bytes of it at offset at.
func (d *decoder) plain(at int, t uint, n int) bool {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], d.x(d.field(t+4, t)))
	copy(d.s.Data[at:at+n], b[:])
	return n <= 8
}

// wide is plain for a vector register.
func (d *decoder) wide(at int, t uint, n int) bool {
	if d.vector == nil || n > 16 {
		return false
	}
	v, err := d.vector(int(d.field(t+4, t)))
	copy(d.s.Data[at:at+n], v[:])
	return err == nil
}

// moved changes the base register by offset, which pre- and post-indexed forms do.
func (d *decoder) moved(offset int64) {
	a := &d.s.After
	switch n := d.field(9, 5); {
	case n != 31:
		a.X[n] += uint64(offset)
	case a.PSTATE&0xf == 5:
		a.SPEL1 += uint64(offset)
	default:
		a.SPEL0 += uint64(offset)
	}
}

// ordered is stlr, stllr and cas; not the exclusives.
func (d *decoder) ordered() bool {
	size := 1 << d.field(31, 30)
	if !d.bit(23) {
		return false
	}
	if !d.bit(21) {
		return !d.bit(22) && d.plain(0, 0, size)
	}
	compare, desired, m := d.field(20, 16), d.x(d.field(4, 0)), ones(size)
	d.s.Update = func(old uint64, after *vcpu.Registers) uint64 {
		same := old == d.x(compare)&m
		if compare != 31 {
			after.X[compare] = old
		}
		if same {
			return desired & m
		}
		return old
	}
	return true
}

func ones(size int) uint64 { return ^uint64(0) >> (64 - 8*size) }

// pair is stp and stnp.
func (d *decoder) pair(vector bool) bool {
	unit := d.s.Len / 2
	if d.bit(22) || !vector && d.field(31, 30) == 1 { // a load, stgp
		return false
	}
	if mode := d.field(24, 23); mode == 1 || mode == 3 {
		d.moved(d.signed(21, 15) * int64(unit))
	}
	if vector {
		return d.wide(0, 0, unit) && d.wide(unit, 10, unit)
	}
	return d.plain(0, 0, unit) && d.plain(unit, 10, unit)
}

// single is everything with one register.
func (d *decoder) single(vector bool) bool {
	switch {
	case d.bit(24):
	case !d.bit(21):
		switch d.field(11, 10) {
		case 1, 3:
			d.moved(d.signed(20, 12))
		case 2: // as the user: other rights
			return false
		}
	case d.field(11, 10) == 2:
	case d.field(11, 10) == 0 && !vector:
		return d.atomic()
	default:
		return false
	}
	if vector {
		return !d.bit(22) && d.wide(0, 0, d.s.Len)
	}
	return d.field(23, 22) == 0 && d.plain(0, 0, d.s.Len)
}

// atomic is the operations of LSE.
func (d *decoder) atomic() bool {
	size, operation := d.s.Len, d.field(14, 12)
	if size > 8 || d.bit(15) && operation != 0 {
		return false
	}
	m := ones(size)
	v, to, swap := d.x(d.field(20, 16))&m, d.field(4, 0), d.bit(15)
	sign := func(v uint64) int64 { return int64(v<<(64-8*size)) >> (64 - 8*size) }
	d.s.Update = func(old uint64, after *vcpu.Registers) uint64 {
		if to != 31 {
			after.X[to] = old
		}
		if swap {
			return v
		}
		switch operation {
		case 0:
			return (old + v) & m
		case 1:
			return old &^ v
		case 2:
			return old ^ v
		case 3:
			return old | v
		case 4:
			return uint64(max(sign(old), sign(v))) & m
		case 5:
			return uint64(min(sign(old), sign(v))) & m
		case 6:
			return max(old, v)
		}
		return min(old, v)
	}
	return true
}
