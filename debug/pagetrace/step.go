package pagetrace

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ringo/debug/hit"
	"ringo/internal/kvm"
	"ringo/internal/pagetable"
	"ringo/internal/store"
)

// maxAttempts bounds the repetitions of an exclusive store, and maxStuck the faults at one place that nothing explains,
// before all watched pages are opened for a step.
const maxAttempts, maxStuck = 16, 2

// Fault steps vCPU id over the instruction that met a closed page; machine.Tracer's.
func (e *Engine) Fault(id int) (handled bool, err error) {
	e.exits.Add(1)
	e.mu.Lock()
	ever := e.ever
	e.mu.Unlock()
	if !ever {
		return false, nil
	}
	v, err := e.emulate(id, false)
	if v == emulated || err != nil {
		e.explained(id)
		return true, err
	}
	err = e.c.Machine.Exclusive(id, func() error {
		if v == needsAlone {
			if v, err = e.emulate(id, true); v == emulated || err != nil {
				handled = true
				e.explained(id)
				return err
			}
		}
		handled, err = e.over(id, false)
		return err
	})
	return handled, err
}

// Carry carries out the instruction at which vCPU id stands, with Config.Around, interrupts kept away, and whatever closed pages
// it touches told. In an exclusive section.
func (e *Engine) Carry(id int) error {
	_, err := e.over(id, true)
	return err
}

// step is one instruction being stepped over.
type step struct {
	e      *Engine
	id     int
	r      *Registers // before it
	code   []byte
	in     store.Instruction
	kind   hit.Kind
	until  []uint64
	event  bool // the CPU delivers an exception or interrupt; no instruction is at work
	blind  bool // what it accesses is not known: everything is compared
	walked []uint64
	before map[uint64][]byte // pages that are open for it, as they were
	opened []uint64

	after   *Registers
	faulted bool // it ended in an exception of the guest
	stopped bool // the machine stopped before it was carried out
}

func (s *step) read(gva uint64, n int) []byte { return s.e.c.Memory.ReadVirtual(s.r, gva, n) }

// over is Fault in the exclusive section.
func (e *Engine) over(id int, asked bool) (handled bool, err error) {
	s := &step{e: e, id: id, before: make(map[uint64][]byte)}
	if s.r, err = e.c.Machine.Registers(id); err != nil {
		return false, err
	}
	if err := s.look(); err != nil {
		return false, err
	}
	pages := s.touched()
	if len(pages) == 0 && !asked {
		again, known := e.unexplained(id, s.r.PC())
		if again {
			return known, nil
		}
		s.blind = true
		if pages = e.closed(); len(pages) == 0 {
			return false, nil
		}
	} else {
		e.explained(id)
	}
	after := e.c.Around(id, s.r, &s.in)
	err = s.open(pages)
	if err == nil {
		err = s.run()
	}
	if err == nil {
		err = s.clean()
	}
	var records []record
	if s.stopped {
		after = nil
	} else if err == nil {
		records = s.records()
	}
	if closeErr := s.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return true, err
	}
	e.steps.Add(1)
	for _, r := range records {
		e.emit(r.w, r.h)
	}
	if after != nil {
		after()
	}
	return true, nil
}

// look finds out what the vCPU is about to do.
func (s *step) look() error {
	event, delivering, err := s.e.c.Machine.Delivering(s.id)
	if err != nil {
		return err
	}
	if delivering {
		gva, n, handler := s.r.DeliveryFrame(event, s.read)
		s.event, s.kind = true, hit.Delivery
		if n == 0 {
			s.in.Unknown = true
			return nil
		}
		s.in.Operands = []store.Operand{{GVA: gva, Len: n, Write: true}}
		s.until = []uint64{handler}
		return nil
	}
	s.decode()
	if event, ok := softEvent(s.code); ok {
		if gva, n, handler := s.r.DeliveryFrame(event, s.read); n != 0 {
			s.kind, s.in.Unknown = hit.Delivery, false
			s.in.Operands = []store.Operand{{GVA: gva, Len: n, Write: true}}
			s.until = []uint64{handler}
		}
	}
	return nil
}

// decode is look for an instruction.
func (s *step) decode() {
	s.code = s.read(s.r.PC(), instructionLength)
	env := s.e.c.Environment
	env.Code = s.read
	s.in = decodeStore(s.code, s.r, &env)
	s.until = s.in.Until
	s.kind = kinds[s.in.Class]
	if len(s.code) > s.in.Len && s.in.Len > 0 {
		s.code = s.code[:s.in.Len]
	}
}

