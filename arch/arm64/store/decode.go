// Package store finds the memory that an arm64 instruction is going to access. arch/amd64/store has the same names. The
// words are a guest's and may be anything.
//
// Source: Arm ARM DDI 0487, C4.1 "A64 instruction set encoding", loads and stores.
package store

import (
	"encoding/binary"
	"slices"

	"ringo/arch/arm64/vcpu"
	"ringo/internal/store"
)

// MaxLength is the most bytes that Decode looks at.
const MaxLength = 4

// Alignment is where instructions begin.
const Alignment = 4

// Environment is what the extent of an access depends on besides the registers.
type Environment = store.Environment

// decoder is one decoding.
type decoder struct {
	w   uint32
	r   *vcpu.Registers
	env *Environment
	in  store.Instruction
}

// field is bits hi to lo.
func (d *decoder) field(hi, lo uint) uint32 { return d.w >> lo & (1<<(hi-lo+1) - 1) }

func (d *decoder) bit(n uint) bool { return d.w>>n&1 != 0 }

// signed is bits hi to lo as a signed number.
func (d *decoder) signed(hi, lo uint) int64 {
	return int64(int32(d.w<<(31-hi))) >> (31 - hi + lo)
}

// base is the base register, 31 being SP.
func (d *decoder) base() uint64 {
	if n := d.field(9, 5); n != 31 {
		return d.r.X[n]
	}
	return d.r.SP()
}

// x is a register, 31 being zero.
func (d *decoder) x(n uint32) uint64 {
	if n == 31 {
		return 0
	}
	return d.r.X[n]
}

func (d *decoder) operand(gva uint64, n int, read, write bool) {
	d.in.Operands = append(d.in.Operands, store.Operand{GVA: gva, Len: n, Read: read, Write: write})
}

// Decode says what the instruction at r's PC, whose bytes are code, accesses.
func Decode(code []byte, r *vcpu.Registers, env *Environment) store.Instruction {
	if len(code) < 4 {
		return store.Instruction{Unknown: true}
	}
	if env == nil {
		env = &Environment{}
	}
	d := decoder{w: binary.LittleEndian.Uint32(code), r: r, env: env}
	d.in.Len = 4
	switch {
	case d.w&^0x1f == 0xd50b7420, d.w&^0x1f == 0xd50b7480: // dc zva, dc gzva
		d.zeroBlock()
	case d.field(28, 25)&5 == 4:
		d.loadStore()
	case d.field(28, 25) == 2 && d.bit(31): // SVE
		d.in.Class, d.in.Unknown = store.Vector, true
	}
	return d.in
}

func (d *decoder) zeroBlock() {
	n := d.env.ZeroBlock
	if n <= 0 {
		n, d.in.Unknown = 64, true
	}
	d.in.Class = store.ZeroBlock
	d.operand(d.x(d.field(4, 0))&^uint64(n-1), n, false, true)
}

func (d *decoder) loadStore() {
	vector := d.bit(26)
	if vector {
		d.in.Class = store.Vector
	}
	switch d.field(29, 27) {
	case 1: // xx001x
		switch {
		case !vector && !d.bit(24):
			d.exclusive()
		case vector && !d.bit(31):
			d.structure()
		default:
			d.in.Unknown = true
		}
	case 3: // xx011x
		if d.bit(24) {
			d.ordered()
		} else {
			d.literal(vector)
		}
	case 5: // xx101x
		d.pair(vector)
	case 7: // xx111x
		d.single(vector)
	default:
		d.in.Unknown = true
	}
}

// exclusive is load and store exclusive, load-acquire, store-release, and compare and swap.
func (d *decoder) exclusive() {
	size := int(d.field(31, 30))
	load, ordered, pair := d.bit(22), d.bit(23), d.bit(21)
	d.in.Class = store.Atomic
	switch {
	case ordered && pair: // cas
		d.operand(d.base(), 1<<size, true, true)
	case ordered:
		d.in.Class = store.Plain
		d.operand(d.base(), 1<<size, load, !load)
	case pair && size < 2: // casp
		d.operand(d.base(), 8<<size, true, true)
	default:
		n := 1 << size
		if pair {
			n *= 2
		}
		d.operand(d.base(), n, load, !load)
		if !load {
			d.in.Attempt, d.in.Status = true, int(d.field(20, 16))
			d.in.Until = d.ways()
		}
	}
}

