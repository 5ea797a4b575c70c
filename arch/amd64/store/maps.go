package store

import (
	"slices"

	"ringo/internal/store"
)

func (d *decoder) twoByte() bool {
	op := d.opcode
	switch {
	case op >= 0x80 && op <= 0x8f:
		d.skip(4)
		return true
	case op == 0xa0 || op == 0xa8:
		d.pushes(d.stackSize(), 1)
		return true
	case op == 0xa1 || op == 0xa9:
		d.pops(d.stackSize())
		return true
	case slices.Contains([]byte{0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x0e, 0x77, 0xa2, 0xaa}, op), op >= 0x30 && op <= 0x37, op >= 0xc8 && op <= 0xcf:
		return true
	case op == 0x0f: // 3DNow!: an immediate opcode
		d.modrm = d.byte()
		return d.withModRM(8, read, 1)
	}
	d.modrm = d.byte()
	n, a, imm := d.twoByteOperand()
	return a != unknown && d.withModRM(n, a, imm)
}

// unknown is an opcode that is not in the tables.
const unknown = access(255)

// twoByteOperand is the memory operand of 0F xx, and the bytes of immediates.
func (d *decoder) twoByteOperand() (n int, a access, immediate int) {
	op, reg := d.opcode, d.reg()
	switch op {
	case 0x00:
		d.in.Class = store.System
		if reg <= 1 {
			return 2, write, 0
		}
		return 2, read, 0
	case 0x01:
		d.in.Class = store.System
		switch reg {
		case 0, 1:
			return 10, write, 0
		case 2, 3:
			return 10, read, 0
		case 4:
			return 2, write, 0
		case 6:
			return 2, read, 0
		}
		return 0, none, 0 // invlpg
	case 0x02, 0x03:
		return 2, read, 0
	case 0x0d, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f:
		return 0, none, 0
	case 0x20, 0x21, 0x22, 0x23:
		d.modrm |= 0xc0 // always registers
		return 0, none, 0
	case 0x78:
		return 8, write, 0
	case 0x79:
		return 8, read, 0
	case 0xa3, 0xab, 0xb3, 0xbb:
		return d.bitOperand()
	case 0xba:
		if reg == 4 {
			return d.size(), read, 1
		}
		return d.size(), update, 1
	case 0xa4, 0xac:
		return d.size(), update, 1
	case 0xa5, 0xad:
		return d.size(), update, 0
	case 0xae:
		return d.group15()
	case 0xc7:
		return d.group9()
	case 0xb0, 0xc0:
		return 1, update, 0
	case 0xb1, 0xc1:
		return d.size(), update, 0
	case 0xb6, 0xbe:
		return 1, read, 0
	case 0xb7, 0xbf:
		return 2, read, 0
	case 0xb2, 0xb4, 0xb5:
		return d.size() + 2, read, 0
	case 0xaf, 0xb8, 0xbc, 0xbd:
		return d.size(), read, 0
	case 0xc3:
		return d.wide(), write, 0
	}
	switch {
	case op >= 0x40 && op <= 0x4f:
		return d.size(), read, 0
	case op >= 0x90 && op <= 0x9f:
		return 1, write, 0
	}
	return d.sse()
}

// bitOperand is that of bt, bts, btr and btc with the bit's number in a register: it may lie anywhere around the
// address.
func (d *decoder) bitOperand() (int, access, int) {
	a, n := update, d.size()
	if d.opcode == 0xa3 {
		a = read
	}
	if !d.memory() {
		return n, a, 0
	}
	bit := int64(d.general(d.reg() | int(d.rex&4)<<1))
	switch n {
	case 2:
		bit = int64(int16(bit))
	case 4:
		bit = int64(int32(bit))
	}
	width := int64(n * 8)
	words := bit / width
	if bit%width < 0 {
		words--
	}
	d.operand(d.address(1, 0)+uint64(words*int64(n)), n, a)
	d.modrm |= 0xc0 // done with it
	return 0, none, 0
}

// xsave is the length of an xsave area for the components asked for in EDX:EAX.
func (d *decoder) xsave(compacted bool) int {
	d.in.Class = store.XSave
	if d.env == nil || d.env.XSaveSize == nil {
		d.in.Unknown = true
		return 576
	}
	return d.env.XSaveSize(d.r.General.RDX<<32|d.r.General.RAX&0xffff_ffff, compacted)
}

