package stackguard

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"

	"ringo/debug/hit"
	"ringo/debug/report"
	"ringo/debug/symbols"
	"ringo/internal/debugwindow"
)

// A guest made by hand: 1 MiB of RAM at GPA 0, seen at direct; the window at windowAt.
const (
	ramSize  = 1 << 20
	direct   = 0xffff_8880_0000_0000
	windowAt = 0x10000
	// Task 1's fixed stack, and task 2's right above it.
	stack1, stack2, stackEnd = 0x40000, 0x42000, 0x44000
	// Goroutines of both, and their stacks.
	g1, g2, goroutine1, goroutine2 = 0x50000, 0x51000, 0x60000, 0x68000
	goroutineSize                  = 0x4000
)

type guest struct {
	t       *testing.T
	ram     []byte
	r       *debugwindow.Registry
	server  *debugwindow.Task // entry 0, in place
	engine  *fakeEngine
	guard   *Guard
	events  []*report.Event
	now     int64
	returns uint64 // the return address that the switch saves, 0: a good one
	// merging: records of one instruction follow each other without a flush.
	merging bool
}

func (m *guest) Peek(gpa uint64, p []byte) int {
	if gpa >= ramSize {
		return 0
	}
	return copy(p, m.ram[gpa:])
}

func (m *guest) Poke(gpa uint64, p []byte) error {
	if gpa >= ramSize {
		return errors.New("not RAM")
	}
	copy(m.ram[gpa:], p)
	return nil
}

func (m *guest) ReadVirtual(gva uint64, n int) []byte {
	b := make([]byte, n)
	return b[:m.Peek(gva-direct, b)]
}
func (m *guest) ReadPhysical(gpa uint64, p []byte) int { return m.Peek(gpa, p) }
func (m *guest) Translate(gva uint64) (uint64, bool) {
	return gva - direct, gva >= direct && gva < direct+ramSize
}

func (m *guest) put(gpa, v uint64) { binary.LittleEndian.PutUint64(m.ram[gpa:], v) }

// fakeEngine remembers what it watches; store plays a writing instruction.
type fakeEngine struct {
	watches map[*fakeWatch]bool
	fail    error
	lost    uint64
}
type fakeWatch struct {
	e      *fakeEngine
	ranges []Range
	sink   hit.Sink
}

func (e *fakeEngine) Watch(r []Range, s hit.Sink) (Watch, error) {
	if e.fail != nil {
		return nil, e.fail
	}
	w := &fakeWatch{e, r, s}
	e.watches[w] = true
	return w, nil
}
func (w *fakeWatch) Close() error            { delete(w.e.watches, w); return nil }
func (e *fakeEngine) Counters() hit.Counters { return hit.Counters{Lost: e.lost, Steps: 7} }
func (e *fakeEngine) Name() string           { return "page protection" }

// store writes b at a GPA as task 2 on its own stack would, unless change says otherwise, and answers how
// many watches saw it.
func (m *guest) store(gpa uint64, b []byte, change ...func(*hit.Write)) int {
	w := &hit.Write{
		Time: m.now, GPA: gpa, GVA: direct + gpa, Len: len(b), WholeGVA: direct + gpa, WholeLen: len(b), New: b,
		Kind: hit.Store, PC: 0xffffffff80001000, Instruction: "mov qword ptr [rax], rcx", Engine: hit.PageEngine, Guest: m,
		Registers: hit.Registers{SP: direct + stackEnd - 0x100, Goroutine: direct + g2},
	}
	w.Old = append([]byte(nil), m.ram[gpa:gpa+uint64(len(b))]...)
	for _, c := range change {
		c(w)
	}
	w.Settle()
	copy(m.ram[gpa:], b)
	seen := 0
	for watch := range m.engine.watches {
		for _, r := range watch.ranges {
			if gpa < r.GPA+r.Size && r.GPA < gpa+uint64(len(b)) {
				watch.sink.Hit(w)
				seen++
				break
			}
		}
	}
	if !m.merging {
		m.guard.Flush()
	}
	return seen
}