// maxLoop is how many instructions before an exclusive store its load is looked for, and how many ways out of that loop
// there may be: the smallest number of hardware breakpoints.
const maxLoop, maxWays = 32, 2

// ways are where an attempt of the exclusive store at PC can end: behind it, and where branches between its load and
// itself lead elsewhere. Between the load and the store an exit to the monitor would break the reservation, so that the
// store could never succeed.
func (d *decoder) ways() []uint64 {
	pc := d.r.PC()
	out := []uint64{pc + 4}
	if d.env.Code == nil {
		return out
	}
	code := d.env.Code(pc-4*maxLoop, 4*maxLoop)
	if len(code) < 4*maxLoop {
		return out
	}
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(code[4*i:]) }
	first := maxLoop - 1
	for first >= 0 && !(word(first)&0x3fc00000 == 0x08400000 && word(first)>>5&31 == d.field(9, 5)) {
		first--
	}
	start := pc - 4*uint64(maxLoop-first)
	for i := max(first, 0); i < maxLoop && first >= 0; i++ {
		target, ok := branch(word(i), pc-4*uint64(maxLoop-i))
		if ok && (target < start || target > pc) && !slices.Contains(out, target) && len(out) <= maxWays {
			out = append(out, target)
		}
	}
	return out
}

// branch is where a direct branch at pc leads.
func branch(w uint32, pc uint64) (target uint64, ok bool) {
	sign := func(v uint32, bits uint) uint64 { return uint64(int64(int32(v<<(32-bits)))>>(32-bits)) * 4 }
	switch {
	case w>>26 == 0x05: // b
		return pc + sign(w&0x3ffffff, 26), true
	case w>>24 == 0x54, w>>25&0x3f == 0x1a: // b.cond, cbz, cbnz
		return pc + sign(w>>5&0x7ffff, 19), true
	case w>>25&0x3f == 0x1b: // tbz, tbnz
		return pc + sign(w>>5&0x3fff, 14), true
	}
	return 0, false
}

// Failed says whether the attempt in, after which r is the state, has written nothing.
func Failed(in *store.Instruction, r *vcpu.Registers) bool {
	return in.Attempt && in.Status != 31 && r.X[in.Status] != 0
}

// structure is ld1 to ld4 and st1 to st4.
func (d *decoder) structure() {
	load := d.bit(22)
	n := 0
	if !d.bit(24) {
		registers := map[uint32]int{0: 4, 2: 4, 4: 3, 6: 3, 7: 1, 8: 2, 10: 2}[d.field(15, 12)]
		n = registers * 8
		if d.bit(30) {
			n *= 2
		}
	} else {
		opcode, size := d.field(15, 13), d.field(11, 10)
		elements := int(opcode&1<<1|d.field(21, 21)) + 1
		switch opcode >> 1 {
		case 0:
			n = 1
		case 1:
			n = 2
		case 2:
			n = 4 << (size & 1)
		case 3:
			n = 1 << size
		}
		n *= elements
	}
	if n == 0 {
		d.in.Unknown = true
		return
	}
	d.operand(d.base(), n, load, !load)
}

// literal is a load relative to PC.
func (d *decoder) literal(vector bool) {
	opc := d.field(31, 30)
	n := [...]int{4, 8, 4, 0}[opc]
	if vector {
		n = [...]int{4, 8, 16, 0}[opc]
	}
	if n > 0 {
		d.operand(d.r.PC()+uint64(d.signed(23, 5)*4), n, true, false)
	}
}

