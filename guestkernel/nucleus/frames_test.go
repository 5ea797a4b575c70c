package nucleus

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

const testBase = 0x4000_0000

// newAllocator makes an allocator for n frames at testBase whose records lie in the test's memory.
func newAllocator(t *testing.T, n uint64) *frameAllocator {
	t.Helper()
	records := make([]frameRecord, n)
	a := new(frameAllocator)
	if !a.addRegion(testBase, n<<pageShift, uintptr(unsafe.Pointer(&records[0]))) {
		t.Fatal("no room for a region")
	}
	a.addFree(testBase, n<<pageShift)
	violateHook, violations = 1, 0
	t.Cleanup(func() {
		violateHook = 0
		_ = records[0] // the allocator holds its address only
	})
	return a
}

func TestFramesAreDisjointAndComeBack(t *testing.T) {
	const n = 1<<MaxOrder + 4321
	a := newAllocator(t, n)
	rng := rand.New(rand.NewPCG(1, 2))
	type block struct {
		phys  uint64
		order uint
	}
	var have []block
	owner := map[uint64]bool{} // the slow, obviously right reference: frames in use
	for range 20000 {
		if rng.IntN(2) == 0 {
			order := uint(rng.IntN(8))
			phys, ok := a.alloc(order, OwnerUser)
			if !ok {
				continue
			}
			if phys&(pageSize<<order-1) != 0 {
				t.Fatalf("block %#x of order %d is not aligned", phys, order)
			}
			for f := range uint64(1) << order {
				if owner[phys+f*pageSize] {
					t.Fatalf("frame %#x was handed out twice", phys+f*pageSize)
				}
				owner[phys+f*pageSize] = true
			}
			have = append(have, block{phys, order})
		} else if len(have) > 0 {
			i := rng.IntN(len(have))
			b := have[i]
			a.free(b.phys, b.order)
			for f := range uint64(1) << b.order {
				delete(owner, b.phys+f*pageSize)
			}
			have[i] = have[len(have)-1]
			have = have[:len(have)-1]
		}
		if a.freeFrames != n-uint64(len(owner)) {
			t.Fatalf("%d frames free, want %d", a.freeFrames, n-uint64(len(owner)))
		}
	}
	for _, b := range have {
		a.free(b.phys, b.order)
	}
	if a.freeFrames != n || violations != 0 {
		t.Fatalf("%d of %d frames free at the end, %d violations", a.freeFrames, n, violations)
	}
	if _, ok := a.alloc(MaxOrder, OwnerUser); !ok {
		t.Error("the freed blocks have not merged into one of the largest order")
	}
}

func TestFramesExhaust(t *testing.T) {
	a := newAllocator(t, 10)
	for i := range 10 {
		if _, ok := a.alloc(0, OwnerHeap); !ok {
			t.Fatalf("no frame %d of 10", i)
		}
	}
	if phys, ok := a.alloc(0, OwnerHeap); ok {
		t.Errorf("an eleventh frame %#x of 10", phys)
	}
	if a.owned[OwnerHeap] != 10 || a.freeFrames != 0 {
		t.Errorf("owned %d, free %d", a.owned[OwnerHeap], a.freeFrames)
	}
}

func TestFrameViolationsAreSeen(t *testing.T) {
	tests := []struct {
		name string
		do   func(a *frameAllocator, phys uint64)
	}{
		{"free twice", func(a *frameAllocator, phys uint64) { a.free(phys, 1); a.free(phys, 1) }},
		{"free inside a block", func(a *frameAllocator, phys uint64) { a.free(phys+pageSize, 0) }},
		{"free with a wrong order", func(a *frameAllocator, phys uint64) { a.free(phys, 0) }},
		{"free unaligned", func(a *frameAllocator, phys uint64) { a.free(phys+8, 1) }},
		{"free what is referenced", func(a *frameAllocator, phys uint64) { *a.refs(phys) = 2; a.free(phys, 1) }},
		{"free what is not RAM", func(a *frameAllocator, phys uint64) { a.free(0, 0) }},
		{"reference to a free frame", func(a *frameAllocator, phys uint64) {
			a.free(phys, 1)
			*a.refs(phys) = 1
			for range 4 {
				a.alloc(1, OwnerUser)
			}
		}},
		{"owner of a free frame changed", func(a *frameAllocator, phys uint64) {
			a.free(phys, 1)
			r, i := a.find(phys)
			r.record(i + 1).owner = OwnerPageCache
			for range 4 {
				a.alloc(1, OwnerUser)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAllocator(t, 8)
			phys, ok := a.alloc(1, OwnerUser)
			if !ok {
				t.Fatal("no frames")
			}
			tt.do(a, phys)
			if violations == 0 {
				t.Error("nobody noticed")
			}
		})
	}
}

func TestSetOwnerMovesTheCount(t *testing.T) {
	a := newAllocator(t, 16)
	phys, _ := a.alloc(2, OwnerUser)
	if !a.setOwner(phys, OwnerPageCache) || a.owned[OwnerUser] != 0 || a.owned[OwnerPageCache] != 4 {
		t.Errorf("owned: user %d, page cache %d", a.owned[OwnerUser], a.owned[OwnerPageCache])
	}
	if a.setOwner(phys+pageSize, OwnerUser) || a.setOwner(phys, OwnerFree) || a.setOwner(0, OwnerUser) {
		t.Error("a bad change was accepted")
	}
	a.free(phys, 2)
	if a.owned[OwnerPageCache] != 0 {
		t.Errorf("%d page cache frames after the free", a.owned[OwnerPageCache])
	}
}
