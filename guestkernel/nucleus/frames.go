package nucleus

import (
	"sync/atomic"
	"unsafe"
)

// Owner says what a frame is used for. Every frame has one at any time.
type Owner uint8

// Owners.
const (
	OwnerFree      Owner = iota // in the allocator
	OwnerReserved               // kernel image, boot information, the frame records themselves
	OwnerNucleus                // thread state, CPU areas
	OwnerPageTable              // page tables, kernel and user
	OwnerHeap                   // the Go runtime's memory: heap, stacks, its own structures
	OwnerUser                   // anonymous user memory
	OwnerPageCache              // file contents
	OwnerContext                // UserContext
	OwnerDevice                 // rings and buffers that devices access
	OwnerStack                  // kernel stacks of fixed size
	numOwners
)

var ownerNames = [numOwners]string{"free", "reserved", "nucleus", "page table", "Go heap", "user", "page cache", "user context", "device", "kernel stack"}

// String is the owner's name in reports.
func (o Owner) String() string {
	if o < numOwners {
		return ownerNames[o]
	}
	return "invalid owner"
}

// Geometry of physical memory.
const (
	pageShift = 12
	pageSize  = 1 << pageShift
	// MaxOrder is the largest block the allocator keeps together: 2^MaxOrder frames.
	MaxOrder   = 14
	maxRegions = 4
	noFrame    = ^uint32(0)
)

// frameRecord describes one frame. The all-zero record is a free frame inside a free block, so
// that records need no initialisation: the monitor gives zeroed memory.
type frameRecord struct {
	next, prev uint32 // free list links (index in the region + 1, 0: end), for the first frame of a free block
	refs       uint32
	owner      Owner
	order      uint8 // of the block, for its first frame
	head       uint8 // first frame of a free (headFree) or allocated (headUsed) block
	_          uint8
}

const (
	headFree = 1
	headUsed = 2
)

// region is one run of RAM with the records of its frames. It holds addresses, no pointers:
// the nucleus must not write pointers to memory.
type region struct {
	base    uint64 // GPA
	frames  uint32
	records uintptr // GVA of [frames]frameRecord
	history uintptr // GVA of [frames]debugwindow.FrameHistory, 0: none is kept
	free    [MaxOrder + 1]uint32
}

// frameAllocator is a buddy allocator over a few regions. The nucleus lock guards everything
// but the reference counts, which are atomic. Reports of violations go to violate.
type frameAllocator struct {
	regions    [maxRegions]region
	numRegions int
	total      uint64 // frames that were ever given to the allocator
	freeFrames uint64
	owned      [numOwners]uint64 // frames by owner
	by         frameCaller
}

func (r *region) record(i uint32) *frameRecord {
	return (*frameRecord)(pointer(r.records + uintptr(i)*unsafe.Sizeof(frameRecord{})))
}

// addRegion makes RAM known, all of it reserved until addFree. records is zeroed memory for
// recordBytes(size).
func (a *frameAllocator) addRegion(base, size uint64, records uintptr) bool {
	if a.numRegions == maxRegions {
		return false
	}
	r := &a.regions[a.numRegions]
	a.numRegions++
	r.base, r.frames, r.records = base, uint32(size>>pageShift), records
	return true
}

func recordBytes(size uint64) uint64 {
	return (size>>pageShift*uint64(unsafe.Sizeof(frameRecord{})) + pageSize - 1) &^ (pageSize - 1)
}

// addFree gives a page-aligned range to the allocator in the largest aligned blocks.
func (a *frameAllocator) addFree(base, size uint64) {
	r, first := a.find(base)
	if r == nil {
		violate("range to free is not RAM", base)
		return
	}
	a.total += size >> pageShift
	for n := uint32(size >> pageShift); n > 0; {
		order := uint(0)
		for order < MaxOrder && first&(1<<(order+1)-1) == 0 && uint32(1)<<(order+1) <= n {
			order++
		}
		r.push(first, order)
		a.freeFrames += 1 << order
		first += 1 << order
		n -= 1 << order
	}
}

// find is the region and index of a frame, nil when phys is not RAM.
func (a *frameAllocator) find(phys uint64) (*region, uint32) {
	for i := range a.numRegions {
		r := &a.regions[i]
		if phys >= r.base && phys-r.base < uint64(r.frames)<<pageShift {
			return r, uint32((phys - r.base) >> pageShift)
		}
	}
	return nil, 0
}