func (d *decoder) group15() (int, access, int) {
	if !d.memory() {
		return 0, none, 0
	}
	if d.pp != 0 { // clwb, clflushopt, clrssbsy
		if d.pp == 2 && d.reg() == 6 {
			return 8, update, 0
		}
		return 0, none, 0
	}
	switch d.reg() {
	case 0:
		d.in.Class = store.XSave
		return 512, write, 0
	case 1:
		return 512, read, 0
	case 2:
		return 4, read, 0
	case 3:
		return 4, write, 0
	case 4:
		return d.xsave(false), masked, 0
	case 5:
		return d.xsave(false), read, 0
	case 6:
		return d.xsave(false), masked, 0
	}
	return 0, none, 0
}

func (d *decoder) group9() (int, access, int) {
	if !d.memory() {
		return 0, none, 0
	}
	switch d.reg() {
	case 1:
		return 2 * d.wide(), update, 0
	case 3:
		return d.xsave(true), read, 0
	case 4, 5:
		return d.xsave(true), masked, 0
	case 6:
		return 8, read, 0
	case 7:
		return 8, write, 0
	}
	return 0, unknown, 0
}

// sse is the rest of 0F xx, and of VEX and EVEX map 1: loads of the vector unit, and these stores.
func (d *decoder) sse() (n int, a access, immediate int) {
	op := d.opcode
	if op < 0x10 || op > 0x17 && op < 0x28 || op > 0x2f && op < 0x50 || op >= 0x80 && op < 0xc2 {
		return 0, unknown, 0
	}
	d.in.Class = store.Vector
	switch op {
	case 0x10, 0x51, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f:
		return d.scalar(), read, 0
	case 0x11:
		return d.scalar(), write, 0
	case 0x12, 0x16:
		if d.pp >= 2 && d.opcode == 0x16 || d.pp == 2 {
			return d.length, read, 0
		}
		return 8, read, 0
	case 0x13, 0x17:
		return 8, write, 0
	case 0x29, 0x2b:
		return d.length, write, 0
	case 0x2a, 0x2c, 0x2d:
		if d.pp >= 2 && op == 0x2a {
			return d.wide(), read, 0
		}
		return min(d.scalar(), 16), read, 0
	case 0x2e, 0x2f:
		return 4 << (d.pp & 1), read, 0
	case 0x5a, 0x5b, 0xe6, 0x52, 0x53:
		return d.scalar(), read, 0
	case 0x6e:
		return d.wide(), read, 0
	case 0x7e:
		if d.pp == 2 {
			return 8, read, 0
		}
		return d.wide(), write, 0
	case 0x7f:
		return d.integer(), write, 0
	case 0x70, 0x71, 0x72, 0x73:
		return d.integer(), read, 1
	case 0xc2, 0xc6:
		return d.scalar(), read, 1
	case 0xc4:
		return 2, read, 1
	case 0xc5:
		return 0, none, 1
	case 0xd6:
		return 8, write, 0
	case 0xe7:
		return d.integer(), write, 0
	case 0xf7:
		saved := d.segment
		d.operand(d.linear(d.r.General.RDI), min(d.integer(), 16), masked)
		d.segment = saved
		return 0, none, 0
	}
	return d.integer(), read, 0
}

func (d *decoder) map38() bool {
	d.in.Class = store.Vector
	switch {
	case d.opcode == 0xf1 && d.pp != 3, d.opcode == 0xf0 && d.pp != 3: // movbe
		d.in.Class = store.Plain
		if d.opcode == 0xf1 {
			return d.withModRM(d.size(), write, 0)
		}
		return d.withModRM(d.size(), read, 0)
	case d.opcode == 0xf0, d.opcode == 0xf1: // crc32
		d.in.Class = store.Plain
		n := 1
		if d.opcode == 0xf1 {
			n = d.size()
		}
		return d.withModRM(n, read, 0)
	case d.opcode == 0xf5 && d.pp == 1, d.opcode == 0xf6 && d.pp == 0: // wruss, wrss
		d.in.Class = store.System
		return d.withModRM(d.wide(), write, 0)
	case d.opcode == 0xf6: // adcx, adox
		d.in.Class = store.Plain
		return d.withModRM(d.wide(), read, 0)
	case d.opcode == 0xf8: // movdir64b, and enqcmd to devices
		d.in.Class = store.Plain
		d.operand(d.general(d.reg()|int(d.rex&4)<<1), 64, write)
		return d.withModRM(64, read, 0)
	case d.opcode == 0xf9: // movdiri
		d.in.Class = store.Plain
		return d.withModRM(d.wide(), write, 0)
	case d.opcode == 0x82: // invpcid
		return d.withModRM(16, read, 0)
	case d.opcode == 0xfc: // aadd and its kind
		d.in.Class = store.Atomic
		return d.withModRM(d.wide(), update, 0)
	}
	return d.withModRM(d.integer(), read, 0)
}

