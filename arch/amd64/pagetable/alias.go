package pagetable

import "ringo/internal/pagetable"

// The operations, bound to this package's Format. The sibling package of the other
// architecture has the same names.
type (
	Table    = pagetable.Table[Format]
	Memory   = pagetable.Memory
	Prot     = pagetable.Prot
	Leaf     = pagetable.Leaf
	Walk     = pagetable.Walk
	Step     = pagetable.Step
	ReadFunc = pagetable.ReadFunc
	Error    = pagetable.Error
)

// Bits of Prot.
const (
	Read   = pagetable.Read
	Write  = pagetable.Write
	Exec   = pagetable.Exec
	User   = pagetable.User
	Global = pagetable.Global
	Device = pagetable.Device
)

// Page sizes in bytes, and the end of the user half.
const (
	Size4K  = pagetable.Size4K
	Size2M  = pagetable.Size2M
	Size1G  = pagetable.Size1G
	Entries = pagetable.Entries
	UserEnd = pagetable.UserEnd
)

// Errors of Table.
const (
	ErrNoMemory  = pagetable.ErrNoMemory
	ErrMapped    = pagetable.ErrMapped
	ErrAddress   = pagetable.ErrAddress
	ErrUnaligned = pagetable.ErrUnaligned
	ErrSize      = pagetable.ErrSize
	ErrCorrupt   = pagetable.ErrCorrupt
)

// Results of a walk.
const (
	WalkMapped       = pagetable.WalkMapped
	WalkNotPresent   = pagetable.WalkNotPresent
	WalkReserved     = pagetable.WalkReserved
	WalkUnreadable   = pagetable.WalkUnreadable
	WalkNonCanonical = pagetable.WalkNonCanonical
)

// CopyKernelHalf makes root dst share root src's kernel half.
func CopyKernelHalf(dst, src *[Entries]uint64) { pagetable.CopyKernelHalf(dst, src) }

// ReadWalk translates va through a tree that is not trusted. At most four reads.
func ReadWalk(root, va uint64, read ReadFunc) Walk {
	return pagetable.ReadWalk[Format](root, va, read)
}

// ReadLeaves visits the pages of a tree that is not trusted; see pagetable.ReadLeaves.
func ReadLeaves(root, va, last uint64, read ReadFunc, budget int, visit func(Leaf) bool) (complete bool) {
	return pagetable.ReadLeaves[Format](root, va, last, read, budget, visit)
}