// push puts a block at the front of its list: what was used last is used next.
func (r *region) push(i uint32, order uint) {
	rec := r.record(i)
	rec.next, rec.prev = r.free[order], 0
	rec.order, rec.head, rec.owner, rec.refs = uint8(order), headFree, OwnerFree, 0
	if rec.next != 0 {
		r.record(rec.next - 1).prev = i + 1
	}
	r.free[order] = i + 1
}

func (r *region) remove(i uint32) {
	rec := r.record(i)
	if rec.prev != 0 {
		r.record(rec.prev - 1).next = rec.next
	} else {
		r.free[rec.order] = rec.next
	}
	if rec.next != 0 {
		r.record(rec.next - 1).prev = rec.prev
	}
	rec.next, rec.prev, rec.head = 0, 0, 0
}

// alloc takes a block of 2^order frames with reference count 1 on its first frame. The
// contents are whatever was there. ok is false when there is none.
func (a *frameAllocator) alloc(order uint, owner Owner) (phys uint64, ok bool) {
	if order > MaxOrder || owner == OwnerFree || owner >= numOwners {
		return 0, false
	}
	for n := range a.numRegions {
		r := &a.regions[n]
		o := order
		for o <= MaxOrder && r.free[o] == 0 {
			o++
		}
		if o > MaxOrder {
			continue
		}
		i := r.free[o] - 1
		rec := r.record(i)
		if rec.owner != OwnerFree || rec.head != headFree || rec.refs != 0 {
			violate("frame in the free list is in use", r.base+uint64(i)<<pageShift)
			return 0, false
		}
		r.remove(i)
		for o > order {
			o--
			r.push(i+1<<o, o)
		}
		for f := i; f < i+1<<order; f++ {
			rec := r.record(f)
			if rec.owner != OwnerFree || rec.refs != 0 {
				violate("frame of a free block is in use", r.base+uint64(f)<<pageShift)
				return 0, false
			}
			rec.owner = owner
		}
		rec.order, rec.head = uint8(order), headUsed
		atomic.StoreUint32(&rec.refs, 1)
		a.freeFrames -= 1 << order
		a.owned[owner] += 1 << order
		if r.history != 0 {
			a.remember(r, i, order, owner)
		}
		return r.base + uint64(i)<<pageShift, true
	}
	return 0, false
}

// free takes a block back. It must be the whole block that alloc gave, not referenced by
// anybody else.
func (a *frameAllocator) free(phys uint64, order uint) {
	r, i := a.find(phys)
	if r == nil {
		violate("freed frame is not RAM", phys)
		return
	}
	rec := r.record(i)
	switch {
	case phys&(pageSize-1) != 0 || rec.head != headUsed || rec.owner == OwnerFree:
		violate("freed frame is not the start of an allocated block", phys)
		return
	case uint(rec.order) != order:
		violate("block freed with another order than it was allocated with", phys)
		return
	case atomic.LoadUint32(&rec.refs) > 1:
		violate("freed frame is still referenced", phys)
		return
	}
	if r.history != 0 {
		a.remember(r, i, order, OwnerFree)
	}
	rec.refs, rec.head = 0, 0
	for f := i; f < i+1<<order; f++ {
		rec := r.record(f)
		a.owned[rec.owner]--
		rec.owner = OwnerFree
	}
	a.freeFrames += 1 << order
	for order < MaxOrder {
		buddy := i ^ 1<<order
		if buddy >= r.frames || buddy+1<<order > r.frames {
			break
		}
		b := r.record(buddy)
		if b.head != headFree || uint(b.order) != order {
			break
		}
		r.remove(buddy)
		i &^= 1 << order
		order++
	}
	r.push(i, order)
}

// setOwner changes what an allocated block is for.
func (a *frameAllocator) setOwner(phys uint64, owner Owner) bool {
	r, i := a.find(phys)
	if r == nil || owner == OwnerFree || owner >= numOwners {
		return false
	}
	rec := r.record(i)
	if rec.head != headUsed {
		return false
	}
	for f := i; f < i+1<<rec.order; f++ {
		rec := r.record(f)
		a.owned[rec.owner]--
		rec.owner = owner
		a.owned[owner]++
	}
	return true
}

// refs is the reference count of a frame, nil when phys is not RAM. Atomic, no lock.
func (a *frameAllocator) refs(phys uint64) *uint32 {
	r, i := a.find(phys)
	if r == nil {
		return nil
	}
	return &r.record(i).refs
}

// reserve gives frames that are not in the allocator an owner.
func (a *frameAllocator) reserve(base, size uint64) {
	for ; size >= pageSize; base, size = base+pageSize, size-pageSize {
		if r, i := a.find(base); r != nil {
			r.record(i).owner = OwnerReserved
		}
	}
}
