//go:build arm64

package ring0

import "sync/atomic"

// TLBBroadcast says whether FlushRange reaches all CPUs by itself. It does here: no IPI is needed.
const TLBBroadcast = true

// SetKernelRoot sets the root page table (GPA) that CPUs load when they leave the boot tables.
func SetKernelRoot(root uint64) { kernelRoot = root }

// KernelRoot is that root.
func KernelRoot() uint64 { return kernelRoot }

// Address space identifiers. Every CPU numbers the roots it enters user mode with by itself: a new root gets
// the next ASID, and cpu.asids remembers it. Translations of a root that a CPU has left stay in its TLB under
// that ASID; whoever makes them stale only makes the CPU forget the number (FlushUser), and no
// invalidation is needed before the numbers run out. That matters where CPUs are emulated: there an
// invalidation, which KVM turns into a broadcast (HCR_EL2.FB), stops every CPU. ASID 0 is the kernel root's.
const asidSlots = 64 // a power of two; user.s takes 6 bits of the frame number

// asidLimit is the first number that is no ASID.
var asidLimit uint64 = 1 << 8

func initASIDs() {
	const bits16 = 2
	if memoryFeatures()>>4&0xf == bits16 {
		asidLimit = 1 << 16
	}
}

// forget makes c number root anew when it enters it the next time. Any CPU.
func (c *cpu) forget(root uint64) {
	slot := &c.asids[root/pageSize%asidSlots]
	for {
		v := atomic.LoadUint64(slot)
		if v&(1<<48-1) != root || atomic.CompareAndSwapUint64(slot, v, 0) {
			return
		}
	}
}

// LoadRoot switches this CPU to the kernel root.
func LoadRoot(root uint64) {
	c := currentCPU()
	atomic.StoreUint64(&c.root, root)
	if c == &bootCPU {
		loadRoot(root)
		return
	}
	switchRoot(root)
}

// Root is the root that this CPU has loaded.
func Root() uint64 { return currentCPU().root }

// RootOf is the root that a CPU has loaded or is about to load: it stores its next root before
// it loads it. Any CPU.
func RootOf(index int) uint64 {
	a := atomic.LoadUint64(&areas[index])
	if a == 0 {
		return 0
	}
	return atomic.LoadUint64(&(*cpu)(pointer(a)).root)
}

// FlushRange removes translations of [va, va+size) from the TLBs of all CPUs, global ones included,
// and returns when none is in use any more. A long range empties the TLBs instead.
func FlushRange(va, size uint64) {
	const few = 64
	if size <= few*pageSize {
		first := va / pageSize
		invalidatePages(first, (va+size+pageSize-1)/pageSize-first)
		return
	}
	invalidateAll()
}

// FlushUser makes sure that no CPU uses a translation of [va, va+size) in a user root that was in force before
// the call. CPUs that are not in the address space forget its ASID. Handlers only.
func FlushUser(root, va, size uint64) {
	syncTables()
	me := currentCPU()
	elsewhere := false
	for i := range areas {
		a := atomic.LoadUint64(&areas[i])
		if a == 0 {
			break
		}
		c := (*cpu)(pointer(a))
		if c == me {
			continue
		}
		// A CPU that announces the root after the second look finds its ASID forgotten.
		if atomic.LoadUint64(&c.root) != root {
			c.forget(root)
		}
		if atomic.LoadUint64(&c.root) == root {
			elsewhere = true
		}
	}
	if elsewhere {
		FlushRange(va, size)
		return
	}
	me.forget(root)
	if me.root == root {
		LoadRoot(kernelRoot)
	}
}

// ForgetRoot makes all CPUs forget a root that none has loaded: its frame may become another root.
func ForgetRoot(root uint64) {
	for i := range areas {
		a := atomic.LoadUint64(&areas[i])
		if a == 0 {
			break
		}
		(*cpu)(pointer(a)).forget(root)
	}
}

// TableBarrier makes new page-table entries visible to the table walkers.
func TableBarrier() { syncTables() }

// cacheLine is the size of the smallest data cache line in bytes. Hypervisors trap reads of CTR_EL0, so it
// is read once.
var cacheLine uint64

func initCaches() {
	const minLineMask = 0xf // CTR_EL0.DminLine: log2 of the words in the smallest line
	cacheLine = 4 << (cacheType() >> 16 & minLineMask)
}

// SyncCode makes instructions just written to [va, va+size) visible to instruction fetch of
// all CPUs, at whatever addresses they are mapped. va is in the direct map.
func SyncCode(va, size uint64) { cleanLines(va&^(cacheLine-1), va+size, cacheLine) }
