//go:build amd64

package ring0

import "sync/atomic"

// TLBBroadcast says whether FlushRange reaches all CPUs by itself. Here every CPU has to do it.
const TLBBroadcast = false

// SetKernelRoot sets the root page table (GPA) that CPUs load when they leave the boot tables.
func SetKernelRoot(root uint64) { kernelRoot = root }

// KernelRoot is that root.
func KernelRoot() uint64 { return kernelRoot }

// LoadRoot switches this CPU to another address space.
func LoadRoot(root uint64) {
	c := currentCPU()
	atomic.StoreUint64(&c.root, root)
	writeCR3(root)
}

// Root is the root that this CPU has loaded.
func Root() uint64 { return currentCPU().root }

// RootOf is the root that a CPU has loaded or is about to load. Whoever changed a page table
// and then finds another root here need not ask that CPU for a flush: it stores its next root
// before it loads it. Any CPU.
func RootOf(index int) uint64 {
	a := atomic.LoadUint64(&areas[index])
	if a == 0 {
		return 0
	}
	return atomic.LoadUint64(&(*cpu)(pointer(a)).root)
}

// FlushRange removes translations of [va, va+size) from this CPU's TLB, global ones included. A
// long range of user or heap addresses empties the TLB instead.
func FlushRange(va, size uint64) {
	const few = 32
	if size <= few*pageSize {
		for end := va + size; va < end; va += pageSize {
			invlpg(va)
		}
		return
	}
	writeCR3(readCR3()) // nothing that is ever flushed is mapped global
}

// FlushUser is for CPUs with TLBBroadcast; here it removes translations of [va, va+size) from this CPU's TLB.
func FlushUser(root, va, size uint64) { FlushRange(va, size) }

// ForgetRoot is for CPUs whose TLB keeps translations of roots that are not loaded: not here.
func ForgetRoot(root uint64) {}

// TableBarrier makes new page-table entries visible to the table walker: amd64 needs nothing.
func TableBarrier() {}

// SyncCode makes instructions just written to [va, va+size) visible to instruction fetch of
// all CPUs: amd64 keeps its caches coherent.
func SyncCode(va, size uint64) {}
