package inject

import (
	"runtime"
	"sync/atomic"

	"ringo/guestkernel/nucleus"
	"ringo/guestkernel/task"
)

// Plants that damage data with a name: a watchpoint on the symbol sees them. The program is any that calls prctl(2) with planted as
// its option ("poke"): that is where the plant acts.

// planted is the option of prctl(2), and option its argument: what poke.c passes.
const plantedOption = 0x52494e47 // "RING"

// onPoke makes the hooks of a plant that acts when a program calls prctl(planted, arg).
func onPoke(bug func(i *Injector, t *task.Task, arg uint64)) func(*Injector) (hooks, error) {
	return func(i *Injector) (hooks, error) {
		return hooks{before: map[string]func(*task.Task, [6]uint64){
			"prctl": func(t *task.Task, args [6]uint64) {
				if args[0] == plantedOption {
					bug(i, t, args[1])
				}
			},
		}}, nil
	}
}

func init() {
	builders["copy-8"] = onPoke(copyPlant)
	builders["lockstep"] = onPoke(lockstepPlant)
	builders["irq-storm"] = onPoke(lockstepPlant)
	builders["page-crossing"] = onPoke(crossingPlant)
	builders["heap-after"] = onPoke(func(i *Injector, _ *task.Task, _ uint64) { fillObject(&arena.object, i.size(objectSize+1)) })
	builders["heap-before"] = onPoke(heapBefore)
	builders["heap-uaf"] = onPoke(useAfterFree)
	builders["list-corrupt"] = onPoke(listPlant)
}

// size is a size that is right in the control.
func (i *Injector) size(wrong int) int {
	if i.control {
		return objectSize
	}
	return wrong
}

// shortBuffer is what a 4-byte copy goes to; the second half is another's.
var shortBuffer [2]uint32

func copyPlant(i *Injector, _ *task.Task, arg uint64) {
	if i.control {
		copyShort(&shortBuffer[0], uint32(arg))
		return
	}
	copyLong(at[uint64](addressOf(&shortBuffer[0])), arg|arg<<32)
}

//go:noinline
func copyShort(to *uint32, value uint32) { *to = value }

//go:noinline
func copyLong(to *uint64, value uint64) { *to = value }

// counters has two words side by side that two tasks count up in lockstep, with more than a page on either side: where
// whole pages are watched, nothing else is on theirs. middle is the first one's index.
var counters, unwatched [3 * 512]uint64

const middle = 512

// Rounds of lockstep.
const rounds = 1000

func lockstepPlant(i *Injector, _ *task.Task, who uint64) {
	to := &counters
	if i.control {
		to = &unwatched
	}
	mine := &to[middle+who&1]
	countUp(mine, &to[middle+1-who&1])
	if *mine != rounds {
		panic("inject: a counter was counted up by somebody else")
	}
}

// countUp waits for the other before each round, so that both store to the page at the same time; alone, it does not wait for long.
//
//go:noinline
func countUp(mine, other *uint64) {
	for n := uint64(1); n <= rounds; n++ {
		for spin := 0; atomic.LoadUint64(other)+1 < n && spin < 1000; spin++ {
			runtime.Gosched()
		}
		atomic.StoreUint64(mine, n)
	}
}

// twoPages has a boundary between pages that hold nothing else, in its bytes from 4096 to 20480; otherPages is the control's.
var twoPages, otherPages [6 * 4096]byte

// crossing is the address of the word that crosses, 4 bytes before the boundary, which depends on where the variable lies.
func crossing(pages *[6 * 4096]byte) uint64 {
	return (addressOf(&pages[0])+3*4096-1)&^4095 - 4
}

func crossingPlant(i *Injector, _ *task.Task, _ uint64) {
	to := crossing(&twoPages)
	if i.control {
		to = crossing(&otherPages)
	}
	crossPages(to)
	if *at[uint64](to) != 0x1122334455667788 || *at[uint64](to + 8) != 0 || *at[uint32](to + 16) != 1 {
		panic("inject: the bytes at the page boundary are not what was stored")
	}
}

// objectSize is the size of the object in arena.
const objectSize = 64

// arena is a heap of one object between two others.
var arena struct {
	before [objectSize]byte
	object [objectSize]byte
	after  [objectSize]byte
}

//go:noinline
func fillObject(object *[objectSize]byte, n int) {
	p := addressOf(&object[0])
	for i := range uint64(n) {
		*at[byte](p + i) = 0x6b
	}
}

func heapBefore(i *Injector, _ *task.Task, _ uint64) {
	p := addressOf(&arena.object[0])
	if !i.control {
		p--
	}
	storeByte(at[byte](p), 0x6b)
}

//go:noinline
func storeByte(to *byte, v byte) { *to = v }

// session is an object that is given back and given out again. Its state says to whom it belongs, or that it is closed.
var session struct {
	owner uint64
	state uint64
}

// States of session.
const (
	firstOwners  = 1
	secondOwners = 2
	closed       = 0xdead
)

//go:noinline
func openSession(owner, state uint64) { session.owner, session.state = owner, state }

//go:noinline
func closeSession(s *struct{ owner, state uint64 }) {
	s.state = closed
}

func useAfterFree(i *Injector, t *task.Task, _ uint64) {
	old := &session
	openSession(uint64(t.TID()), firstOwners)
	closeSession(old) // given back,
	openSession(1, secondOwners)
	if !i.control {
		closeSession(old) // and another's now
	}
}

// node is an element of a list whose neighbours do not name each other.
type node struct{ next, prev uint64 }

// stranger is an element of another list.
var list struct{ head, tail, added, stranger node }

func listPlant(i *Injector, _ *task.Task, _ uint64) {
	h, t := addressOf(&list.head), addressOf(&list.tail)
	list.head, list.tail = node{t, t}, node{h, h}
	if !i.control {
		list.head.next = addressOf(&list.stranger) // corrupted before
	}
	insertAfter(&list.head, &list.added)
}

//go:noinline
func insertAfter(at1 *node, n *node) {
	next := at[node](at1.next)
	n.next, n.prev = at1.next, addressOf(at1)
	next.prev = addressOf(n)
	at1.next = addressOf(n)
}

// log is for plants that have something to say.
func logLine(s string) { nucleus.LogWrite([]byte("inject: " + s + "\n")) }
