//go:build arm64

package ring0

import "sync/atomic"

// TLBBroadcast says whether FlushRange reaches all CPUs by itself. It does here: no IPI is needed.
const TLBBroadcast = true

// SetKernelRoot sets the root page table (GPA) that CPUs load when they leave the boot tables.
func SetKernelRoot(root uint64) { kernelRoot = root }

// KernelRoot is that root.
func KernelRoot() uint64 { return kernelRoot }

// LoadRoot switches this CPU to another address space.
func LoadRoot(root uint64) {
	atomic.StoreUint64(&currentCPU().root, root)
	loadRoot(root)
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

// FlushUser removes user translations of [va, va+size) from this CPU's TLB only. That is enough when no other
// CPU has the root loaded: user translations do not survive a change of root.
func FlushUser(va, size uint64) {
	const few = 64
	if size <= few*pageSize {
		first := va / pageSize
		invalidateLocal(first, (va+size+pageSize-1)/pageSize-first)
		return
	}
	invalidateUser()
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