func (d *decoder) map3A() bool {
	d.in.Class = store.Vector
	if n, ok := d.extract(); ok {
		return d.withModRM(n, write, 1)
	}
	return d.withModRM(d.integer(), read, 1)
}

// extract is the store of map 0F 3A, in every encoding.
func (d *decoder) extract() (n int, ok bool) {
	switch d.opcode {
	case 0x14:
		return 1, true
	case 0x15:
		return 2, true
	case 0x16:
		return d.wide(), true
	case 0x17:
		return 4, true
	}
	if d.vex == 0 {
		return 0, false
	}
	switch d.opcode {
	case 0x19, 0x39:
		return 16, true
	case 0x1b, 0x3b:
		return 32, true
	case 0x1d:
		return d.length / 2, true
	}
	return 0, false
}

// extended is VEX and EVEX.
func (d *decoder) extended() bool {
	d.in.Class = store.Vector
	if d.opMap == 1 && d.opcode == 0x77 && d.vex == 1 {
		return true
	}
	d.modrm = d.byte()
	n, a, imm := d.length, read, 0
	switch d.opMap {
	case 1:
		switch {
		case d.vex == 1 && d.opcode == 0x91: // kmov
			n, a = 2, write
			if d.pp == 1 {
				n = 1
			}
			if d.w {
				n *= 4
			}
		case d.vex == 1 && d.opcode == 0x90:
			n = 2
		case d.vex == 1 && d.opcode == 0xae:
			n = 4
			if d.reg() == 3 {
				a = write
			}
		case d.vex == 1 && d.opcode >= 0x41 && d.opcode <= 0x4b, d.vex == 1 && (d.opcode == 0x98 || d.opcode == 0x99 || d.opcode == 0x92 || d.opcode == 0x93):
			a = none
		default:
			n, a, imm = d.sse()
			if a == unknown {
				if d.vex != 2 {
					return false
				}
				n, a = d.length, read
			}
		}
	case 2:
		n, a = d.extended38()
	case 3:
		imm = 1
		if m, ok := d.extract(); ok {
			n, a = m, write
		}
	case 5:
		switch {
		case d.opcode == 0x11, d.opcode == 0x7e:
			n, a = 2, write
		}
	case 6:
	default:
		return false
	}
	if d.vex == 2 && a == read && d.memory() {
		// Broadcasts and fractions: the displacement's scale, and so the address, takes another table.
		d.in.Unknown = true
		a = none
	}
	if a == unknown {
		d.in.Unknown = true
		a = none
	}
	if d.memory() {
		scale := 1
		if d.vex == 2 {
			scale = d.tuple(n)
		}
		d.operand(d.address(scale, imm), n, a)
	}
	d.skip(imm)
	return true
}

// tuple is the scale of an 8-bit displacement of an EVEX store of n bytes: compressing ones scale by element.
func (d *decoder) tuple(n int) int {
	if d.opMap == 2 {
		switch d.opcode {
		case 0x8a, 0x8b, 0xa0, 0xa1, 0xa2, 0xa3:
			return d.wide()
		case 0x63:
			return d.wide() / 4
		}
	}
	return n
}

func (d *decoder) extended38() (n int, a access) {
	op := d.opcode
	switch {
	case d.vex == 1 && (op == 0x2e || op == 0x2f || op == 0x8e):
		return d.length, masked
	case d.vex == 1 && op >= 0xe0 && op <= 0xef && d.pp == 1: // cmpccxadd
		d.in.Class = store.Atomic
		return d.wide(), update
	case d.vex == 1 && op == 0x49 && d.pp == 1:
		return 64, write
	case d.vex == 1 && (op == 0x4b || op >= 0x90 && op <= 0x93): // tiles and gathers
		return 0, unknown
	case d.vex == 2 && (op == 0x8a || op == 0x8b || op == 0x63):
		return d.length, masked
	case d.vex == 2 && op >= 0xa0 && op <= 0xa3: // scatters: the addresses are in vector registers
		return 0, unknown
	case d.vex == 2 && d.pp == 2 && (op>>4 == 1 || op>>4 == 2 || op>>4 == 3) && op&15 <= 5:
		return d.length / [...]int{2, 4, 8, 2, 4, 2}[op&15], write
	}
	return d.length, read
}