// ordered is ldapur and stlur, memory tags, 128-bit atomics, and memory copies.
func (d *decoder) ordered() {
	size, opc := int(d.field(31, 30)), d.field(23, 22)
	switch {
	case d.field(31, 24) == 0xd9 && d.bit(21): // tags: only stzg and stz2g write data
		at := d.base()
		if d.field(11, 10) != 1 { // not post-indexed
			at += uint64(d.signed(20, 12) * 16)
		}
		switch {
		case d.field(11, 10) == 0: // block forms
			d.in.Unknown = opc == 0
		case opc == 1:
			d.operand(at&^15, 16, false, true)
		case opc == 3:
			d.operand(at&^15, 32, false, true)
		}
	case d.field(31, 24) == 0x19 && d.bit(21):
		d.in.Class = store.Atomic
		d.operand(d.base(), 16, true, true)
	case !d.bit(21) && d.field(11, 10) == 0:
		d.operand(d.base()+uint64(d.signed(20, 12)), 1<<size, opc != 0, opc == 0)
	default:
		d.in.Unknown = true // memory copies and sets: their registers depend on the stage
	}
}

// pair is ldp, stp and their kind.
func (d *decoder) pair(vector bool) {
	opc, load := d.field(31, 30), d.bit(22)
	unit := [...]int{4, 4, 8, 0}[opc]
	scale := unit
	switch {
	case vector:
		unit = 4 << opc
		scale = unit
	case opc == 1 && !load: // stgp
		unit, scale = 8, 16
	}
	if unit == 0 || unit > 16 {
		d.in.Unknown = true
		return
	}
	at := d.base()
	if d.field(24, 23) != 1 { // not post-indexed
		at += uint64(d.signed(21, 15) * int64(scale))
	}
	d.operand(at, 2*unit, load, !load)
}

// single is everything with one register.
func (d *decoder) single(vector bool) {
	size, opc := d.field(31, 30), d.field(23, 22)
	load, scale := opc != 0, size
	switch {
	case vector:
		load, scale = opc&1 != 0, size|opc&2<<1
	case size == 3 && opc == 2 && (d.bit(24) || !d.bit(21) || d.field(11, 10) == 2):
		return // prefetch, or with the other forms nothing; elsewhere these are the order of an atomic operation
	}
	if scale > 4 {
		d.in.Unknown = true
		return
	}
	n := 1 << scale
	at := d.base()
	switch {
	case d.bit(24):
		at += uint64(d.field(21, 10)) << scale
	case !d.bit(21):
		if d.field(11, 10) != 1 { // not post-indexed
			at += uint64(d.signed(20, 12))
		}
	case d.field(11, 10) == 2:
		at += d.extended(scale)
	case d.field(11, 10) == 0 && !vector:
		d.atomic(n)
		return
	case d.bit(10) && size == 3 && !vector: // ldraa, ldrab
		offset := int64(d.field(20, 12)) * 8
		if d.bit(22) {
			offset -= 4096
		}
		d.operand(at+uint64(offset), 8, true, false)
		d.in.Unknown = true // the base carries a signature
		return
	default:
		d.in.Unknown = true
		return
	}
	d.operand(at, n, load, !load)
}

// extended is the register offset.
func (d *decoder) extended(scale uint32) uint64 {
	v := d.x(d.field(20, 16))
	switch d.field(15, 13) {
	case 2:
		v = uint64(uint32(v))
	case 6:
		v = uint64(int64(int32(v)))
	}
	if d.bit(12) {
		v <<= scale
	}
	return v
}

// atomic is the LSE operations.
func (d *decoder) atomic(n int) {
	d.in.Class = store.Atomic
	if d.bit(15) {
		switch d.field(14, 12) {
		case 4: // ldapr
			d.in.Class = store.Plain
			d.operand(d.base(), n, true, false)
			return
		case 1, 2, 3: // st64b
			d.operand(d.base(), 64, false, true)
			return
		case 5: // ld64b
			d.operand(d.base(), 64, true, false)
			return
		}
	}
	d.operand(d.base(), n, true, true)
}

// Advanced is for amd64: what of its operands a string instruction has accessed.
func Advanced(operands []store.Operand, before, after *vcpu.Registers) []store.Operand {
	return operands
}
