package trace

import "ringo/internal/tracewindow"

// emit records an event of the task, if the flight recorder is on.
func (s *Slot) emit(kind tracewindow.Kind, code uint16, a0, a1, a2, a3 uint64) {
	if r := s.r; r.rings != nil && r.rings.On() {
		r.rings.Emit(r.cpu(), r.counter(), kind, code, s.e.TID, a0, a1, a2, a3)
	}
}

// tellCall records the system call in progress, once. A call that does not sleep is one event, at its end: most calls cost half
// as much so.
func (s *Slot) tellCall() {
	r := s.r
	if r.rings == nil || !r.rings.On() || s.told || s.e.Call == 0 {
		return
	}
	s.told = true
	a := &s.e.Args
	if s.entered == 0 {
		s.entered = r.counter() // it sleeps: its time counts from here
	}
	r.rings.Call(s.entered, tracewindow.Head(tracewindow.Enter, r.cpu(), uint16(s.e.Call-1), s.e.TID), a[0], (*[4]uint64)(a[1:]), uint32(a[5]))
}

// tell records the task's name.
func (s *Slot) tell(parent int, name string) {
	lo, hi := text(name)
	s.emit(tracewindow.Task, 0, uint64(s.e.PID), uint64(parent), lo, hi)
}

// Fault records a page fault of user mode at addr; access is mm.Prot's, pc the instruction's.
func (s *Slot) Fault(addr uint64, access uint8, pc uint64) {
	if s != nil {
		s.emit(tracewindow.Fault, 0, addr, uint64(access), pc, 0)
	}
}

// Signal records that a signal is delivered: its si_code and the handler (0: the default action).
func (s *Slot) Signal(sig int, code int32, handler uint64) {
	if s != nil {
		s.emit(tracewindow.Signal, uint16(sig), uint64(int64(code)), handler, 0, 0)
	}
}

// Mark records a text of up to 32 bytes.
func (s *Slot) Mark(mark string) {
	if s == nil {
		return
	}
	a, b := text(mark)
	c, d := text(mark[min(16, len(mark)):])
	s.emit(tracewindow.Mark, 0, a, b, c, d)
}

// text is the first sixteen bytes of s as two fields.
func text(s string) (lo, hi uint64) {
	for i := range min(len(s), 16) {
		if i < 8 {
			lo |= uint64(s[i]) << (8 * i)
		} else {
			hi |= uint64(s[i]) << (8 * (i - 8))
		}
	}
	return lo, hi
}
