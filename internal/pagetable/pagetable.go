// Package pagetable is the part of page-table handling that amd64 and arm64 share: both use
// four levels of 512 entries of 8 bytes and pages of 4 KiB, 2 MiB and 1 GiB (AMD64 APM volume 2,
// section 5.3; Arm ARM DDI 0487 section D8.2 with a 4 KiB granule and 48-bit addresses).
// What differs, the bits of an entry, is a Format, defined in arch/*/pagetable, whose aliases
// are what other packages import.
//
// Two kinds of user:
//
//   - The owner of a tree (the kernel's mm, the nucleus, the monitor writing the boot tables)
//     uses Table. A Table has no lock: the caller serialises changes of one tree. Reads of a
//     tree that the hardware walks at the same time are safe, every entry is one atomic word.
//   - Who looks at somebody else's tree (monitor, debugger) uses ReadWalk and ReadLeaves, which
//     trust nothing they read: bounded, no panic on any content.
//
// Nothing here allocates from the Go heap, stores a pointer or depends on package
// initialisation, so that it may run in the nucleus before and below the Go runtime.
//
// Levels are counted from the leaf: level 0 maps 4 KiB, 1 maps 2 MiB, 2 maps 1 GiB, 3 is the
// root (never a leaf). The "user half" is virtual addresses below 2^47, root entries 0 to 255,
// on both architectures; the rest is the "kernel half", whose tables are shared by all roots and
// therefore never freed.
package pagetable

// Prot is what a mapping allows. Every mapping is readable, as neither architecture can say
// otherwise for all its modes; Read is set in every answer.
type Prot uint16

// Bits of Prot.
const (
	Read   Prot = 1 << iota
	Write       // writable
	Exec        // executable in the mode it belongs to: user mode with User, else kernel mode
	User        // reachable from user mode
	Global      // survives a change of address space in the TLB
	Device      // uncached, ordered device memory; never executable
)

// String is a fixed-width form like "rwxu g-" pieces, for reports: r w x u g d.
func (p Prot) String() string {
	const letters = "rwxugd"
	b := [len(letters)]byte{}
	for i := range b {
		b[i] = '-'
		if p&(1<<i) != 0 {
			b[i] = letters[i]
		}
	}
	return string(b[:])
}

// Page sizes in bytes and the number of levels.
const (
	Size4K  = 1 << 12
	Size2M  = 1 << 21
	Size1G  = 1 << 30
	Levels  = 4
	Entries = 512

	root = Levels - 1
	// UserEnd is the first address of the kernel half's side of the split.
	UserEnd = 1 << 47
)

// PageSize is the number of bytes that one entry of a level maps.
func PageSize(level int) uint64 { return Size4K << (9 * uint(level)) }

// Index is the entry of va in a table of a level.
func Index(va uint64, level int) int { return int(va>>(12+9*uint(level))) & (Entries - 1) }

// Kind classifies an entry.
type Kind uint8

// Kinds of entries.
const (
	KindNone  Kind = iota // not present
	KindTable             // points to the next level
	KindLeaf              // maps a page
	KindBad               // present, but the architecture reserves this encoding
)

// Format is the encoding of entries. Implementations are stateless: methods of struct{}.
type Format interface {
	// Table encodes an entry that points to the table at pa. user: below the user half's root.
	Table(pa uint64, user bool) uint64
	// Leaf encodes a page of a level (0, 1 or 2).
	Leaf(pa uint64, level int, p Prot) uint64
	// Kind classifies an entry found in a table of a level.
	Kind(entry uint64, level int) Kind
	// Addr is the physical address in an entry of KindTable or KindLeaf.
	Addr(entry uint64, level int) uint64
	// LeafProt decodes a leaf.
	LeafProt(entry uint64, level int) Prot
	// Restrict is p after the limits that an entry of KindTable puts on all below it.
	Restrict(p Prot, entry uint64) Prot
	// StateMask has the bits that the hardware sets by itself (accessed, dirty).
	StateMask() uint64
	// Accessed and Dirty read a leaf's state. Where the hardware does not keep it, an
	// accessible page counts as accessed and a writable one as dirty.
	Accessed(entry uint64) bool
	Dirty(entry uint64) bool
	// Canonical says whether va can be translated at all.
	Canonical(va uint64) bool
	// MaxPhys is the first physical address beyond what an entry can hold.
	MaxPhys() uint64
}

// Memory is where page tables live. All addresses are guest-physical.
type Memory interface {
	// Table is the table at gpa, or nil when gpa is not page-table memory.
	Table(gpa uint64) *[Entries]uint64
	// AllocTable gives a zeroed frame.
	AllocTable() (gpa uint64, ok bool)
	// FreeTable takes back an unlinked table. Another CPU's TLB may still hold the link, so
	// the frame must not be reused before the shootdown for the range has ended.
	FreeTable(gpa uint64)
}

// Error is a failed operation. It is a constant type, not a variable, because the nucleus
// reports errors before Go's package initialisation has run.
type Error uint8

// Errors of Table.
const (
	ErrNoMemory  Error = 1 + iota // AllocTable refused
	ErrMapped                     // something is mapped there already
	ErrAddress                    // address not canonical, physical address too large, or range wraps
	ErrUnaligned                  // address or size is not a multiple of the page size
	ErrSize                       // not a page size
	ErrCorrupt                    // the tree holds an impossible entry or one outside Memory
)

var errorText = [...]string{
	ErrNoMemory:  "pagetable: no memory for a page table",
	ErrMapped:    "pagetable: address is mapped already",
	ErrAddress:   "pagetable: address is not canonical or out of range",
	ErrUnaligned: "pagetable: address or size is not page aligned",
	ErrSize:      "pagetable: not a page size",
	ErrCorrupt:   "pagetable: page table holds an impossible entry",
}

// Error implements error.
func (e Error) Error() string {
	if int(e) < len(errorText) && e != 0 {
		return errorText[e]
	}
	return "pagetable: unknown error"
}

// Leaf is one mapped page.
type Leaf struct {
	VA, PA   uint64 // first byte of the page
	Size     uint64 // bytes
	Prot     Prot
	Accessed bool
	Dirty    bool
	Entry    uint64
}
