// Package pagetable is the amd64 page-table format: 4-level paging with 4 KiB, 2 MiB and 1 GiB
// pages (AMD64 APM volume 2, section 5.3). It is pure data handling and compiles everywhere: the
// kernel, the monitor and the debugger share it. See ringo/internal/pagetable for the operations.
package pagetable

import "ringo/internal/pagetable"

// Entry bits.
const (
	Present      = 1 << 0
	Writable     = 1 << 1
	UserBit      = 1 << 2
	WriteThrough = 1 << 3
	CacheDisable = 1 << 4
	AccessedBit  = 1 << 5
	DirtyBit     = 1 << 6
	PageSizeBit  = 1 << 7
	GlobalBit    = 1 << 8
	NoExecute    = 1 << 63

	addrMask = 0x000f_ffff_ffff_f000
)

// Format implements pagetable.Format for amd64.
type Format struct{}

// Table implements pagetable.Format. Table entries allow everything; the leaf decides.
func (Format) Table(pa uint64, user bool) uint64 {
	e := pa&addrMask | Present | Writable | AccessedBit
	if user {
		e |= UserBit
	}
	return e
}

// Leaf implements pagetable.Format. Kernel pages are born accessed and dirty, as nobody reads
// that state there and the walker then never writes the table.
func (Format) Leaf(pa uint64, level int, p pagetable.Prot) uint64 {
	e := pa&addrMask | Present
	if level > 0 {
		e |= PageSizeBit
	}
	if p&pagetable.Write != 0 {
		e |= Writable
	}
	if p&pagetable.Exec == 0 || p&pagetable.Device != 0 {
		e |= NoExecute
	}
	if p&pagetable.User != 0 {
		e |= UserBit
	} else {
		e |= AccessedBit | DirtyBit
	}
	if p&pagetable.Global != 0 {
		e |= GlobalBit
	}
	if p&pagetable.Device != 0 {
		e |= CacheDisable | WriteThrough
	}
	return e
}

// Kind implements pagetable.Format.
func (Format) Kind(e uint64, level int) pagetable.Kind {
	switch {
	case e&Present == 0:
		return pagetable.KindNone
	case level == 0:
		return pagetable.KindLeaf
	case e&PageSizeBit == 0:
		return pagetable.KindTable
	case level == 3 || e&addrMask&(pagetable.PageSize(level)-1)&^(1<<12) != 0: // bit 12 is PAT
		return pagetable.KindBad
	}
	return pagetable.KindLeaf
}

// Addr implements pagetable.Format.
func (Format) Addr(e uint64, level int) uint64 {
	if level > 0 && e&PageSizeBit != 0 {
		return e & addrMask &^ (pagetable.PageSize(level) - 1)
	}
	return e & addrMask
}

// LeafProt implements pagetable.Format.
func (Format) LeafProt(e uint64, level int) pagetable.Prot {
	p := pagetable.Read
	if e&Writable != 0 {
		p |= pagetable.Write
	}
	if e&NoExecute == 0 {
		p |= pagetable.Exec
	}
	if e&UserBit != 0 {
		p |= pagetable.User
	}
	if e&GlobalBit != 0 {
		p |= pagetable.Global
	}
	if e&CacheDisable != 0 {
		p |= pagetable.Device
	}
	return p
}

// Restrict implements pagetable.Format.
func (Format) Restrict(p pagetable.Prot, e uint64) pagetable.Prot {
	if e&Writable == 0 {
		p &^= pagetable.Write
	}
	if e&UserBit == 0 {
		p &^= pagetable.User
	}
	if e&NoExecute != 0 {
		p &^= pagetable.Exec
	}
	return p
}

// StateMask implements pagetable.Format.
func (Format) StateMask() uint64 { return AccessedBit | DirtyBit }

// Accessed implements pagetable.Format.
func (Format) Accessed(e uint64) bool { return e&AccessedBit != 0 }

// Dirty implements pagetable.Format.
func (Format) Dirty(e uint64) bool { return e&DirtyBit != 0 }

// Canonical implements pagetable.Format: bits 63 to 47 are equal.
func (Format) Canonical(va uint64) bool { return uint64(int64(va)<<16>>16) == va }

// MaxPhys implements pagetable.Format.
func (Format) MaxPhys() uint64 { return 1 << 52 }