var kinds = map[store.Class]hit.Kind{
	store.Plain: hit.Store, store.String: hit.RepString, store.Push: hit.Push, store.Atomic: hit.Atomic, store.Vector: hit.Vector,
	store.XSave: hit.XSave, store.ZeroBlock: hit.ZeroBlock, store.System: hit.System,
}

// KindOf is the kind of a record for an instruction of class c.
func KindOf(c store.Class) hit.Kind { return kinds[c] }

// piece is a part of an operand in one page.
type piece struct {
	gva, gpa uint64
	n        int
	op       store.Operand
}

// pieces are the operands by page, as far as they translate.
func (s *step) pieces() (out []piece) {
	for _, o := range s.in.Operands {
		gva, left := o.GVA, o.Len
		for count := 0; left > 0 && count < maxPages; count++ {
			n := min(left, pageSize-int(gva&pageMask))
			w := s.e.c.Memory.Walk(s.r, gva)
			if w.Result != pagetable.WalkMapped {
				if o.Len > pageSize*64 {
					break // a string instruction that is going to fault here
				}
			} else {
				out = append(out, piece{gva, w.PA, n, o})
			}
			gva, left = gva+uint64(n), left-n
		}
	}
	return out
}

// touched are the closed pages that the vCPU is going to access: those of its operands, or else those that the CPU
// reads on its own behalf: the instruction's own, the page tables of them all.
func (s *step) touched() (pages []uint64) {
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	add := func(gpa uint64, write bool) bool {
		at := gpa &^ pageMask
		p := e.pages[at]
		if p == nil || p.state == Open || p.state == ClosedToWr && !write || slices.Contains(pages, at) {
			return false
		}
		pages = append(pages, at)
		return true
	}
	for _, p := range s.pieces() {
		add(p.gpa, p.op.Write)
	}
	// Whatever the instruction does, the CPU reads it, and walks the tables: it may set bits in them, and some
	// processors count every look at them as a write.
	addresses := []uint64{s.r.PC(), s.r.PC() + uint64(max(len(s.code), 1)) - 1, s.r.SP()}
	for _, o := range s.in.Operands {
		addresses = append(addresses, o.GVA, o.GVA+uint64(o.Len-1))
	}
	for i, gva := range addresses {
		w := e.c.Memory.Walk(s.r, gva)
		for _, t := range w.Steps[:w.N] {
			if add(t.EntryAt, true) {
				s.walked = append(s.walked, t.EntryAt)
			}
		}
		if i < 2 && w.Result == pagetable.WalkMapped {
			add(w.PA, false)
		}
	}
	return pages
}

// unexplained counts a fault that no closed page explains. again: enter the guest once more, as whoever closed the page may
// have opened it meanwhile.
func (e *Engine) unexplained(id int, pc uint64) (again, known bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.stuck[id]
	if k.pc != pc {
		k = stuck{pc: pc}
	}
	k.n++
	e.stuck[id] = k
	return k.n <= maxStuck, true
}

func (e *Engine) explained(id int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.stuck, id)
}

// closed are all closed pages.
func (e *Engine) closed() (pages []uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for at, p := range e.pages {
		if p.state != Open {
			pages = append(pages, at)
		}
	}
	return pages
}

// open remembers and opens pages.
func (s *step) open(pages []uint64) error {
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, at := range pages {
		b := make([]byte, pageSize)
		e.c.Memory.Peek(at, b)
		s.before[at] = b
		s.opened = append(s.opened, at)
		e.pages[at].opened = true
	}
	return e.apply(slices.Clone(pages))
}

// close closes what open has opened, as far as it is still watched.
func (s *step) close() error {
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, at := range s.opened {
		if p := e.pages[at]; p != nil {
			p.opened = false
		}
	}
	return e.apply(slices.Clone(s.opened))
}

// errStep is a step that did not come to its end; the machine cannot go on.
var errStep = errors.New("step over a watched access")

