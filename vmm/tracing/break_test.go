package tracing

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"ringo/debug/hit"
	"ringo/debug/watch"
	"ringo/internal/kvmtest"
	"ringo/internal/pagetable"
	"ringo/vmm/machine"
)

// storeOf is where entryCount's store is: a watch says.
func storeOf(t *testing.T) uint64 {
	t.Helper()
	l := new(log)
	guest(t, 1, "entryCount", Options{}, func(m *machine.Machine, w *watch.Owner) {
		put(t, m, said, 1)
		put(t, m, said+16, 1)
		if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 8, Sink: l}); err != nil {
			t.Fatal(err)
		}
	})
	if len(l.hits) != 1 {
		t.Fatalf("hits %v", l.hits)
	}
	return l.hits[0].PC
}

// counts is how often vCPUs were somewhere.
type counts struct {
	mu sync.Mutex
	n  [2]int
}

func (c *counts) at(cpu int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[cpu]++
	return true
}

// chain checks that the hits of entryCount's stores of n from each vCPU are all there, once, in order.
func chain(t *testing.T, what string, cpus int, n uint64, hits []*hit.Write) {
	t.Helper()
	var last [2]uint64
	for i, h := range hits {
		if h.VCPU < 0 || h.Len != 8 || h.GPA != dataGPA()+8*uint64(h.VCPU) || binary.LittleEndian.Uint64(h.New) != last[h.VCPU]+1 {
			t.Fatalf("%s: hit %d: %v after %d", what, i, h, last)
		}
		last[h.VCPU]++
	}
	for id := range cpus {
		if last[id] != n {
			t.Errorf("%s: vCPU %d stored %d times, of %d", what, id, last[id], n)
		}
	}
}

// Everything at one instruction at once: two breakpoints, a watch that fits debug registers and one by physical address. Each is told of each
// store of each vCPU once, and the guest computes as without.
func TestOnKVMBreakpointsBesideWatches(t *testing.T) {
	kvmtest.Require(t)
	const n = 25
	at := storeOf(t)
	for _, cpus := range []int{1, 2} {
		virtual, physical, a, b := new(log), new(log), new(counts), new(counts)
		m, w, stop := guest(t, cpus, "entryCount", Options{}, func(m *machine.Machine, w *watch.Owner) {
			put(t, m, said, n)
			put(t, m, said+16, uint64(cpus))
			v, err := w.Add(watch.Request{GVA: dataGVA(), Len: 16, Sink: virtual})
			if err != nil || w.Engine(v) != hit.DebugRegister {
				t.Fatalf("%+v, %v", v, err)
			}
			if _, err := w.Add(watch.Request{GPA: dataGPA(), Physical: true, Len: 16, Sink: physical}); err != nil {
				t.Fatal(err)
			}
			for _, c := range []*counts{a, b} {
				p, err := w.Break(at, watch.Any, c.at)
				if err != nil || p.Mechanism != watch.Register {
					t.Fatalf("%+v, %v", p, err)
				}
			}
		})
		if stop.Kind != machine.StopPowerOff {
			t.Errorf("stop = %+v", stop)
		}
		chain(t, "debug registers", cpus, n, virtual.hits)
		chain(t, "pages", cpus, n, physical.hits)
		for id := range cpus {
			if a.n[id] != n || b.n[id] != n || word(m, 8*uint64(id)) != n {
				t.Errorf("%d vCPUs: vCPU %d: breakpoints %d and %d times, memory %d, want %d", cpus, id, a.n[id], b.n[id], word(m, 8*uint64(id)), n)
			}
		}
		if c := w.Counters(); c.Lost != 0 || c.Hits != 2*n*uint64(cpus) {
			t.Errorf("%d vCPUs: %+v", cpus, c)
		}
	}
}

