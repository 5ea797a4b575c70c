// Package store finds the memory that an amd64 instruction in 64-bit mode is going to access. arch/arm64/store has the
// same names. The bytes are a guest's and may be anything.
//
// golang.org/x/arch/x86/x86asm, which reports disassemble with, does not say what an instruction writes, nor how long an xsave
// area is; the tables here are of AMD64 APM volumes 3 and 4 and Intel SDM volume 2, appendix A. A test compares the two.
package store

import (
	"encoding/binary"
	"math/bits"

	"ringo/arch/amd64/vcpu"
	"ringo/internal/store"
)

// MaxLength is the most bytes that Decode looks at.
const MaxLength = 15

// Alignment is where instructions begin.
const Alignment = 1

// Environment is what the extent of an access depends on besides the registers.
type Environment = store.Environment

// prefixes of an instruction.
type prefixes struct {
	opsize, addr32, lock bool
	rep                  byte // 0, 0xf2 or 0xf3, the last one
	segment              byte // 0x64, 0x65 or 0
	rex                  byte
	vex                  int // 0 legacy, 1 VEX, 2 EVEX
	pp                   byte
	w                    bool
	length               int // vector length in bytes
	masked               bool
}

// decoder is one decoding. Reading beyond the code sets short.
type decoder struct {
	code  []byte
	at    int
	short bool
	r     *vcpu.Registers
	env   *Environment
	prefixes
	opMap  int // 1: 0F, 2: 0F 38, 3: 0F 3A, 0: one byte; 5, 6: EVEX only
	opcode byte
	modrm  byte
	in     store.Instruction
}

// Decode says what the instruction at r's PC, whose bytes are code, accesses.
func Decode(code []byte, r *vcpu.Registers, env *Environment) store.Instruction {
	d := decoder{code: code[:min(len(code), MaxLength)], r: r, env: env}
	if !d.prefix() || !d.instruction() || d.short {
		return store.Instruction{Unknown: true}
	}
	d.in.Len = d.at
	if d.lock && d.in.Writes() {
		d.in.Class = store.Atomic
	}
	return d.in
}

// Failed says whether an attempt that may fail has: there are none here.
func Failed(in *store.Instruction, r *vcpu.Registers) bool { return false }

func (d *decoder) byte() byte {
	if d.at >= len(d.code) {
		d.short = true
		return 0
	}
	d.at++
	return d.code[d.at-1]
}

func (d *decoder) skip(n int) {
	d.at += n
	d.short = d.short || d.at > len(d.code)
}

// prefix reads everything up to the opcode's last byte.
func (d *decoder) prefix() bool {
	for {
		b := d.byte()
		switch b {
		case 0x66:
			d.opsize = true
		case 0x67:
			d.addr32 = true
		case 0xf0:
			d.lock = true
		case 0xf2, 0xf3:
			d.rep = b
		case 0x64, 0x65:
			d.segment = b
		case 0x26, 0x2e, 0x36, 0x3e:
		default:
			if d.short {
				return false
			}
			if b&0xf0 == 0x40 {
				d.rex = b
				d.w = b&8 != 0
				b = d.byte()
			}
			return d.escape(b)
		}
	}
}

// escape reads opcode maps and the VEX and EVEX prefixes (APM volume 4 section 1.3.1; SDM volume 2A section 2.7).
func (d *decoder) escape(b byte) bool {
	switch b {
	case 0x0f:
		d.opMap = 1
		if b = d.byte(); b == 0x38 || b == 0x3a {
			d.opMap = 2 + int(b&2)>>1
			b = d.byte()
		}
	case 0xc5:
		p := d.byte()
		d.vex, d.opMap = 1, 1
		d.rex = 0x40 | ^p>>5&4
		d.vexRest(p)
		b = d.byte()
	case 0xc4:
		p, q := d.byte(), d.byte()
		d.vex, d.opMap = 1, int(p&0x1f)
		d.rex = 0x40 | ^p>>5&7
		d.w = q&0x80 != 0
		d.vexRest(q)
		b = d.byte()
	case 0x62:
		p, q, s := d.byte(), d.byte(), d.byte()
		d.vex, d.opMap = 2, int(p&7)
		d.rex = 0x40 | ^p>>5&7
		d.w = q&0x80 != 0
		d.pp = q & 3
		d.length = min(16<<(s>>5&3), 64)
		d.masked = s&7 != 0
		b = d.byte()
	default:
		d.opMap = 0
	}
	d.opcode = b
	if d.vex == 0 {
		switch {
		case d.rep == 0xf3:
			d.pp = 2
		case d.rep == 0xf2:
			d.pp = 3
		case d.opsize:
			d.pp = 1
		}
		d.length = 16
	}
	return !d.short && (d.vex == 0 || d.opMap >= 1)
}

func (d *decoder) vexRest(p byte) {
	d.pp, d.length = p&3, 16<<(p>>2&1)
}

// size is the operand size of a general instruction.
func (d *decoder) size() int {
	switch {
	case d.w:
		return 8
	case d.opsize:
		return 2
	}
	return 4
}

// wide is 8 with REX.W or VEX.W, 4 without.
func (d *decoder) wide() int {
	if d.w {
		return 8
	}
	return 4
}