// run carries out the one instruction.
func (s *step) run() (err error) {
	m := s.e.c.Machine
	d := &GuestDebug{BlockInterrupts: s.e.c.CanBlock}
	until, breakpoints := s.until, s.e.c.Breakpoints()
	if breakpoints < 2 && !s.event {
		until = nil
	}
	d.Breakpoints = slices.Clone(until)
	d.Step = len(until) == 0
	for _, g := range s.r.Guards(s.read) {
		if len(d.Breakpoints) < breakpoints && !slices.Contains(d.Breakpoints, g) {
			d.Breakpoints = append(d.Breakpoints, g)
		}
	}
	if err := m.MaskInterrupts(s.id, s.r); err != nil {
		return err
	}
	if err := m.SetGuestDebug(s.id, d); err != nil {
		return err
	}
	defer func() {
		if e := m.SetGuestDebug(s.id, s.e.c.Debug(s.id)); err == nil {
			err = e
		}
		if e := m.UnmaskInterrupts(s.id, s.r); err == nil {
			err = e
		}
	}()
	deadline := time.AfterFunc(s.e.c.StepTime, func() { m.Kick(s.id) })
	defer deadline.Stop()
	began := time.Now()
	for attempt := 0; ; attempt++ {
		if err := s.enter(d, len(until), began); err != nil {
			return err
		}
		now, err := m.Registers(s.id)
		if err != nil {
			return err
		}
		s.after = now
		switch {
		case d.Step && len(s.in.Until) > 0 && len(until) == 0 && now.PC() == s.r.PC():
			// Without breakpoints: round by round.
		case s.in.Attempt && now.PC() == s.in.Until[0] && failed(&s.in, now) && attempt < maxAttempts && len(until) > 0:
			// Off the breakpoint, and once more around the loop.
			if err := m.SetGuestDebug(s.id, &GuestDebug{Step: true, BlockInterrupts: s.e.c.CanBlock}); err != nil {
				return err
			}
			if err := s.enter(&GuestDebug{Step: true}, 0, began); err != nil {
				return err
			}
			if err := m.SetGuestDebug(s.id, d); err != nil {
				return err
			}
		default:
			s.faulted = s.faulted || now.AtVector() && !s.event
			return nil
		}
	}
}

// enter runs the guest until d stops it; the first ends of its breakpoints are where the instruction ends, the others
// where the guest's exceptions begin.
func (s *step) enter(d *GuestDebug, ends int, began time.Time) error {
	m := s.e.c.Machine
	var x kvm.Exit
	for {
		err := m.Enter(s.id, &x)
		switch {
		case errors.Is(err, kvm.ErrInterrupted), errors.Is(err, kvm.ErrKicked):
			if m.Stopped() {
				s.stopped = true
				return nil
			}
			if time.Since(began) >= s.e.c.StepTime {
				s.e.lost.Add(1)
				return nil
			}
			continue
		case errors.Is(err, unix.EFAULT):
			s.e.exits.Add(1)
			if err := s.more(); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("%w: KVM_RUN: %w", errStep, err)
		}
		s.e.exits.Add(1)
		if x.Reason != kvm.ReasonDebug {
			if err := m.Serve(s.id, &x); err != nil {
				return fmt.Errorf("%w: %w", errStep, err)
			}
			if m.Stopped() {
				return nil
			}
			continue
		}
		stop := decodeDebug(&x, d)
		if len(stop.Breakpoints) > 0 && !s.event {
			s.faulted = !slices.ContainsFunc(stop.Breakpoints, func(i int) bool { return i < ends })
		}
		return nil
	}
}

// more opens further pages: the instruction reaches into one that was not foreseen.
func (s *step) more() error {
	now, err := s.e.c.Machine.Registers(s.id)
	if err != nil {
		return err
	}
	saved, savedIn, savedCode := s.r, s.in, s.code
	s.r = now
	if event, delivering, err := s.e.c.Machine.Delivering(s.id); err == nil && delivering {
		if gva, n, _ := now.DeliveryFrame(event, s.read); n > 0 {
			s.in.Operands = append(slices.Clone(s.in.Operands), store.Operand{GVA: gva, Len: n, Write: true})
		}
	}
	pages := s.touched()
	s.r, s.in, s.code = saved, savedIn, savedCode
	if len(pages) == 0 {
		s.blind = true
		if pages = s.e.closed(); len(pages) == 0 {
			return fmt.Errorf("%w: the guest faults at %#x with all watched pages open", errStep, now.PC())
		}
	}
	return s.open(pages)
}

// clean takes the debugger's traces out of what the instruction has pushed: the single-step flag.
func (s *step) clean() error {
	at, ok := s.in.FlagsAt, s.in.FlagsAt != 0
	if s.faulted {
		at, ok = s.after.FlagsInFrame()
	}
	if !ok || s.event || s.r.Flags()&stepFlag != 0 {
		return nil
	}
	w := s.e.c.Memory.Walk(s.after, at)
	var b [2]byte
	if w.Result != pagetable.WalkMapped || s.e.c.Memory.Peek(w.PA, b[:]) != len(b) {
		return nil
	}
	b[1] &^= stepFlag >> 8
	return s.e.c.Memory.Poke(w.PA, b[:])
}

// stepFlag is RFLAGS.TF; arm64 pushes no flags.
const stepFlag = 1 << 8
