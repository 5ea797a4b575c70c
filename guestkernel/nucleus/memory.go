package nucleus

import (
	"golang.org/x/sys/unix"

	"ringo/internal/pagetable"
	"ringo/internal/tracewindow"
)

// tables is the memory of kernel page tables: frames in the direct map. It implements
// pagetable.Memory; the nucleus lock is held.
type tables struct{}

func (tables) Table(gpa uint64) *[pagetable.Entries]uint64 {
	return (*[pagetable.Entries]uint64)(pointer(uintptr(directMap + gpa)))
}

func (tables) AllocTable() (uint64, bool) {
	gpa, ok := k.frames.alloc(0, OwnerPageTable)
	if ok {
		zeroFrame(gpa)
	}
	return gpa, ok
}

func (tables) FreeTable(gpa uint64) { k.frames.free(gpa, 0) }

func kernelTable() table { return table{Root: k.root, Mem: tables{}} }

func zeroFrame(gpa uint64) { clear(memory(uintptr(directMap+gpa), pageSize)) }

// populate gives the page of a kernel heap address a zeroed frame. It answers false for an
// address that the runtime has not mapped accessible, and ends the machine when memory is exhausted.
func populate(addr uint64) bool {
	v, ok := k.vmas.find(addr)
	if !ok || !v.accessible {
		return false
	}
	k.counts.HeapFaults++
	phys, ok := k.frames.alloc(0, OwnerHeap)
	if !ok {
		fatalError("out of memory: no frame for the Go heap at", addr)
	}
	if tracing.On() {
		traceEvent(tracewindow.KernelFault, 0, addr, phys, 0, 0)
	}
	zeroFrame(phys)
	t := kernelTable()
	if err := t.Map(addr&^(pageSize-1), phys, pageSize, pagetable.Write); err != nil {
		if !alreadyMapped(err) {
			fatalError("no page table for the Go heap at", addr)
		}
		k.frames.free(phys, 0) // another CPU was faster
	}
	tableBarrier()
	return true
}

// alreadyMapped is err == pagetable.ErrMapped without the runtime's comparison of interfaces.
func alreadyMapped(err error) bool {
	e, ok := err.(pagetable.Error)
	return ok && e == pagetable.ErrMapped
}

// present makes [addr, addr+size) safe to touch by the nucleus, which must not fault: heap pages are
// populated, other addresses have to be in the kernel image, the direct map or the special region.
func present(addr, size uint64) bool {
	end := addr + size
	if end < addr {
		return false
	}
	if addr < heapBase || addr >= heapEnd {
		return addr >= directMap && (end <= heapBase || addr >= heapEnd)
	}
	if !k.vmas.covers(addr, end) {
		return false
	}
	t := kernelTable()
	for va := addr &^ (pageSize - 1); va < end; va += pageSize {
		if _, _, _, ok := t.Lookup(va); !ok && !populate(va) {
			return false
		}
	}
	return true
}

// releaseList collects frames between the removal of their last mapping and the end of the
// shootdown: linked through their own first word (they are being thrown away).
var releaseList uint64

func releaseLeaf(l pagetable.Leaf) {
	*(*uint64)(pointer(uintptr(directMap + l.PA))) = releaseList
	releaseList = l.PA | 1
}

// discard throws the pages of [start, end) away: they read as zero again.
func discard(start, end uint64) {
	releaseList = 0
	t := kernelTable()
	if err := t.Unmap(start, end-start, releaseLeaf); err != nil {
		fatalError("cannot unmap Go heap at", start)
	}
	if releaseList == 0 {
		return
	}
	shootdown(tlbRequest{va: start, size: end - start}, 0)
	for l := releaseList; l != 0; {
		phys := l &^ 1
		l = *(*uint64)(pointer(uintptr(directMap + phys)))
		k.frames.free(phys, 0)
	}
}

// Arguments of the mmap family (mmap(2), madvise(2)).
const (
	protNone        = 0
	mapFixed        = 0x10
	mapAnonymous    = 0x20
	madvDontNeed    = 4
	madvFree        = 8
	madvHugePage    = 14
	madvNoHugePage  = 15
	arenaAlign      = 64 << 20 // heapArenaBytes: an aligned reservation needs no trimming
	kernelHeapPages = pageSize
)

func sysMmap(addr, size, prot, flags uint64) int64 {
	size = (size + pageSize - 1) &^ (pageSize - 1)
	if size == 0 || flags&mapAnonymous == 0 {
		return -int64(unix.EINVAL)
	}
	if flags&mapFixed == 0 {
		align := uint64(pageSize)
		if size >= arenaAlign {
			align = arenaAlign
		}
		var ok bool
		if addr, ok = k.vmas.place(addr, size, align); !ok {
			return -int64(unix.ENOMEM)
		}
	} else if addr&(pageSize-1) != 0 || !k.vmas.inside(addr, addr+size) {
		return -int64(unix.EINVAL)
	} else {
		discard(addr, addr+size)
	}
	if !k.vmas.set(addr, addr+size, prot != protNone) {
		return -int64(unix.ENOMEM)
	}
	return int64(addr)
}

func sysMunmap(addr, size uint64) int64 {
	size = (size + pageSize - 1) &^ (pageSize - 1)
	if addr&(pageSize-1) != 0 || !k.vmas.inside(addr, addr+size) {
		return -int64(unix.EINVAL)
	}
	if !k.vmas.clear(addr, addr+size) {
		return -int64(unix.ENOMEM)
	}
	discard(addr, addr+size)
	return 0
}

func sysMadvise(addr, size, advice uint64) int64 {
	size = (size + pageSize - 1) &^ (pageSize - 1)
	if addr&(pageSize-1) != 0 || !k.vmas.inside(addr, addr+size) {
		return -int64(unix.EINVAL)
	}
	switch advice {
	case madvDontNeed, madvFree:
		discard(addr, addr+size)
		return 0
	case madvHugePage, madvNoHugePage:
		return 0
	}
	return -int64(unix.EINVAL)
}
