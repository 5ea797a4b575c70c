package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringo/debug/classify"
)

func address(a uint64) Address { return Address(a) }

// story is the report that the project exists for.
func story() *Event {
	const hi = 0xffff_8000_0ff0_4000
	e := &Event{
		T: 412_873_000, Kind: KindWrite, Rule: "R1", Verdict: classify.R1.Title(),
		Because: []string{
			"sp 0xffff80000ff01d40 is 8896 bytes below the stack of task 3 \"client\", [0xffff80000ff04000, 0xffff80000ff06000)",
			"unixsocket.newStream needs a frame of 16464 bytes, the stack has 8192",
		},
		VCPU: 0, Task: &Task{3, "client", "connect(2)"}, How: "rep string", Insn: "rep stosq qword ptr [rdi], rax",
		PC: 0xffffffff8021f0a5, SP: 0xffff80000ff01d40, Flags: 0x246, GVA: 0xffff80000ff01d80, GPA: 0x0ff033e8, Len: 16384, At: address(hi - 0xc18),
		Old: bytes.Repeat([]byte{0x3f, 0x2c, 0x1d, 0, 0, 0x80, 0xff, 0xff}, 12), New: make([]byte, 96),
		Stack: []Frame{
			{0xffffffff8021f0a5, "runtime.memclrNoHeapPointers", 0x25, "/usr/local/go/src/runtime/memclr_amd64.s", 77},
			{0xffffffff80310022, "ringo/guestkernel/inject.(*aVeryLongTypeNameIndeedToWrapTheLine).overflowTheStackOfThisTask", 0x2f, "/somewhere/guestkernel/inject/stack.go", 41},
			{PC: 0xffffffff80320000},
		},
		Victim: &Victim{
			Task: &Task{2, "server", "accept(2)"}, What: "kernel stack", Lo: address(hi - 0x2000), Hi: address(hi), SP: address(hi - 0xc18), Zone: "saved frame", Asleep: 1_830_000,
			Stack: []Frame{{0xffffffff80330000, "ringo/guestkernel/task.(*Task).Sleep", 0x100, "/somewhere/guestkernel/task/run.go", 110}},
		},
		History: []string{"task 3 entered connect(2) 12.0 us before"},
		Engine:  "page protection",
	}
	ReturnAddresses(e, func(v uint64) (string, bool) { return "task.(*Task).Sleep+0x100 (run.go:110)", v != 0 })
	return e
}

func counters() Counters {
	return Counters{Engine: "page protection", Hits: 9, Outside: 3, Dead: 1, Allowed: []Allowed{{"runtime.sendDirect", 4}}, Paused: 9, Sleeps: 120}
}

func header() Header {
	return Header{Kernel: "abc/def", Monitor: "go1.26", Arch: "amd64", CPUs: 2, Guard: "stacks=attribute", Engine: "page protection", Start: "2026-01-02T03:04:05Z"}
}

func TestTextOfTheStory(t *testing.T) {
	var b strings.Builder
	c := counters()
	e := story()
	e.ID = "stack-0001"
	if err := WriteText(&b, e, &c, Style{}); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	golden := filepath.Join("testdata", "story.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("report differs from %s (go test -update writes it):\n%s", golden, text)
	}
	plain(t, text)
	if strings.Contains(text, "\x1b") {
		t.Error("colour without a terminal")
	}
	b.Reset()
	if err := WriteText(&b, e, &c, Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\x1b[1;31mBUG") {
		t.Error("no colour on a terminal")
	}
}

// plain: ASCII, and no line beyond Width.
func plain(t *testing.T, text string) {
	t.Helper()
	for _, l := range strings.Split(text, "\n") {
		if len(l) > Width {
			t.Errorf("%d columns: %s", len(l), l)
		}
		for _, c := range []byte(l) {
			if c < 0x20 || c > 0x7e {
				t.Errorf("byte %#x in %q", c, l)
				break
			}
		}
	}
}

// Whatever the guest calls itself, the report stays readable.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{"", "\x1b[2Jboo", strings.Repeat("x", 5000), "\xff\xfe", "a\nb", "\"; rm"} {
		e := story()
		e.Task.Name, e.Victim.Task.Name, e.Insn, e.Victim.What = name, name, name, name
		e.Stack[0].Function, e.Stack[1].File, e.Because[0], e.History[0] = name, name, name, name
		var b strings.Builder
		if err := WriteText(&b, e, nil, Style{}); err != nil {
			t.Fatal(err)
		}
		plain(t, b.String())
	}
	for _, e := range []*Event{{}, {Kind: KindWrite}, {Kind: KindChange, Victim: &Victim{}}, {Kind: KindCrash, Verdict: "dead"}} {
		var b strings.Builder
		if err := WriteText(&b, e, nil, Style{}); err != nil {
			t.Fatal(err)
		}
		plain(t, b.String())
	}
}

