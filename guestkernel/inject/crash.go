package inject

import (
	"unsafe"

	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
)

// Plants that end the machine by themselves, and those in the flight recorder.

func init() {
	builders["write-ro"] = onPoke(func(i *Injector, _ *task.Task, _ uint64) { storeByte(i.writable(addressOfString(readOnly)), 1) })
	builders["write-kern"] = onPoke(func(i *Injector, _ *task.Task, _ uint64) { storeByte(i.writable(codeAddress()), 0xcc) })
	builders["double-free"] = onPoke(doubleFree)
	builders["buddy-after-free"] = onPoke(buddyAfterFree)
	builders["corrupt-stack"] = onPoke(corruptStackPlant)
	builders["hang"] = onPoke(hangPlant)
	builders["trace-wrap"] = onPoke(traceWrap)
	builders["trace-corrupt"] = onPoke(traceCorrupt)
}

const readOnly = "a constant of the kernel"

// writable is an address that the plant may not write to, or one that the control may.
func (i *Injector) writable(wrong uint64) *byte {
	if i.control {
		return &arena.object[0]
	}
	return at[byte](wrong)
}

// freedOrder is the size of the blocks that are freed wrongly: 64 KiB, as another CPU would soon be given a single frame, and the second
// free be right again.
const freedOrder = 4

func doubleFree(i *Injector, _ *task.Task, _ uint64) {
	phys, err := nucleus.AllocFrames(freedOrder, nucleus.OwnerNucleus)
	if err != nil {
		return
	}
	releaseOnce(phys)
	if !i.control {
		releaseAgain(phys)
	}
}

//go:noinline
func releaseOnce(phys uint64) { nucleus.FreeFrames(phys, freedOrder) }

//go:noinline
func releaseAgain(phys uint64) { nucleus.FreeFrames(phys, freedOrder) }

// buddyAfterFree writes to the record of a frame that is free: the allocator's own checks meet it.
func buddyAfterFree(i *Injector, _ *task.Task, _ uint64) {
	phys, err := nucleus.AllocFrames(freedOrder, nucleus.OwnerNucleus)
	if err != nil {
		return
	}
	if i.control {
		nucleus.FreeFrames(phys, freedOrder)
		return
	}
	nucleus.FreeFrames(phys, freedOrder)
	nucleus.Ref(phys) // counts a reference to a frame that nobody has
}

// corruptStackPlant overwrites a return address on the stack it runs on.
func corruptStackPlant(i *Injector, t *task.Task, _ uint64) {
	past := uint64(8)
	if i.control {
		past = 0
	}
	i.run(t, corruptible, past)
}

// corruptible is the function whose return address is hit on arm64, where a frame has it at its low end.
//
//go:noinline
func corruptible(past uint64) {
	corruptStack(past)
}

//go:noinline
func corruptStack(past uint64) {
	var local [8]uint64
	p := addressOf(&local[0])
	for i := range uint64(len(local)) + past {
		*at[uint64](p + 8*i) = 0x4141_4141_4141_4141
	}
}

// neverSet is the word that the hang waits for.
var neverSet uint32

func hangPlant(i *Injector, _ *task.Task, _ uint64) {
	if i.control {
		neverSet = 1
	}
	spinMasked(&neverSet)
}

// traceWrap writes more events than the rings hold, with numbers that show which are the last.
func traceWrap(i *Injector, t *task.Task, _ uint64) {
	r := nucleus.Rings()
	if r == nil {
		logLine("the flight recorder is off: --trace FILE")
		return
	}
	n := 1 << 17 // four times what the monitor makes a ring for
	if i.control {
		n = 8
	}
	for range n {
		t.Slot().Mark("wrap")
	}
	t.Slot().Mark("end of wrap")
}

// traceCorrupt spoils the trace window's header.
func traceCorrupt(i *Injector, _ *task.Task, _ uint64) {
	w := nucleus.TraceWindow()
	if w == nil || i.control {
		return
	}
	for n := range 256 {
		w[n+8] = 0xff
	}
}

func addressOfString(s string) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.StringData(s)))) }

// codeAddress is in the kernel's code.
func codeAddress() uint64 {
	f := storeByte
	return **(**uint64)(unsafe.Pointer(&f)) + 1
}
