package stackguard

import (
	"ringo/debug/hit"
	"ringo/debug/report"
)

// run is a loop that stores side by side, from one instruction or a few: an array that is cleared or copied. It is followed through the parts of a
// stack that nobody minds, so that a report says how much was written in all.
type run struct {
	vcpu   int
	pc     uint64 // of the last store
	lo, hi uint64 // GVA
	stores int
}

// loopSize is how far the instructions of a loop lie from each other at most, bytes of code: it may be unrolled.
const loopSize = 256

// goesOn enters a store, and says whether it belongs to the loop.
func (r *run) goesOn(w *hit.Write) bool {
	if w.VCPU < 0 || !w.Kind.ByInstruction() || w.Kind == hit.RepString || w.GVA == 0 {
		*r = run{}
		return false
	}
	lo, n := w.WholeGVA, uint64(w.WholeLen)
	if lo == 0 || n == 0 {
		lo, n = w.GVA, uint64(w.Len)
	}
	hi := lo + n
	near := r.stores > 0 && r.vcpu == w.VCPU && w.PC-r.pc+loopSize <= 2*loopSize
	switch {
	case near && lo >= r.lo && hi <= r.hi && w.PC == r.pc: // another part of a store that crosses pages
	case near && lo == r.hi:
		r.hi = hi
		r.stores++
	case near && hi == r.lo:
		r.lo = lo
		r.stores++
	default:
		*r = run{w.VCPU, w.PC, lo, hi, 1}
		return false
	}
	r.pc = w.PC
	return r.stores > 1
}

// describe makes the event say what the whole loop has written until now.
func (r *run) describe(e *report.Event) {
	if r.stores > 1 {
		e.GVA, e.Len, e.Stores = report.Address(r.lo), r.hi-r.lo, r.stores
	}
}