// A string store is a record for each page, a loop one for each turn, and several for each turn when it is unrolled or also
// holds the zones where nobody minds: one report, that shows the worst.
func TestOneInstructionIsOneReport(t *testing.T) {
	const saved, size = fixedSP, stack1 + 0x2000 - fixedSP
	loop := func(w *hit.Write) {
		w.Registers.SP = direct + stack1 - 0x100
		copy(w.Old, "xxxxxxxx")
	}
	for name, c := range map[string]struct {
		store  func(m *guest, at uint64, turn int)
		stores int // that the report says
		gva    uint64
		bytes  uint64
	}{
		"a loop": {store: func(m *guest, at uint64, _ int) { m.store(at, make([]byte, 16), loop) }, stores: 512, gva: stack1, bytes: 0x2000},
		"unrolled": {store: func(m *guest, at uint64, turn int) {
			m.store(at, make([]byte, 16), loop, func(w *hit.Write) { w.PC += 4 * uint64(turn%4) })
		}, stores: 512, gva: stack1, bytes: 0x2000},
		"a string store": {store: func(m *guest, at uint64, _ int) {
			m.store(at, make([]byte, 16), loop, func(w *hit.Write) {
				w.Kind, w.WholeGVA, w.WholeLen = hit.RepString, direct+stack1, 0x2000
			})
		}, stores: size / 16, gva: saved, bytes: 0x2000},
	} {
		t.Run(name, func(t *testing.T) {
			m := boot(t).armed(Attribute)
			m.park()
			m.merging = true
			turn := 0
			for at := uint64(stack1); at < stack1+0x2000; at += 16 {
				c.store(m, at, turn)
				turn++
			}
			m.store(fixedSP, []byte{1}, func(w *hit.Write) { w.PC, w.Registers.SP = 0xffffffff80009999, direct+stack1-0x100 })
			m.guard.Flush()
			if len(m.events) != 1 { // what the overflow does next is the same finding
				t.Fatalf("%d reports", len(m.events))
			}
			e := m.events[0]
			if e.Victim.Zone != "saved frame" || uint64(e.At) != direct+saved || len(e.Old) != size || len(e.New) != len(e.Old) || e.Rule != "R1" {
				t.Errorf("zone %s, at %v, %d bytes, %d new, %s", e.Victim.Zone, e.At, len(e.Old), len(e.New), e.Rule)
			}
			if name == "a string store" {
				return // the engine says what it wrote in all
			}
			if e.Stores != c.stores || uint64(e.GVA) != direct+c.gva || e.Len != c.bytes {
				t.Errorf("%d stores at %v, %d bytes", e.Stores, e.GVA, e.Len)
			}
		})
	}
}

// A store far away, by another goroutine or in other code is not of the loop.
func TestRun(t *testing.T) {
	next := func() *hit.Write { return &hit.Write{Kind: hit.Store, PC: 0x1000, GVA: 0x2010, Len: 16} }
	for name, change := range map[string]func(*hit.Write){
		"gap": func(w *hit.Write) { w.GVA++ }, "code": func(w *hit.Write) { w.PC += loopSize + 1 }, "goroutine": func(w *hit.Write) { w.Registers.Goroutine = 8 },
		"device": func(w *hit.Write) { w.VCPU = -1 }, "page walk": func(w *hit.Write) { w.Kind = hit.PageWalk },
	} {
		l := make(runs)
		l.of(&hit.Write{Kind: hit.Store, PC: 0x1000, GVA: 0x2000, Len: 16})
		w := next()
		change(w)
		if r := l.of(w); r != nil {
			t.Errorf("%s: goes on: %+v", name, r)
		}
	}
	l := make(runs)
	for g := range uint64(2 * maxRuns) {
		l.of(&hit.Write{Kind: hit.Store, PC: 0x1000, GVA: 0x2000, Len: 16, Registers: hit.Registers{Goroutine: g}})
	}
	moved := next()
	moved.VCPU, moved.Registers.Goroutine = 1, 2*maxRuns-1
	if r := l.of(moved); r == nil || r.stores != 2 || len(l) > maxRuns {
		t.Errorf("a goroutine that moves to another vCPU: %+v of %d", r, len(l))
	}
	var r run
	r.goesOn(&hit.Write{Kind: hit.Store, PC: 0x1000, GVA: 0x2000, Len: 16})
	w := next()
	w.PC, w.WholeGVA, w.WholeLen, w.Len = 0x1004, 0x2010, 16, 8
	if !r.goesOn(w) || r.stores != 2 || r.hi != 0x2020 {
		t.Errorf("%+v", r)
	}
	rest := *w
	rest.GVA += 8
	if !r.goesOn(&rest) || r.stores != 2 {
		t.Errorf("the rest of a store in the next page counts once more: %+v", r)
	}
	down := next()
	down.GVA = 0x1ff0
	if !r.goesOn(down) || r.lo != 0x1ff0 || r.stores != 3 {
		t.Errorf("downwards: %+v", r)
	}
}

