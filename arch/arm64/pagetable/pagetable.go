// Package pagetable is the arm64 page-table format: VMSAv8-64 stage 1, 4 KiB granule, 48-bit
// addresses, EL1&0 regime (Arm ARM DDI 0487 section D8.3). It is pure data handling and compiles
// everywhere: the kernel, the monitor and the debugger share it. See ringo/internal/pagetable
// for the operations.
//
// MAIR_EL1 must hold AttrNormal (write-back) at index 0 and AttrDevice (nGnRE) at index 1. The
// hardware's update of access flag and dirty state (FEAT_HAFDBS) is not used: AF is always
// set, and a page is dirty when it is writable. Who needs to know of writes maps read-only first.
package pagetable

import "ringo/internal/pagetable"

// Descriptor bits.
const (
	Valid     = 1 << 0
	TableBit  = 1 << 1 // table at levels 3 to 1, page at level 0
	AttrShift = 2      // index into MAIR_EL1
	AP1User   = 1 << 6 // accessible at EL0
	AP2RO     = 1 << 7 // not writable
	ShInner   = 3 << 8
	AF        = 1 << 10
	NonGlobal = 1 << 11
	PXN       = 1 << 53
	UXN       = 1 << 54

	// Limits in a table descriptor for everything below it.
	APTable1NoUser = 1 << 61
	APTable2RO     = 1 << 62
	PXNTable       = 1 << 59
	UXNTable       = 1 << 60

	attrNormal = 0 << AttrShift
	attrDevice = 1 << AttrShift
	attrMask   = 7 << AttrShift

	addrMask = 0x0000_ffff_ffff_f000
)

// MAIR is the MAIR_EL1 value that the attribute indexes refer to: index 0 normal inner and
// outer write-back, index 1 device nGnRE.
const MAIR = 0x04ff

// Format implements pagetable.Format for arm64.
type Format struct{}

// Table implements pagetable.Format. Table descriptors allow everything; the leaf decides.
func (Format) Table(pa uint64, user bool) uint64 { return pa&addrMask | TableBit | Valid }

// Leaf implements pagetable.Format. A page is executable in one mode at most: user pages
// never at EL1, kernel pages never at EL0.
func (Format) Leaf(pa uint64, level int, p pagetable.Prot) uint64 {
	e := pa&addrMask | Valid | AF | ShInner | UXN | PXN
	if level == 0 {
		e |= TableBit
	}
	if p&pagetable.Write == 0 {
		e |= AP2RO
	}
	if p&pagetable.User != 0 {
		e |= AP1User
	}
	if p&pagetable.Global == 0 {
		e |= NonGlobal
	}
	if p&pagetable.Device != 0 {
		return e | attrDevice
	}
	if p&pagetable.Exec != 0 {
		if p&pagetable.User != 0 {
			e &^= UXN
		} else {
			e &^= PXN
		}
	}
	return e | attrNormal
}

// Kind implements pagetable.Format.
func (Format) Kind(e uint64, level int) pagetable.Kind {
	switch {
	case e&Valid == 0:
		return pagetable.KindNone
	case level == 0:
		if e&TableBit == 0 {
			return pagetable.KindBad
		}
		return pagetable.KindLeaf
	case e&TableBit != 0:
		return pagetable.KindTable
	case level == 3 || e&addrMask&(pagetable.PageSize(level)-1) != 0:
		return pagetable.KindBad
	}
	return pagetable.KindLeaf
}

// Addr implements pagetable.Format.
func (Format) Addr(e uint64, level int) uint64 {
	if level > 0 && e&TableBit == 0 {
		return e & addrMask &^ (pagetable.PageSize(level) - 1)
	}
	return e & addrMask
}

// LeafProt implements pagetable.Format.
func (Format) LeafProt(e uint64, level int) pagetable.Prot {
	p := pagetable.Read
	if e&AP2RO == 0 {
		p |= pagetable.Write
	}
	never := uint64(PXN)
	if e&AP1User != 0 {
		p |= pagetable.User
		never = UXN
	}
	if e&never == 0 {
		p |= pagetable.Exec
	}
	if e&NonGlobal == 0 {
		p |= pagetable.Global
	}
	if e&attrMask == attrDevice {
		p |= pagetable.Device
	}
	return p
}

// Restrict implements pagetable.Format. PXNTable and UXNTable count together only: which of
// them applies is known at the leaf, and this kernel sets neither.
func (Format) Restrict(p pagetable.Prot, e uint64) pagetable.Prot {
	if e&APTable2RO != 0 {
		p &^= pagetable.Write
	}
	if e&APTable1NoUser != 0 {
		p &^= pagetable.User
	}
	if e&(PXNTable|UXNTable) == PXNTable|UXNTable {
		p &^= pagetable.Exec
	}
	return p
}

// StateMask implements pagetable.Format: the hardware sets nothing.
func (Format) StateMask() uint64 { return 0 }

// Accessed implements pagetable.Format.
func (Format) Accessed(e uint64) bool { return e&AF != 0 }

// Dirty implements pagetable.Format.
func (Format) Dirty(e uint64) bool { return e&AP2RO == 0 }

// Canonical implements pagetable.Format: TTBR0 translates addresses below 2^48 only.
func (Format) Canonical(va uint64) bool { return va>>48 == 0 }

// MaxPhys implements pagetable.Format.
func (Format) MaxPhys() uint64 { return 1 << 48 }
