package machine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"ringo/internal/kvmtest"
	"ringo/vmm/machine"
)

// counterGPA is a word that counting increments; the direct map shows it at counterGVA.
const counterGPA = 0x18_0000

func counterAddress() (gpa, gva uint64) {
	if arm {
		return 0x4000_0000 + counterGPA, 0x8000_4000_0000 + counterGPA
	}
	return counterGPA, 0xffff_8880_0000_0000 + counterGPA
}

// counting increments the word at counterAddress for ever.
func counting() *probe {
	_, gva := counterAddress()
	p := new(probe).immediate(gva)
	loop := len(p.b)
	if arm {
		p.load().word(0x110004a5).store() // ADD W5, W5, #1
	} else {
		p.raw(0xff, 0x00) // incl (%rax)
	}
	return p.again(loop)
}

// start runs p in the background; done gives the end.
func start(t *testing.T, ctx context.Context, cfg machine.Config, p *probe) (m *machine.Machine, done <-chan result) {
	t.Helper()
	ready, ended := make(chan *machine.Machine, 1), make(chan result, 1)
	go func() {
		ended <- runPrepared(t, ctx, cfg, p, func(m *machine.Machine) { ready <- m })
	}()
	return <-ready, ended
}

func counter(m *machine.Machine) uint32 {
	gpa, _ := counterAddress()
	var b [4]byte
	m.Memory().Peek(gpa, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// awaitCount waits until the guest counts beyond n.
func awaitCount(t *testing.T, m *machine.Machine, n uint32) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); counter(m) == n; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the guest does not count")
		}
	}
}

// While anybody holds the machine nothing moves; when nobody does, it goes on.
func TestOnKVMPauseStopsEverything(t *testing.T) {
	kvmtest.Require(t)
	ctx, cancel := context.WithCancel(t.Context())
	m, done := start(t, ctx, machine.Config{CPUs: 2}, counting())
	awaitCount(t, m, 0)
	for id := range 2 {
		for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
			_, err := m.Registers(id)
			if errors.Is(err, machine.ErrRunning) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("registers of running vCPU %d: %v", id, err)
			}
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				release, err := m.Pause(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				inner, err := m.Pause(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				release()
				release() // does nothing
				before := counter(m)
				for id := range 2 {
					if r, err := m.Registers(id); err != nil || r.PC() == 0 {
						t.Errorf("registers of vCPU %d while paused: %v", id, err)
					}
				}
				if after := counter(m); after != before || !m.Paused() {
					t.Errorf("the guest counted from %d to %d while paused", before, after)
				}
				inner()
			}
		})
	}
	wg.Wait()
	awaitCount(t, m, counter(m))
	cancel()
	if r := <-done; r.stop.Kind != machine.StopCancelled {
		t.Errorf("stop = %+v", r.stop)
	}
}

// What is written to registers while paused is what the guest goes on with.
func TestOnKVMSetRegistersWhilePaused(t *testing.T) {
	kvmtest.Require(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := counting()
	end := uint64(len(p.b))
	m, done := start(t, ctx, machine.Config{}, p.print("changed").powerOff(false))
	awaitCount(t, m, 0)
	release, err := m.Pause(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Registers(0)
	if err != nil {
		t.Fatal(err)
	}
	r.SetPC(r.PC()&^0xfff + end)
	if err := m.SetRegisters(0, r); err != nil {
		t.Fatal(err)
	}
	if again, err := m.Registers(0); err != nil || again.PC() != r.PC() {
		t.Errorf("PC is %#x after setting %#x (%v)", again.PC(), r.PC(), err)
	}
	release()
	if r := <-done; r.stop.Kind != machine.StopPowerOff || r.out != "changed" {
		t.Errorf("stop = %+v, printed %q", r.stop, r.out)
	}
}

// The machine ends whatever holds it, and holders find out.
func TestOnKVMShutdownWhilePaused(t *testing.T) {
	kvmtest.Require(t)
	ctx, cancel := context.WithCancel(t.Context())
	m, done := start(t, ctx, machine.Config{CPUs: 2}, counting())
	awaitCount(t, m, 0)
	release, err := m.Pause(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if r := <-done; r.stop.Kind != machine.StopCancelled {
		t.Errorf("stop = %+v", r.stop)
	}
	if _, err := m.Registers(1); err != nil {
		t.Errorf("registers after the end: %v", err)
	}
	if again, err := m.Pause(t.Context()); err != nil {
		t.Errorf("pause after the end: %v", err)
	} else {
		again()
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Registers(1); !errors.Is(err, machine.ErrClosed) {
		t.Errorf("registers of a closed machine: %v", err)
	}
	if _, err := m.Pause(t.Context()); !errors.Is(err, machine.ErrClosed) {
		t.Errorf("pause of a closed machine: %v", err)
	}
	release()
}

// A pause that begins while the guest powers off, or before it starts, neither hangs nor keeps it from ending.
func TestOnKVMPauseRacesTheEnd(t *testing.T) {
	kvmtest.Require(t)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		m, done := start(t, ctx, machine.Config{CPUs: 2}, new(probe).onlyFirst().print("x").powerOff(false))
		for range 3 {
			if release, err := m.Pause(ctx); err == nil {
				release()
			} else if !errors.Is(err, machine.ErrClosed) {
				t.Error(err)
			}
		}
		if r := <-done; r.stop.Kind != machine.StopPowerOff || r.out != "x" {
			t.Fatalf("stop = %+v, printed %q", r.stop, r.out)
		}
		cancel()
	}
}

// An exit under way is finished before the vCPU stands still: a device register is read once, and its value kept.
func TestOnKVMPauseFinishesExits(t *testing.T) {
	kvmtest.Require(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := new(probe).immediate(nowhere())
	loop := len(p.b)
	m, done := start(t, ctx, machine.Config{UnclaimedLimit: 1 << 40}, p.value(0).load().again(loop))
	for range 100 {
		release, err := m.Pause(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Registers(0)
		if err != nil {
			t.Fatal(err)
		}
		// At the load the register is 0 and behind it all ones, whatever the vendor module does with PC meanwhile.
		value := loadedValue(r)
		switch at := int(r.PC() & 0xfff); at {
		case loop, loop + len(new(probe).value(0).b):
		case loop + len(new(probe).value(0).load().b):
			if value != 0xffff_ffff {
				t.Errorf("behind the load the register holds %#x", value)
			}
		}
		release()
	}
	cancel()
	<-done
}