func boot(t *testing.T, change ...func(*Config)) *guest {
	m := &guest{t: t, ram: make([]byte, ramSize), engine: &fakeEngine{watches: map[*fakeWatch]bool{}}}
	r, err := debugwindow.Format(m.ram[windowAt:windowAt+debugwindow.MinSize], 2)
	if err != nil {
		t.Fatal(err)
	}
	h := r.Header()
	h.KernelVirt, h.KernelSize, h.DirectMap = 0xffffffff80000000, 0x1000000, direct
	m.r, m.server = r, r.Task(0)
	for i, gp := range []uint64{g1, g2} {
		e := r.Task(i)
		e.State, e.TID, e.PID, e.G = debugwindow.TaskRunning, uint32(i+1), uint32(i+1), direct+gp
		e.SetComm([]string{"server", "client"}[i])
		lo := uint64([]int{goroutine1, goroutine2}[i])
		m.put(gp, direct+lo)
		m.put(gp+8, direct+lo+goroutineSize)
		e.Stacks[0] = debugwindow.Stack{Lo: direct + lo, Hi: direct + lo + goroutineSize, Kind: debugwindow.StackGoroutine}
		fixed := uint64([]int{stack1, stack2}[i])
		e.Stacks[1] = debugwindow.Stack{Lo: direct + fixed, Hi: direct + fixed + 0x2000, Kind: debugwindow.StackFixed}
	}
	h.High = 2
	r.Task(1).Call = 42 + 1
	r.Publish()
	c := Config{
		Memory: m, WindowBase: windowAt, WindowSize: debugwindow.MinSize,
		Translate: func(_, gva uint64) (uint64, bool) { return m.Translate(gva) },
		Engine:    m.engine, Now: func() int64 { return m.now },
		Report:  func(e *report.Event) { m.events = append(m.events, e) },
		Syscall: func(nr uint64) string { return map[uint64]string{42: "connect", 43: "accept"}[nr] },
	}
	for _, f := range change {
		f(&c)
	}
	m.guard = New(c)
	return m
}

// fixedSP is where task 1 left its fixed stack, and keep its goroutine's.
const (
	fixedSP = stack1 + 0x1800
	keep    = goroutine1 + goroutineSize - 0x1200
)

// park puts task 1 to sleep in accept.
func (m *guest) park() {
	e := m.server
	e.Begin()
	e.State, e.Call = debugwindow.TaskParked, 43+1
	e.Parks++
	e.Stacks[0].SP, e.Stacks[0].Keep = direct+keep-0x800, direct+keep
	e.Stacks[1].SP = direct + fixedSP
	e.End()
	if m.returns == 0 {
		m.returns = 0xffffffff80003000
	}
	m.put(fixedSP, m.returns)
	m.now += 1_000_000
	m.guard.Doorbell(debugwindow.BellPark, 0)
	m.now += 1_000_000
}

func (m *guest) wake() {
	m.guard.Doorbell(debugwindow.BellWake, 0)
	e := m.server
	e.Begin()
	e.State = debugwindow.TaskRunning
	e.End()
}

func (m *guest) armed(mode Mode) *guest {
	m.t.Helper()
	if err := m.guard.SetMode(mode); err != nil {
		m.t.Fatal(err)
	}
	return m
}

