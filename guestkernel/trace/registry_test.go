package trace

import (
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"ringo/internal/debugwindow"
)

// ram is guest memory from GPA 0 as the monitor peeks at it.
type ram []byte

func (r ram) Peek(gpa uint64, p []byte) int { return copy(p, r[min(gpa, uint64(len(r))):]) }

type bells struct {
	mu   sync.Mutex
	rung []uint32
}

func (b *bells) ring(v uint32) {
	b.mu.Lock()
	b.rung = append(b.rung, v)
	b.mu.Unlock()
}

func open(t *testing.T) (*Registry, *debugwindow.Window, *bells) {
	t.Helper()
	words := make([]uint64, debugwindow.MinSize/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), debugwindow.MinSize)
	rung := &bells{}
	var now atomic.Uint64
	r, err := Open(Config{Window: b, CPUs: 2, Counter: func() uint64 { return now.Add(1) }, CPU: func() int { return 1 }, Bell: rung.ring})
	if err != nil {
		t.Fatal(err)
	}
	w, err := debugwindow.Open(ram(b), 0, uint64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r, w, rung
}

//go:noinline
func sleeper(s *Slot, look func()) bool {
	s.Park(debugwindow.WaitDeadline)
	look()
	return s.Wake(0)
}

// deepen has the stack grow by at least n KiB.
//
//go:noinline
func deepen(n int) byte {
	var b [1024]byte
	if n > 0 {
		b[n] = deepen(n - 1)
	}
	return b[n&7]
}

//go:noinline
func aCaller(s *Slot, look func()) bool {
	return sleeper(s, look) && runtime.NumCPU() > 0
}

func TestParkedTaskTellsItsStackAndWhere(t *testing.T) {
	r, w, _ := open(t)
	s := r.Add(7, 5, 1, "sh")
	s.Bind(0xc0ffee)
	s.Enter(43, &[6]uint64{3, 4})
	s.OnCPU(0)
	var parked debugwindow.Entry
	if !aCaller(s, func() { parked, _ = w.Task(0) }) {
		t.Error("the stack is said to have changed")
	}
	g := currentG()
	lo, hi := uint64(word(g)), uint64(word(g+8))
	st := parked.Stacks[0]
	if parked.State != debugwindow.TaskParked || parked.TID != 7 || parked.PID != 5 || parked.Name != "sh" || parked.G != uint64(g) || parked.Context != 0xc0ffee ||
		parked.Damage != "" || parked.Torn || parked.Wait != debugwindow.WaitDeadline || parked.Parks != 1 || parked.CPU != 1 {
		t.Errorf("entry %+v", parked)
	}
	if nr, ok := parked.Syscall(); !ok || nr != 43 || parked.Args[1] != 4 {
		t.Errorf("system call %d %t, args %v", nr, ok, parked.Args)
	}
	if st.Lo != lo || st.Hi != hi || st.SP <= lo || st.Keep <= st.SP || st.Keep > st.SP+4096 {
		t.Errorf("stack %+v, goroutine's [%#x, %#x)", st, lo, hi)
	}
	for i, want := range []string{"aCaller", "TestParkedTaskTellsItsStackAndWhere", "tRunner"} {
		if f := runtime.FuncForPC(uintptr(parked.Where[i])); f == nil || !strings.HasSuffix(f.Name(), want) {
			t.Errorf("return address %d, %#x, is not in %s", i, parked.Where[i], want)
		}
	}
	after, _ := w.Task(0)
	if after.State != debugwindow.TaskRunning || after.Stacks[0].SP != 0 {
		t.Errorf("awake: %+v", after)
	}
	if c, err := w.CPU(1); err != nil || c.Task != 1 {
		t.Errorf("CPU 1 has slot+1 %d, %v", c.Task, err)
	}
	s.Leave(0, nil)
	s.Close(0)
	if e, _ := w.Task(0); e.State != debugwindow.TaskDead || e.TID != 7 || e.Call != 0 {
		t.Errorf("dead: %+v", e)
	}
}