// A breakpoint that needs a debug register takes it from a watch, which goes on by pages and misses nothing.
func TestOnKVMBreakpointTakesAWatchsRegister(t *testing.T) {
	kvmtest.Require(t)
	const n = 25
	at := storeOf(t)
	l, c := new(log), new(counts)
	boot := func(gva uint64) pagetable.Walk { // no vCPU has page tables yet
		return pagetable.Walk{VA: gva, PA: gva - dataGVA() + dataGPA(), Result: pagetable.WalkMapped}
	}
	_, w, _ := guest(t, 2, "entryCount", Options{Walk: boot}, func(m *machine.Machine, w *watch.Owner) {
		put(t, m, said, n)
		put(t, m, said+16, 2)
		slots := m.DebugSlots()
		v, err := w.Add(watch.Request{GVA: dataGVA(), Len: 32, Sink: l})
		if err != nil || w.Engine(v) != hit.DebugRegister {
			t.Fatalf("%+v, %v", v, err)
		}
		p, err := w.Break(at, watch.Any, c.at)
		want := hit.DebugRegister
		if slots.Shared { // 32 bytes take them all
			want = hit.PageEngine
		}
		if err != nil || p.Mechanism != watch.Register || w.Engine(v) != want {
			t.Fatalf("%+v, %v, the watch by %v, want %v", p, err, w.Engine(v), want)
		}
	})
	chain(t, "the watch", 2, n, l.hits)
	if c.n != [2]int{n, n} {
		t.Errorf("breakpoint %d times, want %d", c.n, n)
	}
	if c := w.Counters(); c.Lost != 0 {
		t.Errorf("%+v", c)
	}
}

// Two watches of the same variable in debug registers: each is told, also where the CPU names one of them only.
func TestOnKVMWatchesOfOneVariable(t *testing.T) {
	kvmtest.Require(t)
	const n = 25
	for _, cpus := range []int{1, 2} {
		both, one := new(log), new(log)
		_, w, _ := guest(t, cpus, "entryCount", Options{}, func(m *machine.Machine, w *watch.Owner) {
			put(t, m, said, n)
			put(t, m, said+16, uint64(cpus))
			for _, r := range []watch.Request{{GVA: dataGVA(), Len: 16, Sink: both}, {GVA: dataGVA() + 4, Len: 4, Sink: new(log)}, {GVA: dataGVA(), Len: 8, Sink: one}} {
				if a, err := w.Add(r); err != nil || w.Engine(a) != hit.DebugRegister {
					t.Fatalf("%+v, %v", a, err)
				}
			}
		})
		chain(t, "both", cpus, n, both.hits)
		chain(t, "one", 1, n, one.hits)
		if c := w.Counters(); c.Lost != 0 || len(one.hits) != n {
			t.Errorf("%d vCPUs: %+v, %d hits", cpus, c, len(one.hits))
		}
	}
}

// held is a breakpoint that makes the guest stand still, and says so.
type held struct {
	m    *machine.Machine
	at   chan int
	mu   sync.Mutex
	hold []func()
}

func newHeld(m *machine.Machine) *held { return &held{m: m, at: make(chan int, 100)} }

func (h *held) stop(cpu int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hold = append(h.hold, h.m.Hold())
	h.at <- cpu
	return false
}

func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.hold {
		f()
	}
	h.hold = nil
}

// A debugger's way: breakpoints of both kinds that hold the guest, steps with the others held and with the others running, a
// watch of either engine meanwhile. Nothing is told twice or not at all.
func TestOnKVMSteps(t *testing.T) {
	kvmtest.Require(t)
	at := storeOf(t)
	kinds := []watch.Mechanism{watch.Register}
	if runtime.GOARCH == "arm64" { // QEMU's SVM keeps int3 from KVM
		kinds = append(kinds, watch.Instruction)
	}
	for _, kind := range kinds {
		for _, cpus := range []int{1, 2} {
			for _, physical := range []bool{false, true} {
				if kind == watch.Instruction && physical == (cpus == 1) {
					continue // time
				}
				l, failed := new(log), make(chan string, 1)
				_, w, stop := guest(t, cpus, "entryCount", Options{}, func(m *machine.Machine, w *watch.Owner) {
					put(t, m, said, 1<<60)
					first := m.Hold()
					go func() {
						defer m.End()
						<-m.Started()
						failed <- steps(m, w, kind, at, cpus, physical, l, first)
					}()
				})
				if why := <-failed; why != "" || stop.Kind != machine.StopTraced {
					t.Errorf("mechanism %d, %d vCPUs, physical %t: %s; stop %+v", kind, cpus, physical, why, stop)
				}
				var last [2]uint64
				for i, h := range l.hits {
					if v := binary.LittleEndian.Uint64(h.New); v != last[h.VCPU]+1 {
						t.Fatalf("mechanism %d, %d vCPUs, physical %t: hit %d: %v after %d", kind, cpus, physical, i, h, last)
					}
					last[h.VCPU]++
				}
				if c := w.Counters(); c.Lost != 0 {
					t.Errorf("%+v", c)
				}
			}
		}
	}
}

// perRound is the instructions of one round of entryCount's loop.
const perRound = 4