func TestTheStory(t *testing.T) {
	m := boot(t).armed(Attribute)
	if got := binary.LittleEndian.Uint32(m.ram[windowAt+guardWord:]); got != debugwindow.GuardAttribute|debugwindow.GuardDetect {
		t.Fatalf("the kernel is told %#x", got)
	}
	m.park()
	m.put(fixedSP, 0xffffffff80002000)
	seen := m.store(fixedSP, make([]byte, 64), func(w *hit.Write) {
		w.Kind, w.Instruction, w.WholeGVA, w.WholeLen = hit.RepString, "rep stosq", direct+stack1+0x200, 0x4000
		w.Registers.SP = direct + stack1 + 0x100
		w.Old[0] = 0x20
	})
	if seen != 1 || len(m.events) != 1 {
		t.Fatalf("%d watches saw it, %d reports", seen, len(m.events))
	}
	e := m.events[0]
	v := e.Victim
	if e.Rule != "R1" || e.Task.ID != 2 || e.Task.Name != "client" || e.Task.Call != "connect(2)" || v.Task.ID != 1 || v.Task.Call != "accept(2)" ||
		v.Zone != "saved frame" || v.Asleep != 1_000_000 || uint64(v.Lo) != direct+stack1 || e.Len != 0x4000 || uint64(e.GVA) != direct+stack1+0x200 || len(e.Old) != 64 || e.Engine != "page protection" {
		t.Errorf("%+v\nvictim %+v\nwriter %+v", e, v, e.Task)
	}
	if !strings.Contains(strings.Join(e.Because, " "), "7936 bytes below the stack of task 2") {
		t.Errorf("%q", e.Because)
	}
	m.wake()
	if len(m.engine.watches) != 0 || m.store(fixedSP, make([]byte, 8)) != 0 {
		t.Error("the stack is still watched")
	}
	if c := m.guard.Counters(); c.Sleeps != 1 || c.Missed != 0 || c.Hits != 1 || c.Engine != "page protection" || c.Paused != 7 {
		t.Errorf("%+v", c)
	}
}

// What is a report and what is not, byte by byte.
func TestZones(t *testing.T) {
	const top = stack1 + 0x2000
	for _, row := range []struct {
		name  string
		gpa   uint64
		n     int
		zone  string // "" for no report
		first uint64 // of the bytes in the report
		count func(report.Counters) uint64
	}{
		{"saved frame", fixedSP, 8, "saved frame", fixedSP, nil},
		{"live frames", fixedSP + 0x100, 8, "live", fixedSP + 0x100, nil},
		{"last byte", top - 1, 1, "live", top - 1, nil},
		{"unused part", fixedSP - 8, 8, "", 0, func(c report.Counters) uint64 { return c.Dead }},
		{"from unused into used", fixedSP - 8, 16, "saved frame", fixedSP, nil},
		{"lowest bytes", stack1, 8, "", 0, func(c report.Counters) uint64 { return c.Dead }},
		{"goroutine, what it keeps", goroutine1 + 0x3000, 8, "live", goroutine1 + 0x3000, nil},
		{"goroutine, end", goroutine1 + goroutineSize - 8, 8, "live", goroutine1 + goroutineSize - 8, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := boot(t).armed(Attribute)
			m.park()
			before := append([]byte(nil), m.ram[row.gpa:row.gpa+uint64(row.n)]...)
			if m.store(row.gpa, []byte(strings.Repeat("x", row.n))) == 0 {
				t.Fatal("not watched")
			}
			if row.zone == "" {
				if len(m.events) != 0 || row.count(m.guard.Counters()) != 1 {
					t.Errorf("%d reports, %+v", len(m.events), m.guard.Counters())
				}
				return
			}
			if len(m.events) != 1 {
				t.Fatalf("%d reports", len(m.events))
			}
			e := m.events[0]
			skip := row.first - row.gpa
			if e.Rule != "R10" && row.n == 8 || e.Victim.Zone != row.zone || uint64(e.At) != direct+row.first || string(e.Old) != string(before[skip:]) || len(e.New) != row.n-int(skip) {
				t.Errorf("%+v, victim %+v", e, e.Victim)
			}
		})
	}
}

