package mm

import "golang.org/x/sys/unix"

// Page geometry (both architectures run with 4 KiB pages) and the bounds of user space.
const (
	PageShift = 12
	PageSize  = 1 << PageShift
	pageMask  = PageSize - 1

	// UserTop is one past the highest user address: the last page below 2^47 stays free, as
	// on Linux (TASK_SIZE), so that user+length arithmetic meets a hole.
	UserTop = 1<<47 - PageSize
	// MinAddr is vm.mmap_min_addr.
	MinAddr = 1 << 16
)

// Prot is a set of access rights with mmap(2)'s values. It also names the kind of an access.
type Prot uint8

// Access rights.
const (
	Read  Prot = unix.PROT_READ
	Write Prot = unix.PROT_WRITE
	Exec  Prot = unix.PROT_EXEC
)

// effective is what the hardware can express: on both architectures a page that may be
// written or executed may be read.
func (p Prot) effective() Prot {
	if p != 0 {
		p |= Read
	}
	return p
}

// Frames is physical memory. The nucleus provides it; all methods may be called from any
// goroutine.
type Frames interface {
	// Alloc hands out one zeroed frame with a reference count of 1. The error is ENOMEM.
	Alloc() (phys uint64, err error)
	// Ref adds a reference to a frame the caller holds one of.
	Ref(phys uint64)
	// Unref drops a reference; the frame is freed with the last one.
	Unref(phys uint64)
	// RefCount is the number of references.
	RefCount(phys uint64) int
	// Bytes is the frame's content through the direct map: PageSize bytes.
	Bytes(phys uint64) []byte
}

// PageTable is the hardware page table of one address space. The space's lock is held
// around every call.
type PageTable interface {
	// Map enters one page, replacing what was there. A page entered with Exec must be
	// visible to instruction fetch when Map returns. No CPU uses a translation to another frame any more then; one to the
	// same frame with fewer rights may stay in TLBs: whoever meets it faults, and is told that the page is there.
	Map(va, phys uint64, prot Prot) error
	// Unmap removes the pages of [start, end). It does not flush.
	Unmap(start, end uint64)
	// Flush drops [start, end) from the TLB of every CPU that may run this address space, and
	// returns when no CPU uses an old translation any more.
	Flush(start, end uint64)
	// Root is the GPA to load into the CPU's page-table register.
	Root() uint64
	// Release frees the table's own frames. The table is not loaded on any CPU any more.
	Release()
}

// Hardware is the machine below the address spaces.
type Hardware interface {
	Frames
	// NewTable returns an empty user page table that shares the kernel half.
	NewTable() (PageTable, error)
}

// Object is memory that can be mapped by several address spaces: a file's page cache, shared
// anonymous memory, a device.
type Object interface {
	// Page returns the frame that holds the page at off (page aligned) with one reference
	// for the caller. write says that the caller will store through a shared mapping.
	// ErrBeyondEnd: no such page (the access ends in SIGBUS).
	Page(off uint64, write bool) (phys uint64, err error)
	// Attach and Detach count the VMAs of s that map the object; the object is alive in between.
	// Attach is called with the space locked and must not fault or lock a space. Detach is called without.
	Attach(s *Space)
	Detach(s *Space)
	// Identity is equal for objects that are the same memory (several may wrap one file).
	Identity() any
}

// Puncher is an Object that can give up the memory in its middle (MADV_REMOVE). It is called without any space locked;
// caller is what Remove was given.
type Puncher interface {
	Punch(caller any, off, length uint64) error
}

// ErrBeyondEnd is answered by Object.Page for an offset behind the last page.
var ErrBeyondEnd error = beyondEnd{}

type beyondEnd struct{}

func (beyondEnd) Error() string { return "page is behind the end of the mapped object" }

func pageDown(a uint64) uint64 { return a &^ pageMask }
func pageUp(a uint64) uint64   { return (a + pageMask) &^ pageMask }
