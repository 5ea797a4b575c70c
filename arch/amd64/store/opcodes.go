package store

import (
	"ringo/internal/store"
)

// instruction decodes from the opcode on: d.at stands behind it.
func (d *decoder) instruction() bool {
	switch {
	case d.vex != 0:
		return d.extended()
	case d.opMap == 0:
		return d.oneByte()
	case d.opMap == 1:
		return d.twoByte()
	}
	d.modrm = d.byte()
	if d.opMap == 3 {
		return d.map3A()
	}
	return d.map38()
}

// withModRM ends an instruction that has a ModRM byte, already read, and immediate bytes.
func (d *decoder) withModRM(n int, a access, immediate int) bool {
	if d.memory() {
		d.operand(d.address(1, immediate), n, a)
	}
	d.skip(immediate)
	return true
}

// immediateSize is that of an immediate of operand size: at most 4.
func (d *decoder) immediateSize() int {
	if d.opsize && !d.w {
		return 2
	}
	return 4
}

func (d *decoder) oneByte() bool {
	op := d.opcode
	modrm := func() { d.modrm = d.byte() }
	unit := d.size() // of the opcodes whose lowest bit chooses between bytes and operand size
	if op&1 == 0 {
		unit = 1
	}
	imm := d.immediateSize()
	switch {
	case op < 0x40: // add or adc sbb and sub xor cmp
		switch op & 7 {
		case 0, 1:
			modrm()
			if op>>3 == 7 {
				return d.withModRM(unit, read, 0)
			}
			return d.withModRM(unit, update, 0)
		case 2, 3:
			modrm()
			return d.withModRM(unit, read, 0)
		case 4:
			d.skip(1)
		case 5:
			d.skip(imm)
		default:
			return false
		}
	case op >= 0x50 && op <= 0x57:
		d.pushes(d.stackSize(), 1)
	case op >= 0x58 && op <= 0x5f:
		d.pops(d.stackSize())
	case op == 0x63:
		modrm()
		return d.withModRM(4, read, 0)
	case op == 0x68:
		d.pushes(d.stackSize(), 1)
		d.skip(imm)
	case op == 0x6a:
		d.pushes(d.stackSize(), 1)
		d.skip(1)
	case op == 0x69:
		modrm()
		return d.withModRM(d.size(), read, imm)
	case op == 0x6b:
		modrm()
		return d.withModRM(d.size(), read, 1)
	case op >= 0x6c && op <= 0x6f, op >= 0xa4 && op <= 0xa7, op >= 0xaa && op <= 0xaf:
		return d.strings(unit)
	case op >= 0x70 && op <= 0x7f, op >= 0xe0 && op <= 0xe7, op == 0xeb, op == 0xa8, op == 0xcd, op >= 0xb0 && op <= 0xb7:
		d.skip(1)
	case op >= 0x80 && op <= 0x83 && op != 0x82:
		modrm()
		a, n := update, imm
		if d.reg() == 7 {
			a = read
		}
		if op != 0x81 {
			n = 1
		}
		return d.withModRM(unit, a, n)
	case op >= 0x84 && op <= 0x8f:
		return d.moves(unit)
	case op >= 0x90 && op <= 0x99, op == 0x9b, op == 0x9e, op == 0x9f:
	case op == 0x9c:
		d.in.FlagsAt = d.pushes(d.stackSize(), 1)
	case op == 0x9d:
		d.pops(d.stackSize())
	case op >= 0xa0 && op <= 0xa3:
		n := 8
		if d.addr32 {
			n = 4
		}
		var a uint64
		for i := range n {
			a |= uint64(d.byte()) << (8 * i)
		}
		kind := read
		if op >= 0xa2 {
			kind = write
		}
		d.operand(d.linear(a), unit, kind)
	case op == 0xa9:
		d.skip(imm)
	case op >= 0xb8 && op <= 0xbf:
		if d.w {
			imm = 8
		}
		d.skip(imm)
	case op == 0xc0 || op == 0xc1:
		modrm()
		return d.withModRM(unit, update, 1)
	case op == 0xc2, op == 0xca:
		d.pops(8)
		d.skip(2)
	case op == 0xc3, op == 0xc9, op == 0xcb:
		at := d.r.General.RSP
		if op == 0xc9 {
			at = d.r.General.RBP
		}
		d.operand(at, 8, read)
	case op == 0xc6 || op == 0xc7:
		modrm()
		if op == 0xc6 {
			imm = 1
		}
		return d.withModRM(unit, write, imm)
	case op == 0xc8:
		// enter: RBP, then that many frame pointers of outer levels, all pushed.
		d.skip(3)
		if d.short {
			return false
		}
		d.pushes(8, 1+int(d.code[d.at-1]&31))
	case op == 0xcc, op == 0xf1, op == 0xf4, op == 0xf5, op >= 0xf8 && op <= 0xfd, op >= 0xec && op <= 0xef:
	case op == 0xcf:
		d.pops(40)
	case op >= 0xd0 && op <= 0xd3:
		modrm()
		return d.withModRM(unit, update, 0)
	case op == 0xd7:
		d.operand(d.linear(d.r.General.RBX+d.r.General.RAX&0xff), 1, read)
	case op >= 0xd8 && op <= 0xdf:
		return d.x87()
	case op == 0xe8:
		d.pushes(8, 1)
		d.skip(4)
	case op == 0xe9:
		d.skip(4)
	case op == 0xf6 || op == 0xf7:
		modrm()
		switch d.reg() {
		case 0, 1:
			if op == 0xf6 {
				imm = 1
			}
			return d.withModRM(unit, read, imm)
		case 2, 3:
			return d.withModRM(unit, update, 0)
		}
		return d.withModRM(unit, read, 0)
	case op == 0xfe || op == 0xff:
		modrm()
		return d.group5(unit)
	default:
		return false
	}
	return true
}

