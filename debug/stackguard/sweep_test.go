package stackguard

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"ringo/debug/classify"
	"ringo/internal/debugwindow"
)

// armedBySweeps arms without the goroutine: the test sweeps.
func armedBySweeps(t *testing.T) *guest {
	m := boot(t).armed(Attribute)
	m.guard.c.Still = func(f func()) error { f(); return nil }
	m.guard.sweep() // finds the window
	return m
}

// doze puts task 1 to sleep without a bell.
func (m *guest) doze() {
	e := m.server
	e.Begin()
	e.State, e.Call = debugwindow.TaskParked, 43+1
	e.Parks++
	e.Stacks[0].SP, e.Stacks[0].Keep = direct+keep-0x800, direct+keep
	e.Stacks[1] = debugwindow.Stack{}
	e.End()
	e.Cover = e.Parks<<debugwindow.CoverShift | debugwindow.CoverOpen
	m.now += 1_000_000
}

// getUp is the kernel's side of a wake: it answers whether the bell was rung.
func (m *guest) getUp() bool {
	e := m.server
	closed := e.Cover&3 == debugwindow.CoverClosed
	e.Cover = 0
	if closed {
		m.guard.Doorbell(debugwindow.BellWake, 0)
	}
	e.Begin()
	e.State = debugwindow.TaskRunning
	e.End()
	return closed
}

func TestSweepCoversWhoSleepsOn(t *testing.T) {
	const live = goroutine1 + 0x3000
	m := armedBySweeps(t)
	m.doze()
	m.guard.sweep()
	if m.store(live, []byte{0}) != 0 || m.server.Cover&3 != debugwindow.CoverOpen {
		t.Error("covered when it was seen for the first time")
	}
	if m.getUp() {
		t.Error("rung for a sleep that was not covered")
	}
	m.doze() // another sleep of the same task
	m.guard.sweep()
	if len(m.engine.watches) != 0 {
		t.Error("two sleeps are taken for one")
	}
	m.guard.sweep()
	if m.server.Cover != m.server.Parks<<debugwindow.CoverShift|debugwindow.CoverClosed {
		t.Errorf("cover %#x", m.server.Cover)
	}
	if m.store(live, []byte{1}) != 1 || len(m.events) != 1 || m.events[0].Rule != string(classify.R10) || m.events[0].Victim.Zone != "live" {
		t.Errorf("%+v", m.events)
	}
	m.guard.sweep()
	if len(m.engine.watches) != 1 {
		t.Errorf("%d watches", len(m.engine.watches))
	}
	if !m.getUp() || len(m.engine.watches) != 0 {
		t.Error("a watch is left")
	}
	if c := m.guard.Counters(); c.Sleeps != 1 || c.Missed != 0 {
		t.Errorf("%+v", c)
	}
}

// What changes between the first look and the stop of the vCPUs is looked at again.
func TestSweepOfWhoIsGone(t *testing.T) {
	for name, change := range map[string]func(*guest){
		"awake": func(m *guest) { m.getUp() }, "asleep again": func(m *guest) { m.getUp(); m.doze() }, "waking": func(m *guest) { m.server.Cover = 0 },
		"torn": func(m *guest) { m.server.Seq++ }, "running": func(m *guest) { m.server.State = debugwindow.TaskRunning }, "off": func(m *guest) { m.guard.mode = Off },
	} {
		m := armedBySweeps(t)
		m.doze()
		m.guard.sweep()
		m.guard.c.Still = func(f func()) error { change(m); f(); return nil }
		m.guard.sweep()
		if len(m.engine.watches) != 0 || m.server.Cover&3 == debugwindow.CoverClosed {
			t.Errorf("%s: covered", name)
		}
	}
	m := armedBySweeps(t)
	m.doze()
	m.guard.sweep()
	m.guard.c.Still = func(func()) error { return errors.New("stopped") }
	if took, _ := m.guard.sweep(); took != 0 || len(m.engine.watches) != 0 {
		t.Error("covered a machine that has stopped")
	}
}

// A stack that has changed before it was covered is a change; one that changes afterwards and that no write was seen to, the engine's failure.
func TestSweepComparesFirst(t *testing.T) {
	const snapshot = 0x70000
	size := uint64(goroutine1 + goroutineSize - keep)
	for _, row := range []struct {
		name          string
		before, after bool
		rule          string
	}{{"untouched", false, false, ""}, {"before", true, false, "RD"}, {"after", false, true, "R0b"}, {"both", true, true, "RD"}} {
		m := armedBySweeps(t)
		m.doze()
		copy(m.ram[snapshot:], m.ram[keep:keep+size])
		m.server.Snapshot, m.server.SnapshotSize = direct+snapshot, size
		m.guard.sweep()
		if row.before {
			m.put(keep+0x40, 1)
		}
		m.guard.sweep()
		if row.after {
			m.put(keep+0x48, 1)
		}
		if !m.getUp() {
			t.Fatalf("%s: not covered", row.name)
		}
		if row.before || row.after {
			m.guard.Doorbell(debugwindow.BellMismatch, 0)
		}
		switch {
		case row.rule == "" && len(m.events) != 0:
			t.Errorf("%s: %+v", row.name, m.events[0])
		case row.rule != "" && (len(m.events) != 1 || m.events[0].Rule != row.rule || m.events[0].Victim.Asleep <= 0):
			t.Errorf("%s: %+v", row.name, m.events)
		}
	}
}

func TestSweepOfStacksThatCannotBeWatched(t *testing.T) {
	m := armedBySweeps(t)
	m.doze()
	m.server.Stacks[0].Keep = 0
	for range 4 {
		m.guard.sweep()
	}
	if c := m.guard.Counters(); c.Missed != 1 || len(m.engine.watches) != 0 {
		t.Errorf("%+v", c)
	}
}

// The goroutine covers, gives credit, and is gone when the guard is off.
func TestSweeper(t *testing.T) {
	covered := make(chan bool, 100)
	m := boot(t, func(c *Config) {
		c.Still = func(f func()) error { f(); covered <- true; return nil }
	})
	m.doze()
	m.armed(Attribute)
	select {
	case <-covered:
	case <-time.After(time.Minute):
		t.Fatal("never")
	}
	s := m.guard.sweeper
	m.armed(Off)
	<-s.done
	if m.server.Cover&3 != debugwindow.CoverClosed || len(m.engine.watches) != 0 {
		t.Errorf("cover %#x, %d watches", m.server.Cover, len(m.engine.watches))
	}
	m.guard.mode = Attribute
	m.guard.give(true)
	if binary.LittleEndian.Uint32(m.ram[m.guard.window.CreditAddress():]) != 1 {
		t.Error("no credit")
	}
	m.guard.give(false)
	if binary.LittleEndian.Uint32(m.ram[m.guard.window.CreditAddress():]) != 0 {
		t.Error("credit without end")
	}
}