func steps(m *machine.Machine, w *watch.Owner, kind watch.Mechanism, at uint64, cpus int, physical bool, l *log, first func()) string {
	ctx, cancel := context.WithTimeout(context.Background(), guestTime)
	defer cancel()
	never := func() bool { return false }
	pc := func(id int) uint64 {
		r, err := m.Registers(id)
		if err != nil {
			return 0
		}
		return r.PC()
	}
	h := newHeld(m)
	if _, err := w.Add(watch.Request{GPA: dataGPA(), GVA: dataGVA(), Physical: physical, Len: 16, Sink: l}); err != nil {
		return err.Error()
	}
	b, err := w.Break(at, kind, h.stop)
	if err != nil {
		return err.Error()
	}
	first()
	var cpu int
	for range 3 { // held, carried over, held again
		select {
		case cpu = <-h.at:
		case <-ctx.Done():
			return "nobody comes to the breakpoint"
		}
		release, err := m.Pause(ctx)
		if err != nil {
			return err.Error()
		}
		if pc(cpu) != at {
			return "the vCPU does not stand at the breakpoint"
		}
		other := word(m, 8*uint64(1-cpu))
		mine := word(m, 8*uint64(cpu))
		seen := l.count()
		for range 3 * perRound { // over breakpoint and store, three times around
			before := pc(cpu)
			if err := w.Step(cpu, never); err != nil {
				return err.Error()
			}
			if pc(cpu) == before {
				return "a step that stays where it is"
			}
		}
		if pc(cpu) != at || word(m, 8*uint64(cpu)) != mine+3 || word(m, 8*uint64(1-cpu)) != other || l.count() != seen+3 {
			return "steps: wrong place, count or hits, or the other vCPU ran"
		}
		for len(h.at) > 0 {
			<-h.at // the other one, which will come again
		}
		if err := w.Step(cpu, never); err != nil { // off the breakpoint
			return err.Error()
		}
		h.release()
		release()
	}
	// One instruction while the others run: first the breakpoint goes.
	release, err := m.Pause(ctx)
	if err != nil {
		return err.Error()
	}
	if err := w.Remove(b.ID); err != nil {
		return err.Error()
	}
	for len(h.at) > 0 {
		<-h.at
	}
	h.release()
	for range 2 * perRound {
		before, seen := pc(cpu), word(m, 8*uint64(cpu))
		done := make(chan func(), 1)
		undo, err := w.StepNext(cpu, func() { done <- m.Hold() })
		if err != nil {
			return err.Error()
		}
		release()
		var hold func()
		select {
		case hold = <-done:
		case <-ctx.Done():
			return "the step is never done"
		}
		if release, err = m.Pause(ctx); err != nil {
			return err.Error()
		}
		if err := undo(); err != nil { // of a step that is done: nothing
			return err.Error()
		}
		hold()
		moved := pc(cpu)
		if moved == before || before == at && (moved <= at || moved > at+8 || word(m, 8*uint64(cpu)) != seen+1) || before != at && word(m, 8*uint64(cpu)) != seen {
			return "a step that is not one instruction"
		}
	}
	// One that is taken back.
	undo, err := w.StepNext(cpu, func() {})
	if err == nil {
		err = undo()
	}
	seen := l.count()
	release()
	for deadline := time.Now().Add(guestTime); l.count() < seen+5; runtime.Gosched() {
		if time.Now().After(deadline) || err != nil {
			return "the guest does not go on"
		}
	}
	return ""
}

// The guest's own debug exceptions reach it while the monitor uses the same means.
func TestOnKVMDebugExceptionsOfTheGuest(t *testing.T) {
	kvmtest.Require(t)
	const n = 7
	for _, cpus := range []int{1, 2} {
		l, c := new(log), new(counts)
		m, _, stop := guest(t, cpus, "entryTraps", Options{}, func(m *machine.Machine, w *watch.Owner) {
			put(t, m, said, n)
			if _, err := w.Add(watch.Request{GVA: dataGVA(), Len: 8, Sink: l}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Break(0x1000, watch.Register, c.at); err != nil {
				t.Fatal(err)
			}
		})
		if got := word(m, said+0x18); stop.Kind != machine.StopPowerOff || got != n || len(l.hits) != 1 || c.n != [2]int{} {
			t.Errorf("%d vCPUs: the guest counted %d of its %d exceptions; hits %v, breakpoint %v, stop %+v", cpus, got, n, l.hits, c.n, stop)
		}
	}
}
