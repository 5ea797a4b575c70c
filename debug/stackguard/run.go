package stackguard

import (
	"ringo/debug/hit"
	"ringo/debug/report"
)

// run is a loop that stores side by side, from one instruction or a few: an array that is cleared or copied. It is followed through the parts of a
// stack that nobody minds, so that a report says how much was written in all.
type run struct {
	pc     uint64 // of the last store
	lo, hi uint64 // GVA
	stores int
}

// loopSize is how far the instructions of a loop lie from each other at most, bytes of code: it may be unrolled.
const loopSize = 256

// goesOn enters a store, and says whether it belongs to the loop.
func (r *run) goesOn(w *hit.Write) bool {
	lo, n := w.WholeGVA, uint64(w.WholeLen)
	if lo == 0 || n == 0 {
		lo, n = w.GVA, uint64(w.Len)
	}
	hi := lo + n
	near := r.stores > 0 && w.PC-r.pc+loopSize <= 2*loopSize
	switch {
	case near && lo >= r.lo && hi <= r.hi && w.PC == r.pc: // another part of a store that crosses pages
	case near && lo == r.hi:
		r.hi = hi
		r.stores++
	case near && hi == r.lo:
		r.lo = lo
		r.stores++
	default:
		*r = run{w.PC, lo, hi, 1}
		return false
	}
	r.pc = w.PC
	return r.stores > 1
}

// runs are the last loops, by their goroutines: these move between vCPUs, and others store meanwhile.
type runs map[uint64]*run

// maxRuns bounds the loops that are remembered.
const maxRuns = 16

// of enters a store into the loop of its goroutine, and answers it when the store belongs to one; else nil.
func (l runs) of(w *hit.Write) *run {
	if w.VCPU < 0 || !w.Kind.ByInstruction() || w.Kind == hit.RepString || w.GVA == 0 || w.Registers.User {
		return nil
	}
	r := l[w.Registers.Goroutine]
	if r == nil {
		if len(l) >= maxRuns {
			clear(l)
		}
		r = new(run)
		l[w.Registers.Goroutine] = r
	}
	if !r.goesOn(w) {
		return nil
	}
	return r
}

// describe makes the event say what the whole loop has written until now.
func (r *run) describe(e *report.Event) {
	if r != nil && r.stores > 1 {
		e.GVA, e.Len, e.Stores = report.Address(r.lo), r.hi-r.lo, r.stores
	}
}
