package inject

import (
	"sync/atomic"

	"ringo/guestkernel/nucleus"
	"ringo/internal/debugwindow"
)

func init() {
	builders["double-alloc"] = onConnect(doubleAlloc)
	builders["freed-stack"] = onConnect(freedStack)
	builders["wide-store"] = onConnect(wideStore)
	builders["silent-zero"] = onConnect(func(v *victim) { clearWord(at[uint64](v.spareOr())) })
	builders["wild-write"] = onConnect(func(v *victim) { storeWord(at[uint64](v.spareOr()), 0x0123456789abcdef) })
	builders["wait-node"] = onConnect(waitNodePlant)
	builders["wrong-data"] = onConnect(wrongData)
	builders["stale-mapping"] = staleMapping
	builders["dma-read"] = onConnect(func(v *victim) { v.device() })
	builders["dma-ring"] = onConnect(func(v *victim) { v.device() })
	builders["bad-frame"] = badFrame
	builders["exhaust-stack"] = onConnect(exhaustStackPlant)
	if hasBackward {
		builders["backward-rep"] = onConnect(backwardRep)
	}
	if hasEventStack {
		builders["wrong-rsp0"] = onConnect(func(v *victim) { interruptOn(v.eventTop()) })
	}
	if hasAccessed {
		builders["page-table"] = pageTable
	}
}

// page is a frame's contents.
type page [4096]byte

// doubleAlloc: the free list has a page that is somebody's stack, and the idle loop clears pages ahead of their use.
func doubleAlloc(v *victim) {
	next := v.stack.Hi &^ 4095
	if next == v.stack.Hi {
		next -= 4096
	}
	if v.control {
		next = v.stack.Lo // the page below: nothing of the sleeper's is in it
	}
	cleared := make(chan struct{})
	go func() {
		prezeroPage(next)
		close(cleared)
	}()
	<-cleared
}

//go:noinline
func prezeroPage(addr uint64) { *at[page](addr) = page{} }

// freed is the stack that an exit has given back too early; whoever connects next gets it.
var freed Stack

func freedStack(v *victim) {
	freed = Stack{Lo: v.stack.Lo, Hi: v.stack.Hi}
	if v.control { // a stack that is nobody's
		freed = Stack{Lo: stacks[numStacks-1].Lo, Hi: stacks[numStacks-1].Hi}
	}
	v.client.Slot().SetG(freed.G())
	start(&freed, connectOnFreed, 1)
	v.client.Slot().SetG(0)
}

//go:noinline
func connectOnFreed(generation uint64) {
	var half [16]uint64
	for i := range half {
		half[i] = generation
	}
	if sum(&half) != generation*uint64(len(half)) {
		panic("inject: the connection's own frame is damaged")
	}
}

//go:noinline
func sum(half *[16]uint64) (n uint64) {
	for _, h := range half {
		n += h
	}
	return n
}

// wideStore: a vector store clears an object of which only the first 8 bytes are left before the saved frame.
func wideStore(v *victim) {
	to := v.stack.SP - 8
	if v.control {
		to = v.stack.SP - wideSize
	}
	wide(to)
}

//go:noinline
func clearWord(to *uint64) { *to = 0 }

//go:noinline
func storeWord(to *uint64, value uint64) { *to = value }

// waitNode is what a sleeper leaves on its stack for who wakes it.
type waitNode struct{ woken, by uint32 }

// wake is what a waker has the right to do.
//
//go:noinline
func (n *waitNode) wake(by uint32) {
	atomic.StoreUint32(&n.by, by)
	atomic.StoreUint32(&n.woken, 1)
}

func waitNodePlant(v *victim) {
	if v.control { // nobody waits
		return
	}
	at[waitNode](v.stack.Hi - spareWord).wake(uint32(v.client.TID()))
}

// actions is a table that two tasks share although each should have its own.
var actions [4]uint64

// wrongData: the code that delivers is right, what it delivers is another's.
func wrongData(v *victim) {
	actions[2] = 0x0000_7f00_dead_0000 + uint64(v.client.TID())
	deliver(at[uint64](v.spareOr()), &actions[2])
}

//go:noinline
func deliver(to, from *uint64) { *to = *from }

// badFrame: the context switch saves its frame in the wrong order.
func badFrame(i *Injector) (hooks, error) {
	h, err := onConnect(func(*victim) {})(i)
	if err == nil && !i.control {
		h.saved = func(s *Stack) { swapSaved(at[[savedWords]uint64](s.SP)) }
	}
	return h, err
}

// swapSaved exchanges the return address with a word of the frame that is none.
//
//go:noinline
func swapSaved(frame *[savedWords]uint64) {
	for i := range savedWords {
		if frame[i] < 4096 {
			frame[i], frame[savedWords-1] = frame[savedWords-1], frame[i]
			return
		}
	}
	frame[savedWords-1] ^= 0xff00_0000_0000
}

func exhaustStackPlant(v *victim) {
	depth := uint64(64)
	if v.control {
		depth = 8
	}
	v.run(v.client, func(n uint64) { exhaustStack(n) }, depth)
}

// exhaustStack calls itself, 256 bytes and more each time.
//
//go:noinline
func exhaustStack(depth uint64) uint64 {
	var frame [32]uint64
	for i := range frame {
		frame[i] = depth
	}
	if depth == 0 {
		return frame[7]
	}
	return exhaustStack(depth-1) + frame[depth%32]
}

// record lies at the low end of the stack above the server's, as a thread's data does in kernels that keep it there.
const recordSize = 512

// backwardRep: the direction flag of user mode came into the kernel.
func backwardRep(v *victim) {
	record := v.stack.Hi
	if v.control { // far enough from the stack below
		record += 2 * recordSize
	}
	backward(record, recordSize)
}

// eventTop is where the TSS says that the CPU pushes its frame.
func (v *victim) eventTop() uint64 {
	if v.control {
		return v.stack.SP - 256 // in its unused part
	}
	return v.stack.Hi
}

// physical is the GPA of an address on a fixed stack.
func (i *Injector) physical(gva uint64) uint64 { return i.pool.block + gva - stacks[0].Lo }

// device asks the monitor for a device's mistake: dma-read stores into the sleeping stack what belongs elsewhere, dma-ring writes a
// used ring entry past the end of the ring.
func (v *victim) device() {
	if v.control {
		nucleus.Doorbell(debugwindow.Bell(debugwindow.BellMark, uint32(v.physical(v.stack.Lo)>>12)))
		return
	}
	nucleus.Doorbell(debugwindow.Bell(debugwindow.BellMark, uint32(v.physical(v.stack.Hi-1)>>12)))
}
