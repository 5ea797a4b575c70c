package trace

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"ringo/debug/symbols"
	"ringo/internal/tracewindow"
)

// recorded is a window with a small story in it: a shell forks nothing, reads, sleeps and is killed.
func recorded(t testing.TB) []byte {
	t.Helper()
	words := make([]uint64, tracewindow.SizeFor(2, 64)/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	var r tracewindow.Rings
	h := tracewindow.Header{Machine: uint32(elf.EM_X86_64), CounterHz: 1e9, Started: 1000}
	if !r.Init(uintptr(unsafe.Pointer(&words[0])), uint64(len(b)), 2, &h) {
		t.Fatal("no room")
	}
	text := uint64('s') | uint64('h')<<8
	r.Emit(0, 2000, tracewindow.Task, 0, 7, 7, 1, text, 0)
	r.Emit(0, 2500, tracewindow.Switch, 0, 0, 3, 1, 0x40_0010, 0)
	r.Emit(0, 3000, tracewindow.Enter, 0, 7, 3, 0x7000, 16, 0)
	r.Emit(0, 4000, tracewindow.Block, 1, 7, 1, 0, 0x40_0020, 0x40_0030)
	r.Emit(1, 5000, tracewindow.Switch, 0, 0, 4, 3, 0, 0)
	r.Emit(0, 5500, tracewindow.Switch, 0, 0, 5, 3, 0, 0)
	r.Emit(1, 6000, tracewindow.Wake, 0, 7, 2000, 1, 0, 0)
	neg := int64(-4)
	r.Call(7000, tracewindow.Head(tracewindow.Exit, 1, 0, 7), uint64(neg), &[4]uint64{3, 0x7000, 16}, 4000)
	r.Emit(1, 7500, tracewindow.Signal, 15, 7, 0, 0, 0, 0)
	r.Emit(1, 8000, tracewindow.Fault, 0, 7, 0x5000, 2, 0x6000, 0)
	r.Emit(0, 8500, tracewindow.FrameAlloc, 1, 0, 0x9000, 0, 0x40_0020, 0)
	r.Emit(0, 8600, tracewindow.Enter, 9999, 7, 0, 0, 0, 0)
	r.Emit(0, 8700, tracewindow.Kind(40), 3, 7, 1, 2, 3, 4)
	r.Emit(0, 8800, tracewindow.Mark, 0, 7, text, 0, 0, 0)
	return b
}

type names16 struct{}

func (names16) Lookup(gva uint64) (symbols.Symbol, bool) {
	return symbols.Symbol{Function: "fn", Offset: gva & 0xf}, gva >= 0x40_0000 && gva < 0x41_0000
}

func decode(t testing.TB, b []byte) *Trace {
	t.Helper()
	tr, err := ReadFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestText(t *testing.T) {
	tr := decode(t, recorded(t))
	tr.SetOwners([]string{"free", "page table"})
	var out strings.Builder
	if err := tr.WriteText(&out, nil, names16{}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{
		`0.000001  cpu0  [7 sh]                 task pid=7 parent=1 name="sh"`,
		`0.000002  cpu0                         switch to=3 from=1 pc=fn`,
		`read(0x3, 0x7000, 0x10, 0x0, 0x0, 0x0) ...`,
		`block in read, waits for an event; fn <- fn`,
		`cpu1                         switch to=4 from=3 pc=0x0`,
		`switch to=5`,
		`wake slept=2µs how=interrupted`,
		`read(0x3, 0x7000, 0x10, 0x0, ...) = EINTR  (4µs)`,
		`signal 15 SIGTERM code=0 handler=0x0`,
		`fault address=0x5000 access=write pc=0x6000`,
		`frame alloc (page table) frame=0x9000 order=0 by=fn from=0x0`,
		`syscall_9999(`,
		`kind 40, code 3: [0x1 0x2 0x3 0x4 0x0 0x0]`,
		`mark sh`,
	} {
		if i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Errorf("line %d does not contain %q:\n%s", i, want, out.String())
		}
	}
	out.Reset()
	if err := tr.WriteSummary(&out); err != nil || !strings.Contains(out.String(), "14 events") || !strings.Contains(out.String(), "lost: 0 overwritten by newer ones, 0 torn") {
		t.Errorf("summary %q, %v", out.String(), err)
	}
}

func TestSelect(t *testing.T) {
	tr := decode(t, recorded(t))
	for _, c := range []struct {
		name string
		f    Filter
		want int
	}{
		{"all", Filter{}, 14}, {"task", Filter{Task: 7}, 10}, {"since", Filter{Since: 800 * time.Nanosecond}, 5}, {"last", Filter{Last: 3}, 3},
		{"no such task", Filter{Task: 99}, 0},
	} {
		if got := len(tr.Select(c.f).Events); got != c.want {
			t.Errorf("%s: %d events, want %d", c.name, got, c.want)
		}
	}
	var out strings.Builder
	if err := tr.Select(Filter{Last: 1}).WriteText(&out, tr, nil); err != nil || !strings.Contains(out.String(), "[7 sh]") {
		t.Errorf("a selection has lost the names: %q, %v", out.String(), err)
	}
}

func TestFollowAnswersEachEventOnce(t *testing.T) {
	b := recorded(t)
	r, err := NewReader(file{bytes.NewReader(b), int64(len(b))}, 0, uint64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if first, second := len(r.Next().Events), len(r.Next().Events); first != 14 || second != 0 {
		t.Errorf("%d, then %d events", first, second)
	}
}

func TestPerfettoIsValidAndPairsCalls(t *testing.T) {
	tr := decode(t, recorded(t))
	var out bytes.Buffer
	if err := tr.WritePerfetto(&out, names16{}); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		TraceEvents []slice `json:"traceEvents"`
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	count := map[string]int{}
	for _, s := range doc.TraceEvents {
		count[s.Phase+" "+s.Name]++
		if s.Phase == "X" && s.Name == "read" && (*s.Took != 4 || s.TID != 7 || s.PID != 7 || s.Args["result"] != "EINTR") {
			t.Errorf("read: %+v", s)
		}
	}
	for want, n := range map[string]int{"X read": 1, "X asleep": 1, "X thread 3": 1, "B syscall_9999": 1, "i fault": 1, "M thread_name": 3, "i signal": 1} {
		if count[want] != n {
			t.Errorf("%d of %q, want %d: %v", count[want], want, n, count)
		}
	}
}

// A trace is what a hostile guest wrote, or any file.
func FuzzReadFile(f *testing.F) {
	b := recorded(f)
	f.Add(b)
	f.Add(b[:5000])
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := ReadFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := tr.Select(Filter{Since: time.Second}).WriteText(&out, tr, nil); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		if err := tr.WritePerfetto(&out, nil); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(out.Bytes()) {
			t.Fatalf("not JSON: %q", out.Bytes())
		}
	})
}

// A selection's lines have the names that tasks had at that moment, though it has no event that says so.
func TestSelectionsKnowLaterNames(t *testing.T) {
	tr := decode(t, recorded(t))
	named := tr.Events[0]
	named.Seq, named.Args[2] = tr.Events[5].Seq, 'x'
	all := *tr
	all.Events = slices.Insert(slices.Clone(tr.Events), 6, named)
	some := all
	some.Events = []tracewindow.Event{all.Events[3], all.Events[10]}
	var out strings.Builder
	if err := some.WriteText(&out, &all, nil); err != nil || !strings.Contains(out.String(), "[7 sh]") || !strings.Contains(out.String(), "[7 x]") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