// scalar is the size of SSE operands by prefix: ps, pd, ss, sd.
func (d *decoder) scalar() int { return [...]int{d.length, d.length, 4, 8}[d.pp] }

// integer is that of an MMX instruction, or with 66 of its SSE twin.
func (d *decoder) integer() int {
	if d.vex == 0 && d.pp == 0 {
		return 8
	}
	return d.length
}

func (d *decoder) reg() int { return int(d.modrm >> 3 & 7) }

func (d *decoder) memory() bool { return d.modrm>>6 != 3 }

// general is a general register by number.
func (d *decoder) general(n int) uint64 {
	g := &d.r.General
	return [...]uint64{g.RAX, g.RCX, g.RDX, g.RBX, g.RSP, g.RBP, g.RSI, g.RDI, g.R8, g.R9, g.R10, g.R11, g.R12, g.R13, g.R14, g.R15}[n&15]
}

// address reads SIB and displacement. scale is what EVEX multiplies an 8-bit displacement with; immediate is how many bytes
// follow it, for addresses relative to the next instruction.
func (d *decoder) address(scale, immediate int) uint64 {
	var a uint64
	mod, rm := d.modrm>>6, d.modrm&7
	base := int(rm) | int(d.rex&1)<<3
	relative := false
	switch {
	case rm == 4:
		sib := d.byte()
		base = int(sib&7) | int(d.rex&1)<<3
		if index := int(sib>>3&7) | int(d.rex&2)<<2; index != 4 {
			a = d.general(index) << (sib >> 6)
		}
		if sib&7 == 5 && mod == 0 {
			a += d.displacement(4)
			base = -1
		}
	case rm == 5 && mod == 0:
		relative, base = true, -1
		a = d.displacement(4)
	}
	if base >= 0 {
		a += d.general(base)
	}
	switch mod {
	case 1:
		a += d.displacement(1) * uint64(scale)
	case 2:
		a += d.displacement(4)
	}
	if relative {
		a += d.r.General.RIP + uint64(d.at+immediate)
	}
	return d.linear(a)
}

func (d *decoder) displacement(n int) uint64 {
	at := d.at
	if d.skip(n); d.short {
		return 0
	}
	if n == 1 {
		return uint64(int8(d.code[at]))
	}
	return uint64(int32(binary.LittleEndian.Uint32(d.code[at:])))
}

// linear applies address size and segment to an effective address.
func (d *decoder) linear(a uint64) uint64 {
	if d.addr32 {
		a = uint64(uint32(a))
	}
	switch d.segment {
	case 0x64:
		a += d.r.System.FS.Base
	case 0x65:
		a += d.r.System.GS.Base
	}
	return a
}

// access is what an opcode does to its memory operand.
type access uint8

const (
	none   access = iota // no memory operand, or none that is accessed
	read                 //
	write                //
	update               // both
	masked               // writes some of it
)

func (d *decoder) operand(gva uint64, n int, a access) {
	if a == none || n <= 0 {
		return
	}
	d.in.Operands = append(d.in.Operands, store.Operand{
		GVA: gva, Len: n, Read: a == read || a == update, Write: a != read, Partial: a == masked || d.masked,
	})
}

// pushes records a push of n bytes, count times.
func (d *decoder) pushes(n, count int) uint64 {
	at := d.r.General.RSP - uint64(n*count)
	d.operand(at, n*count, write)
	d.in.Class = store.Push
	return at
}

// stackSize is the size of push and pop.
func (d *decoder) stackSize() int {
	if d.opsize {
		return 2
	}
	return 8
}

// pops records a read of the stack.
func (d *decoder) pops(n int) { d.operand(d.r.General.RSP, n, read) }

// stringOp records one side of a string instruction.
func (d *decoder) stringOp(reg uint64, size int, a access, segment bool) {
	count := uint64(1)
	if d.rep != 0 {
		count = d.r.General.RCX
		if d.addr32 {
			count = uint64(uint32(count))
		}
	}
	saved := d.segment
	if !segment {
		d.segment = 0 // the destination is ES, always flat
	}
	at := d.linear(reg)
	d.segment = saved
	high, n := bits.Mul64(count, uint64(size))
	if high != 0 || n > 1<<47 {
		n = 1 << 47 // beyond any run that ends otherwise than by a fault
	}
	if d.r.Backward() {
		at -= n - min(n, uint64(size))
	}
	d.operand(at, int(n), a)
	d.in.Class = store.String
}

// Advanced is what of its operands a repeated string instruction has accessed, of which only some rounds may have been
// carried out. Its operands are those of Decode with the registers before.
func Advanced(operands []store.Operand, before, after *vcpu.Registers) (out []store.Operand) {
	moved := func(a, b uint64) uint64 { return min(a-b, b-a) } // up or down, around the end
	b, a := &before.General, &after.General
	n := max(moved(a.RDI, b.RDI), moved(a.RSI, b.RSI))
	for _, o := range operands {
		done := int(min(n, uint64(o.Len)))
		if done == 0 {
			continue
		}
		if before.Backward() {
			o.GVA += uint64(o.Len - done)
		}
		o.Len = done
		out = append(out, o)
	}
	return out
}