// The owner runs on below Keep for a while after the bell: its page is not watched.
func TestTheOwnersPageIsLeftAlone(t *testing.T) {
	m := boot(t).armed(Attribute)
	m.park()
	for _, gpa := range []uint64{goroutine1, keep - 8, keep, goroutine1 + 0x2ff8} {
		if m.store(gpa, make([]byte, 8)) != 0 {
			t.Errorf("%#x is watched", gpa)
		}
	}
}

func TestRunningStacksAreNotWatched(t *testing.T) {
	m := boot(t).armed(Attribute)
	e := m.r.Task(0)
	m.guard.Doorbell(debugwindow.BellPark, 0) // rung, and yet not parked
	if len(m.engine.watches) != 0 || m.guard.Counters().Missed != 1 {
		t.Error("watched although it runs")
	}
	m.park()
	e.State = debugwindow.TaskRunning // woken, the bell not rung yet
	if m.store(fixedSP, make([]byte, 8)) != 1 || len(m.events) != 0 {
		t.Error("a report about a task that runs")
	}
}

func TestMovedStackIsFollowed(t *testing.T) {
	m := boot(t).armed(Attribute)
	m.park()
	const now = 0x80000
	m.put(g1, direct+now)
	m.put(g1+8, direct+now+2*goroutineSize)
	if m.store(goroutine1+0x3000, []byte{1}) != 1 || len(m.events) != 0 || m.guard.Counters().Outside != 1 {
		t.Errorf("%d reports, %+v", len(m.events), m.guard.Counters())
	}
	if m.store(goroutine1+0x3000, []byte{1}) != 0 {
		t.Error("where it was is still watched")
	}
	if m.store(fixedSP+0x100, []byte{1}); len(m.events) != 1 {
		t.Error("its other stack is no longer watched")
	}
	if m.store(now+2*goroutineSize-8, []byte{1}); len(m.events) != 2 || uint64(m.events[1].Victim.Hi) != direct+now+2*goroutineSize {
		t.Error("where it lies now is not watched")
	}
	m.wake()
	if len(m.engine.watches) != 0 {
		t.Error("a watch is left")
	}
}

func TestFloodEndsTheWatch(t *testing.T) {
	m := boot(t).armed(Attribute)
	m.park()
	m.server.Parks++ // what sleeps there now is another sleep, whose bell is late
	n := 0
	for m.store(goroutine1+0x3000, []byte{byte(n)}) > 0 {
		if n++; n > flood+1 {
			t.Fatal("without end")
		}
	}
	if c := m.guard.Counters(); n != flood || c.Missed != 1 {
		t.Errorf("after %d writes, %+v", n, c)
	}
	m.wake()
}

// kernel is this test as a kernel image: its symbols name writers.
func kernel(t *testing.T) *symbols.Table {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, err := elf.NewFile(f)
	if err != nil {
		t.Fatal(err)
	}
	at := ^uint64(0)
	for _, p := range x.Progs {
		if p.Type == elf.PT_LOAD {
			at = min(at, p.Vaddr)
		}
	}
	table, err := symbols.Load(f, at)
	if err != nil {
		t.Skip(err)
	}
	return table
}