func TestDoorbellsOnlyWhenArmed(t *testing.T) {
	r, _, rung := open(t)
	s := r.Add(7, 7, 1, "sh")
	s.Bind(0)
	nothing := func() {}
	aCaller(s, nothing)
	if len(rung.rung) != 0 {
		t.Fatalf("rung %v without a guard", rung.rung)
	}
	r.Header().Guard = debugwindow.GuardAttribute
	r.Header().Credit = 2
	aCaller(s, nothing)
	want := []uint32{debugwindow.Bell(debugwindow.BellPark, 0), debugwindow.Bell(debugwindow.BellWake, 0)}
	if len(rung.rung) != 2 || rung.rung[0] != want[0] || rung.rung[1] != want[1] {
		t.Errorf("rung %v, want %v", rung.rung, want)
	}
	// Disarmed while asleep: the task has rung its park, so it rings its wake.
	aCaller(s, func() { r.Header().Guard = 0 })
	if len(rung.rung) != 4 {
		t.Errorf("rung %v, want four", rung.rung)
	}
}

// deep calls f with some of the stack in use.
//
//go:noinline
func deep(n int, f func()) byte {
	var frame [48]byte
	frame[n%len(frame)] = byte(n)
	if n == 0 {
		f()
	} else {
		deep(n-1, f)
	}
	return frame[n/2%len(frame)]
}

// deeper is deep with another size of frame, so that together they reach every depth.
//
//go:noinline
func deeper(n int, f func()) byte {
	var frame [56]byte
	frame[n%len(frame)] = byte(n)
	if n == 0 {
		f()
	} else {
		deeper(n-1, f)
	}
	return frame[n/2%len(frame)]
}

// A stack that grows in the middle of Park must not leave an entry of two stacks.
func TestParkOnAStackThatGrows(t *testing.T) {
	r, w, _ := open(t)
	r.Header().Guard = debugwindow.GuardDetect
	for n := range 60 * 12 {
		s := r.Add(7, 7, 1, "sh")
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Bind(0)
			in := func() {
				aCaller(s, func() {
					e, err := w.Task(s.index)
					if st := e.Stacks[0]; err != nil || st.SP < st.Lo || st.SP >= st.Hi || st.Keep <= st.SP || st.Keep > st.Hi {
						t.Errorf("depth %d: %+v, %v", n, st, err)
					}
				})
			}
			deep(n/12, func() { deeper(n%12, in) })
			s.Close(0)
		}()
		<-done
	}
}

// Sleeps ring for protection as long as there is credit; the others may be covered by the monitor while they last, ring if they were, and are
// counted if not.
func TestSleepsAreCovered(t *testing.T) {
	r, w, rung := open(t)
	r.Header().Guard, r.Header().Credit = debugwindow.GuardAttribute, 1
	s := r.Add(7, 7, 1, "sh")
	s.Bind(0)
	for i, row := range []struct {
		name     string
		closes   bool
		bells    []uint32
		compared uint64
	}{
		{"on credit", false, []uint32{debugwindow.BellPark, debugwindow.BellWake}, 0},
		{"brief", false, nil, 1},
		{"covered", true, []uint32{debugwindow.BellWake}, 1},
		{"brief again", false, nil, 2},
	} {
		rung.rung = nil
		aCaller(s, func() {
			sleep, cover := w.Cover(0)
			want := uint64(debugwindow.CoverOpen)
			if row.name == "on credit" {
				sleep, want = uint64(i+1), debugwindow.CoverNone
			}
			if sleep != uint64(i+1) || cover != want {
				t.Errorf("%s: sleep %d, cover %d", row.name, sleep, cover)
			}
			if row.closes {
				r.Task(0).Cover++
			}
		})
		var want []uint32
		for _, b := range row.bells {
			want = append(want, debugwindow.Bell(b, 0))
		}
		if !slices.Equal(rung.rung, want) || w.Compared() != row.compared {
			t.Errorf("%s: rung %v, want %v; %d compared", row.name, rung.rung, want, w.Compared())
		}
		if _, cover := w.Cover(0); cover != debugwindow.CoverNone {
			t.Errorf("%s: awake, cover %d", row.name, cover)
		}
	}
	// With a fixed stack, always.
	s.SetFixed(0x1000, 0x3000, 0)
	s.SetFixedSP(0x2000)
	rung.rung = nil
	aCaller(s, func() {})
	if len(rung.rung) != 2 {
		t.Errorf("a fixed stack: rung %v", rung.rung)
	}
}

