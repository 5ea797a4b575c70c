package nucleus

import (
	"testing"
	"unsafe"

	"ringo/internal/debugwindow"
)

func TestHistoryNamesTheLastOnes(t *testing.T) {
	a := newAllocator(t, 16)
	history := make([]debugwindow.FrameHistory, 16)
	a.regions[0].history = uintptr(unsafe.Pointer(&history[0]))
	defer func() { _ = history[0] }()
	a.by = frameCaller{task: 7, cpu: 1, stack: [5]uint32{0x100, 0x200}}
	first, _ := a.alloc(1, OwnerUser)
	a.noCaller()
	at := (first - testBase) >> pageShift
	for _, h := range history[at : at+2] {
		if h.Allocated == 0 || h.AllocTask != 7 || h.AllocStack != [5]uint32{0x100, 0x200} || h.AllocOwner != uint8(OwnerUser) || h.AllocOrder != 1 || h.CPU != 1 || h.Allocs != 1 || h.Freed != 0 {
			t.Errorf("after alloc: %+v", h)
		}
	}
	a.by = frameCaller{task: 8, stack: [5]uint32{0x300}}
	a.free(first, 1)
	a.noCaller()
	if h := history[at+1]; h.Freed == 0 || h.FreeTask != 8 || h.FreeStack[0] != 0x300 || h.AllocTask != 7 {
		t.Errorf("after free: %+v", h)
	}
	again, _ := a.alloc(0, OwnerHeap)
	if h := history[(again-testBase)>>pageShift]; h.AllocTask != 0 || h.AllocOwner != uint8(OwnerHeap) {
		t.Errorf("allocated for the nucleus itself: %+v", h)
	}
	a.free(again, 0)
	if violations != 0 {
		t.Errorf("%d violations", violations)
	}
}