func TestAllowRules(t *testing.T) {
	table := kernel(t)
	pc := func(name string) uint64 {
		at, ok := table.Find(name)
		if !ok {
			t.Skipf("no %s in the test binary", name)
		}
		return at
	}
	for _, row := range []struct {
		name   string
		chain  []string // pc, and callers by frame pointer
		gpa    uint64
		report bool
		rule   string
	}{
		{"channel", []string{"runtime.memmove", "runtime.sendDirect"}, fixedSP + 0x100, false, "channel"},
		{"prefix", []string{"runtime.adjustframe"}, fixedSP + 0x100, false, "stack move"},
		{"never the saved frame", []string{"runtime.memmove", "runtime.sendDirect"}, fixedSP, true, ""},
		{"too far up", []string{"runtime.memmove", "runtime.main", "runtime.goexit", "runtime.sendDirect"}, fixedSP + 0x100, true, ""},
		{"nobody's", []string{"runtime.memmove", "runtime.main"}, fixedSP + 0x100, true, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := boot(t, func(c *Config) { c.Symbols = func() *symbols.Table { return table } }).armed(Attribute)
			m.park()
			const frames = 0x43000 // on task 2's stack
			for i, name := range row.chain[1:] {
				m.put(uint64(frames+i*16), direct+uint64(frames+i*16+16))
				m.put(uint64(frames+i*16+8), pc(name)+9)
			}
			m.store(row.gpa, []byte{1}, func(w *hit.Write) {
				w.PC, w.Registers.PC, w.Registers.FP = pc(row.chain[0])+9, pc(row.chain[0])+9, direct+frames
			})
			if (len(m.events) == 1) != row.report {
				t.Fatalf("%d reports", len(m.events))
			}
			if row.report {
				if len(m.events[0].Stack) != len(row.chain) || m.events[0].Stack[0].Function != row.chain[0] {
					t.Errorf("stack %+v", m.events[0].Stack)
				}
				return
			}
			if a := m.guard.Counters().Allowed; len(a) != 1 || a[0] != (report.Allowed{Rule: row.rule, Hits: 1}) {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestDevicesAreNamed(t *testing.T) {
	m := boot(t).armed(Attribute)
	m.park()
	m.store(fixedSP+0x200, []byte("data"), func(w *hit.Write) {
		*w = hit.Write{GPA: w.GPA, Len: w.Len, Old: w.Old, New: w.New, VCPU: -1, Kind: hit.Device, Source: "virtio-blk, queue 0, head 12", Engine: hit.Accessor}
	})
	if len(m.events) != 1 || m.events[0].Rule != "R9" || m.events[0].Source != "virtio-blk, queue 0, head 12" || m.events[0].Task != nil {
		t.Fatalf("%+v", m.events)
	}
}

func TestDetect(t *testing.T) {
	m := boot(t).armed(Detect)
	m.park()
	if len(m.engine.watches) != 0 {
		t.Fatal("detect protects nothing")
	}
	const snapshot = 0x70000
	size := uint64(goroutine1 + goroutineSize - keep)
	copy(m.ram[snapshot:], m.ram[keep:keep+size])
	m.r.Task(0).Snapshot, m.r.Task(0).SnapshotSize = direct+snapshot, size
	m.put(keep+0x40, 0x1122334455667788)
	m.guard.Doorbell(debugwindow.BellMismatch, 0)
	if len(m.events) != 1 {
		t.Fatal("no report")
	}
	e := m.events[0]
	if e.Kind != report.KindChange || e.Rule != "RD" || uint64(e.At) != direct+keep+0x40 || len(e.Old) != 8 || e.Victim.Task.Name != "server" {
		t.Errorf("%+v, victim %+v", e, e.Victim)
	}
}

// In attribute mode a difference without a write is the engine's failure; with one it has been reported.
func TestEngineIsChecked(t *testing.T) {
	for _, seen := range []bool{false, true} {
		m := boot(t).armed(Attribute)
		m.park()
		if seen {
			m.store(fixedSP+0x100, []byte{1})
			m.events = nil
		}
		m.guard.Doorbell(debugwindow.BellMismatch, 0)
		switch {
		case seen && len(m.events) != 0:
			t.Error("reported twice")
		case !seen && (len(m.events) != 1 || m.events[0].Rule != "R0b"):
			t.Errorf("%+v", m.events)
		}
	}
}

func TestBadFrameNeedsNoWriter(t *testing.T) {
	m := boot(t).armed(Attribute)
	m.returns = direct + stack1
	m.park()
	if len(m.events) != 1 || m.events[0].Rule != "R0" || m.events[0].Victim.Task.Name != "server" || uint64(m.events[0].At) != direct+fixedSP {
		t.Fatalf("%+v", m.events)
	}
	if m = boot(t).armed(Attribute); m.guard.Mode() == Attribute {
		if m.park(); len(m.events) != 0 {
			t.Errorf("%+v", m.events)
		}
	}
}

func TestModes(t *testing.T) {
	for text, want := range map[string]Mode{"": Off, "off": Off, "stacks": Attribute, "stacks=detect": Detect, "stacks=attribute": Attribute, "stacks=off": Off} {
		if m, err := ParseMode(text); err != nil || m != want {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
	for _, text := range []string{"stack", "stacks=", "stacks=Detect", "detect", "=detect"} {
		if _, err := ParseMode(text); !errors.Is(err, ErrMode) {
			t.Errorf("%q: %v", text, err)
		}
	}
	m := boot(t).armed(Attribute)
	m.park()
	if m.armed(Off); len(m.engine.watches) != 0 || binary.LittleEndian.Uint32(m.ram[windowAt+guardWord:]) != 0 {
		t.Error("off, and still armed")
	}
	m.wake()
	m.armed(Attribute).park()
	if m.guard.Close(); len(m.engine.watches) != 0 {
		t.Error("closed, and still armed")
	}
	if err := boot(t, func(c *Config) { c.Engine = nil }).guard.SetMode(Attribute); !errors.Is(err, ErrNoEngine) {
		t.Error(err)
	}
	if err := boot(t, func(c *Config) { c.WindowSize = 0 }).guard.SetMode(Detect); !errors.Is(err, ErrNoWindow) {
		t.Error(err)
	}
	if w, err := debugwindow.Open(m, windowAt, debugwindow.MinSize); err != nil || w.GuardAddress() != windowAt+guardWord {
		t.Error(err)
	}
}

func TestFailuresAreCounted(t *testing.T) {
	m := boot(t).armed(Attribute)
	m.engine.fail = errors.New("out of watches")
	m.park()
	if c := m.guard.Counters(); c.Missed != 1 || len(c.Unavailable) != 1 || c.Unavailable[0] != "out of watches" {
		t.Errorf("%+v", c)
	}
	m.engine.fail = nil
	m.ram[windowAt] = 1 // no magic
	m2 := boot(t).armed(Attribute)
	m2.ram[windowAt] = 1
	m2.park()
	if c := m2.guard.Counters(); c.Missed == 0 || len(c.Unavailable) != 1 {
		t.Errorf("%+v", c)
	}
}

// Whatever lies in the window, the guard neither panics nor hangs.
func FuzzHostileWindow(f *testing.F) {
	f.Add([]byte{1}, uint32(1<<24), uint64(stack1), uint64(fixedSP))
	f.Fuzz(func(t *testing.T, junk []byte, bell uint32, at, gpa uint64) {
		m := boot(t).armed(Attribute)
		m.park()
		copy(m.ram[windowAt+8+at%debugwindow.MinSize:], junk)
		m.guard.Doorbell(debugwindow.UnpackBell(bell))
		m.park()
		m.store(gpa%(ramSize-8), make([]byte, 8))
		m.guard.Doorbell(debugwindow.UnpackBell(bell))
		m.guard.Counters()
		m.guard.Close()
	})
}

// What a handler does on the sleeping stack on which its event was delivered follows from that; what the vCPU does on its own stack later does not.
func TestHandlerOnASleepingStackIsOneFinding(t *testing.T) {
	m := boot(t).armed(Attribute)
	m.park()
	const top = stack1 + 0x2000
	frame := make([]byte, 40)
	frame[0] = 1
	m.store(top-40, frame, func(w *hit.Write) { w.Kind = hit.Delivery })
	m.store(top-48, []byte{1}, func(w *hit.Write) { w.Kind, w.Registers.SP = hit.Push, direct+top-40 })
	if len(m.events) != 1 || m.events[0].Rule != "R5" || m.events[0].Task == nil || m.events[0].Task.Name != "client" || len(m.events[0].New) != 40 {
		t.Fatalf("%d events: %+v", len(m.events), m.events)
	}
	m.store(top-48, []byte{2})
	if len(m.events) != 2 || m.events[1].Rule != "R10" {
		t.Errorf("%d events: %+v", len(m.events), m.events)
	}
	m.store(top-48, []byte{3}, func(w *hit.Write) { w.Kind, w.Registers.SP = hit.Push, direct+top-40 })
	if len(m.events) != 3 || m.events[2].Rule != "R1" { // the test's client has its own stack just above
		t.Errorf("%d events: %+v", len(m.events), m.events)
	}
}