func TestDetectModeFindsAForeignWrite(t *testing.T) {
	// A stack that moves meanwhile is not compared: this one is large enough from the start, and no collection makes it smaller.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	deepen(64)
	r, w, rung := open(t)
	r.Header().Guard = debugwindow.GuardDetect
	s := r.Add(7, 7, 1, "sh")
	s.Bind(0)
	if !aCaller(s, func() {}) || len(rung.rung) != 0 {
		t.Errorf("an untouched stack: bells %v", rung.rung)
	}
	// A word at the stack's very end is changed while the task sleeps, and put back after it woke.
	var at *uintptr
	var was uintptr
	intact := aCaller(s, func() {
		e, _ := w.Task(0)
		if e.Snapshot == 0 || e.SnapshotSize != e.Stacks[0].Hi-e.Stacks[0].Keep {
			t.Errorf("snapshot %#x, %d bytes of %+v", e.Snapshot, e.SnapshotSize, e.Stacks[0])
		}
		addr := uintptr(e.Stacks[0].Hi - 8)
		at = (*uintptr)(*(*unsafe.Pointer)(unsafe.Pointer(&addr)))
		was, *at = *at, 0xdead
	})
	*at = was
	if intact || len(rung.rung) != 1 || rung.rung[0] != debugwindow.Bell(debugwindow.BellMismatch, 0) || r.Header().Mismatches != 1 {
		t.Errorf("intact %t, bells %v, counted %d", intact, rung.rung, r.Header().Mismatches)
	}
}

func TestSlotsAreReusedAndTheirLackIsCounted(t *testing.T) {
	r, w, _ := open(t)
	n := int(r.Header().Tasks)
	var slots []*Slot
	for i := range n {
		slots = append(slots, r.Add(i+1, i+1, 1, "x"))
	}
	if s := r.Add(9999, 9999, 1, "y"); s != nil || r.Header().Unregistered != 1 {
		t.Errorf("slot %+v beyond the last, %d unregistered", s, r.Header().Unregistered)
	}
	slots[3].Close(0)
	if s := r.Add(10000, 10000, 1, "z"); s == nil || s.index != 3 {
		t.Errorf("slot %+v, want index 3", s)
	}
	if got := len(w.Tasks()); got != n {
		t.Errorf("%d tasks, want %d", got, n)
	}
	var none *Registry
	s := none.Add(1, 1, 1, "x")
	s.Bind(0)
	s.Park(debugwindow.WaitEvent)
	if !s.Wake(0) {
		t.Error("a task without a slot")
	}
	s.Close(0)
}

func TestCPUIsToldAgainOnlyAfterSomebodyElse(t *testing.T) {
	r, w, _ := open(t) // which thinks that it is always on CPU 1
	a, b := r.Add(7, 7, 1, "a"), r.Add(8, 8, 1, "b")
	task := func(cpu int) uint32 {
		c, err := w.CPU(cpu)
		if err != nil {
			t.Fatal(err)
		}
		return c.Task
	}
	a.OnCPU(0)
	if task(1) != 1 {
		t.Fatalf("CPU 1 has task %d, want 1", task(1))
	}
	r.cpu = func() int { t.Fatal("asked for the CPU again"); return 0 }
	a.OnCPU(2) // CPU 1 still has it
	r.cpu = func() int { return 1 }
	b.OnCPU(0)
	a.OnCPU(2) // b was here, if not in user mode
	if task(1) != 1 {
		t.Errorf("CPU 1 has task %d after b was there, want 1", task(1))
	}
	r.cpu = func() int { return 0 }
	a.OnCPU(0)
	a.OnCPU(2) // it was on CPU 0 meanwhile
	a.OnCPU(9) // no such CPU
	if task(0) != 1 || a.e.CPU != 0 {
		t.Errorf("CPU 0 has task %d, and the task is on CPU %d, want 1 and 0", task(0), a.e.CPU)
	}
}