func TestSilentStoresSaySo(t *testing.T) {
	e := story()
	e.Old = make([]byte, 96)
	var b strings.Builder
	if err := WriteText(&b, e, nil, Style{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "a silent store") || strings.Contains(b.String(), "^^") {
		t.Error(b.String())
	}
}

// A folder of reports: what was recorded reads back and is valid; what says the same is counted.
func TestFolder(t *testing.T) {
	dir := Folder(t.TempDir(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if filepath.Base(dir) != "vm-debug-20260102-030405" {
		t.Error(dir)
	}
	var text strings.Builder
	r, err := NewRecorder(Options{Header: header(), Text: &text, Dir: dir, Counters: counters})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Add(story()) || r.Add(story()) || r.Add(story()) {
		t.Error("the first is new, the others are repeats")
	}
	later := story() // the overflow goes on elsewhere
	later.Stack[0].Line++
	if r.Add(later) {
		t.Error("an overflow is one event")
	}
	other := story()
	other.Rule = "R10"
	if !r.Add(other) || !r.Add(&Event{Kind: KindCrash, Verdict: "the kernel panicked", VCPU: -1, Text: "..."}) {
		t.Error("another place is another event")
	}
	if err := r.Attach("trace", func(w io.Writer) error { _, err := w.Write([]byte("x")); return err }); err != nil {
		t.Error(err)
	}
	footer, err := r.Close()
	if err != nil || footer.Events != 3 || footer.Repeats["stack-0001"] != 3 {
		t.Errorf("%+v, %v", footer, err)
	}
	if again, err := r.Close(); err != nil || again.Events != 3 || r.Add(story()) {
		t.Error("closing twice")
	}
	b, err := os.ReadFile(filepath.Join(dir, "report.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if !f.Complete || len(f.Events) != 3 || f.Events[0].ID != "stack-0001" || f.Events[2].ID != "crash-0003" || f.Header.CPUs != 2 {
		t.Errorf("%+v", f)
	}
	want := story()
	want.V, want.Seq, want.ID = 1, 1, "stack-0001"
	x, _ := json.Marshal(want)
	y, _ := json.Marshal(f.Events[0])
	if !bytes.Equal(x, y) {
		t.Errorf("read back\n%s\nwritten\n%s", y, x)
	}
	report, _ := os.ReadFile(filepath.Join(dir, "report.txt"))
	screen := text.String() // a crash is printed by who runs the guest
	if i := strings.Index(string(report), "CRASH: "); i < 0 || !strings.HasPrefix(screen, string(report[:i])) || !strings.HasSuffix(string(report), screen[i:]) || !strings.Contains(text.String(), "2 reports, and the guest crashed (and 3 repeats); 0 events dropped") {
		t.Errorf("on screen:\n%s\nin the file:\n%s", text.String(), report)
	}
	index, _ := os.ReadFile(filepath.Join(dir, "index.txt"))
	for _, want := range []string{"stack-0001   R1   stack overflow of the writer (3 times more)", "what the guest's kernel recorded", "0 events dropped"} {
		if !strings.Contains(string(index), want) {
			t.Errorf("the index lacks %q:\n%s", want, index)
		}
	}
	if _, err := NewRecorder(Options{Header: header(), Dir: dir}); err == nil {
		t.Error("a report was overwritten")
	}
}

func TestReadRefuses(t *testing.T) {
	line := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	h := header()
	h.V, h.Kind, h.Schema = 1, kindHeader, schemaName
	good := func(change func(*Event)) string {
		e := story()
		e.V, e.Seq, e.ID = 1, 1, "stack-0001"
		change(e)
		return line(e)
	}
	head, none := line(h), func(*Event) {}
	foot := line(Footer{V: 1, Kind: kindFooter, Events: 1})
	for name, row := range map[string]struct {
		text string
		ok   bool
	}{
		"whole":             {head + "\n" + good(none) + "\n" + foot, true},
		"monitor died":      {head + "\n" + good(none), true},
		"nothing found":     {head + "\n" + line(Footer{V: 1, Kind: kindFooter}), true},
		"empty":             {"", false},
		"no header":         {good(none), false},
		"newer":             {strings.Replace(head, `"v":1`, `"v":2`, 1), false},
		"not JSON":          {head + "\nboo", false},
		"unknown field":     {head + "\n" + strings.Replace(good(none), `"seq"`, `"boo":1,"seq"`, 1), false},
		"behind the end":    {head + "\n" + good(none) + "\n" + foot + "\n" + good(none), false},
		"count":             {head + "\n" + foot, false},
		"order":             {head + "\n" + good(func(e *Event) { e.Seq = 2 }), false},
		"rule":              {head + "\n" + good(func(e *Event) { e.Rule = "R99" }), false},
		"no evidence":       {head + "\n" + good(func(e *Event) { e.Because = nil }), false},
		"bytes":             {head + "\n" + good(func(e *Event) { e.Old = e.Old[1:] }), false},
		"no bytes":          {head + "\n" + good(func(e *Event) { e.Old, e.New, e.Notes = nil, nil, nil }), false},
		"note":              {head + "\n" + good(func(e *Event) { e.Notes[0].Offset = 1 << 20 }), false},
		"victim":            {head + "\n" + good(func(e *Event) { e.Victim.Hi = 0 }), false},
		"kind":              {head + "\n" + good(func(e *Event) { e.Kind = "boo" }), false},
		"nobody":            {head + "\n" + good(func(e *Event) { e.VCPU = -1 }), false},
		"no id":             {head + "\n" + good(func(e *Event) { e.ID = "" }), false},
		"address":           {head + "\n" + strings.Replace(good(none), `"pc":"0x`, `"pc":"`, 1), false},
		"no kernel":         {strings.Replace(head, "abc/def", "", 1), false},
		"change, no victim": {head + "\n" + good(func(e *Event) { e.Kind, e.Victim = KindChange, nil }), false},
		"no engine":         {head + "\n" + good(func(e *Event) { e.Engine = "" }), false},
	} {
		if _, err := Read(strings.NewReader(row.text)); (err == nil) != row.ok || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"v":1,"kind":"schema","schema":"ringo-debug","kernel":"a","monitor":"b","arch":"amd64","cpus":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		for i := range file.Events {
			var text strings.Builder
			if err := WriteText(&text, &file.Events[i], &file.Footer.Counters, Style{}); err != nil {
				t.Fatal(err)
			}
			if file.Events[i].Kind != KindCrash { // its lines are as long as they are
				plain(t, text.String())
			}
		}
	})
}

func TestManyEventsAreBounded(t *testing.T) {
	r, err := NewRecorder(Options{Header: header(), Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxEvents + 10 {
		e := story()
		e.Rule, e.Stack[0].Line = "R10", i
		r.Add(e)
	}
	if f, _ := r.Close(); f.Events != maxEvents || f.Repeats["too many"] != 10 {
		t.Errorf("%d events, %v", f.Events, f.Repeats)
	}
}
