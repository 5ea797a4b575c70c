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

// counters are two words side by side that two tasks count up in lockstep.
var counters [2]uint64

// Rounds of lockstep.
const rounds = 1000

func lockstepPlant(i *Injector, _ *task.Task, who uint64) {
	to := &counters
	if i.control {
		to = &unwatched
	}
	countUp(&to[who&1], &to[1-who&1])
}

// unwatched is where the control counts.
var unwatched [2]uint64

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

// twoPages holds a page boundary; crossing is the address 4 bytes before it.
var twoPages [3 * 4096]byte

// Crossing is the offset in twoPages of the word that crosses: it depends on where the variable lies.
func crossing() uint64 {
	base := addressOf(&twoPages[0])
	return (base+2*4096-1)&^4095 - 4
}

func crossingPlant(i *Injector, _ *task.Task, _ uint64) {
	to := crossing()
	if i.control {
		to -= 1024
	}
	crossPages(to)
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

// session is an object that is given back and given out again.
var session struct {
	owner uint64
	state uint64
}

func useAfterFree(i *Injector, t *task.Task, _ uint64) {
	old := &session // allocated
	session.owner = uint64(t.TID())
	if i.control {
		closeSession(old)
		return
	}
	session.owner = 0 // freed,
	session.owner = 1 // and another's now
	closeSession(old)
}

//go:noinline
func closeSession(s *struct{ owner, state uint64 }) {
	s.state = 0xdead
}

// node is an element of a list whose neighbours do not name each other.
type node struct{ next, prev uint64 }

var list struct{ head, tail, added node }

func listPlant(i *Injector, _ *task.Task, _ uint64) {
	h, t := addressOf(&list.head), addressOf(&list.tail)
	list.head, list.tail = node{t, t}, node{h, h}
	if !i.control {
		list.head.next = addressOf(&list.added) + 8 // corrupted before
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