// moves are test, xchg, mov, lea and pop: 84 to 8F.
func (d *decoder) moves(unit int) bool {
	d.modrm = d.byte()
	switch d.opcode {
	case 0x86, 0x87:
		if d.memory() {
			d.in.Class = store.Atomic // locked with or without the prefix
		}
		return d.withModRM(unit, update, 0)
	case 0x88, 0x89:
		return d.withModRM(unit, write, 0)
	case 0x8c:
		return d.withModRM(2, write, 0)
	case 0x8d:
		return d.withModRM(0, none, 0)
	case 0x8e:
		return d.withModRM(2, read, 0)
	case 0x8f:
		if d.reg() != 0 {
			return false // XOP
		}
		// The address is computed with the stack pointer behind the pop.
		n := d.stackSize()
		d.pops(n)
		after := *d.r
		after.General.RSP += uint64(n)
		d.r = &after
		return d.withModRM(n, write, 0)
	}
	return d.withModRM(unit, read, 0)
}

func (d *decoder) group5(unit int) bool {
	reg := d.reg()
	switch {
	case reg <= 1:
		return d.withModRM(unit, update, 0)
	case d.opcode == 0xfe || reg == 7:
		return false
	case reg == 2:
		d.pushes(8, 1)
		return d.withModRM(8, read, 0)
	case reg == 3:
		d.pushes(8, 2)
		return d.withModRM(d.size()+2, read, 0)
	case reg == 5:
		return d.withModRM(d.size()+2, read, 0)
	case reg == 6:
		d.pushes(d.stackSize(), 1)
		return d.withModRM(d.stackSize(), read, 0)
	}
	return d.withModRM(8, read, 0)
}

func (d *decoder) strings(unit int) bool {
	si, di := d.r.General.RSI, d.r.General.RDI
	compare := false
	if unit == 8 && d.opcode < 0x70 {
		unit = 4 // ports have no 64-bit accesses
	}
	switch d.opcode &^ 1 {
	case 0x6c: // ins
		d.stringOp(di, unit, write, false)
	case 0x6e, 0xac: // outs, lods
		d.stringOp(si, unit, read, true)
	case 0xa4: // movs
		d.stringOp(si, unit, read, true)
		d.stringOp(di, unit, write, false)
	case 0xa6: // cmps
		d.stringOp(si, unit, read, true)
		d.stringOp(di, unit, read, false)
		compare = true
	case 0xaa: // stos
		d.stringOp(di, unit, write, false)
	case 0xae: // scas
		d.stringOp(di, unit, read, false)
		compare = true
	}
	if d.rep != 0 {
		for i := range d.in.Operands {
			d.in.Operands[i].Partial = compare
		}
		d.in.Until = []uint64{d.r.General.RIP + uint64(d.at)}
	}
	return true
}

func (d *decoder) x87() bool {
	d.modrm = d.byte()
	if !d.memory() {
		return true
	}
	// By opcode and ModRM.reg: bytes, negative where they are written.
	n := [8][8]int{
		{4, 4, 4, 4, 4, 4, 4, 4},
		{4, 0, -4, -4, 28, 2, -28, -2},
		{4, 4, 4, 4, 4, 4, 4, 4},
		{4, -4, -4, -4, 0, 10, 0, -10},
		{8, 8, 8, 8, 8, 8, 8, 8},
		{8, -8, -8, -8, 108, 0, -108, -2},
		{2, 2, 2, 2, 2, 2, 2, 2},
		{2, -2, -2, -2, 10, 8, -10, -8},
	}[d.opcode&7][d.reg()]
	if n < 0 {
		if n == -108 {
			d.in.Class = store.XSave
		}
		return d.withModRM(-n, write, 0)
	}
	return d.withModRM(n, read, 0)
}
