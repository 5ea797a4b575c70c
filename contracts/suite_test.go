package contracts

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	debugreport "ringo/debug/report"
)

// fakeMachine runs programs by their names.
type fakeMachine struct {
	mu      sync.Mutex
	batches [][]string
	dies    map[string]How // the machine dies with this program
	lost    map[string]bool
	qemu    map[string]int // so many guests die with this program as QEMU lets them
	out     func(name string) string
	busy    int
	most    int
}

func (m *fakeMachine) Run(ctx context.Context, b Batch, report func(Result)) error {
	m.mu.Lock()
	var names []string
	for _, p := range b.Programs {
		names = append(names, p.Name)
	}
	m.batches = append(m.batches, names)
	m.busy++
	m.most = max(m.most, m.busy)
	m.mu.Unlock()
	defer func() { m.mu.Lock(); m.busy--; m.mu.Unlock() }()
	for _, p := range b.Programs {
		if m.lost[p.Name] {
			return nil
		}
		m.mu.Lock()
		qemu := m.qemu[p.Name] > 0
		if qemu {
			m.qemu[p.Name]--
		}
		m.mu.Unlock()
		if qemu {
			end := []Result{
				{How: Crashed, Report: "SHUTDOWN\n" + debugreport.RegistersLost + "\n"},
				{How: TimedOut, Report: "hung\n    gdt fffffe7a7227e000+007f  idt fffffe0000000000+0fff  tr 0030\n"},
			}[p.Name[len(p.Name)-1]%2]
			end.Name = p.Name
			report(end)
			return nil
		}
		if how, dies := m.dies[p.Name]; dies {
			report(Result{Name: p.Name, How: how, Report: "it died"})
			return nil
		}
		out := "CONTRACT_PASS\n"
		if m.out != nil {
			out = m.out(p.Name) + out
		}
		report(Result{Name: p.Name, How: Exited, Stdout: []byte(out)})
	}
	return ctx.Err()
}

func programs(n int) []Program {
	var ps []Program
	for i := range n {
		ps = append(ps, Program{Name: fmt.Sprintf("area%d/p%02d", i%3, i)})
	}
	return ps
}

func TestSuiteGivesTheRestOfADeadMachineToAnother(t *testing.T) {
	linux, ringo := &fakeMachine{}, &fakeMachine{dies: map[string]How{"area1/p01": Crashed, "area2/p05": TimedOut}}
	var events []Event
	s := &Suite{Programs: programs(8), Linux: linux, Ringo: ringo, Judged: OnRingo, Timeout: time.Second, Jobs: 2, BatchSize: 4, Report: func(e Event) { events = append(events, e) }}
	got, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var verdicts []Verdict
	for i, j := range got {
		if j.Program.Name != s.Programs[i].Name {
			t.Errorf("judgement %d is of %s", i, j.Program.Name)
		}
		verdicts = append(verdicts, j.Verdict)
	}
	if want := []Verdict{Pass, Crash, Pass, Pass, Pass, Timeout, Pass, Pass}; !slices.Equal(verdicts, want) {
		t.Errorf("verdicts %v, want %v", verdicts, want)
	}
	if len(ringo.batches) != 4 || len(linux.batches) != 1 {
		t.Errorf("%d guests and %d drivers on Linux, want 4 and 1: %v", len(ringo.batches), len(linux.batches), ringo.batches)
	}
	begun, done := 0, 0
	for _, e := range events {
		if e.Done != nil {
			done++
		} else {
			begun++
		}
	}
	if begun != 8 || done != 8 {
		t.Errorf("%d begun and %d done, want 8 of each", begun, done)
	}
}

// A guest that QEMU has killed gets a second one, and the result says so; a program that loses both has crashed.
func TestSuiteRunsAgainWhatQEMUKilled(t *testing.T) {
	for _, size := range []int{1, 4} {
		ringo := &fakeMachine{qemu: map[string]int{"area1/p01": 1, "area2/p02": 2}}
		s := &Suite{Programs: programs(4), Linux: &fakeMachine{}, Ringo: ringo, Judged: OnRingo, BatchSize: size}
		got, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var verdicts []Verdict
		for _, j := range got {
			verdicts = append(verdicts, j.Verdict)
		}
		if want := []Verdict{Pass, Pass, Crash, Pass}; !slices.Equal(verdicts, want) {
			t.Errorf("batches of %d: verdicts %v, want %v", size, verdicts, want)
		}
		if got[0].Why != "" || !strings.Contains(got[1].Why, "second guest") {
			t.Errorf("batches of %d: %q and %q, want nothing and word of a second guest", size, got[0].Why, got[1].Why)
		}
	}
}

func TestSuiteBoundsItsGuests(t *testing.T) {
	ringo := &fakeMachine{out: func(string) string { time.Sleep(time.Millisecond); return "" }}
	s := &Suite{Programs: programs(20), Linux: &fakeMachine{}, Ringo: ringo, Judged: OnRingo, Jobs: 3, BatchSize: 1}
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(ringo.batches) != 20 || ringo.most > 3 || ringo.most < 2 {
		t.Errorf("%d guests, at most %d at a time; want 20 and 3", len(ringo.batches), ringo.most)
	}
}

func TestSuiteFailsWhenAMachineSaysNothing(t *testing.T) {
	s := &Suite{Programs: programs(3), Linux: &fakeMachine{}, Ringo: &fakeMachine{lost: map[string]bool{"area1/p01": true}}, Judged: OnRingo, BatchSize: 3}
	if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no result of area1/p01") {
		t.Errorf("%v, want an error that names area1/p01", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	s.Ringo = &fakeMachine{}
	if _, err := s.Run(ctx); err == nil {
		t.Error("a cancelled run succeeded")
	}
}

func TestSuiteTakesStoredBaselines(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("area0/p00.out", "stored\nCONTRACT_PASS\n")
	linux := &fakeMachine{}
	s := &Suite{Programs: programs(2), Linux: linux, Ringo: &fakeMachine{}, Judged: OnRingo, Expect: folder}
	got, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got[0].Verdict != Diverge || got[1].Verdict != Pass {
		t.Errorf("verdicts %s and %s, want DIVERGE from the stored one and PASS", got[0].Verdict, got[1].Verdict)
	}
	if fmt.Sprint(linux.batches) != "[[area1/p01]]" {
		t.Errorf("Linux was asked for %v", linux.batches)
	}
	write("area0/p00.status", "signal 9\n")
	if r, err := readExpected(folder, "area0/p00"); err != nil || r.End() != "signal 9" {
		t.Errorf("%v, %v", r.End(), err)
	}
	write("area0/p00.status", "fine\n")
	if _, err := readExpected(folder, "area0/p00"); err == nil {
		t.Error("a status of \"fine\" was taken")
	}
	again := t.TempDir()
	if err := WriteExpected(again, got); err != nil {
		t.Fatal(err)
	}
	if r, err := readExpected(again, "area0/p00"); err != nil || string(r.Stdout) != "stored\nCONTRACT_PASS\n" {
		t.Errorf("written and read: %q, %v", r.Stdout, err)
	}
}

func TestStoreRemembersByContent(t *testing.T) {
	folder := t.TempDir()
	binary := filepath.Join(folder, "p")
	if err := os.WriteFile(binary, []byte("one"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &Store{Folder: filepath.Join(folder, "store"), Linux: "6.12", Driver: binary}
	p := Program{Name: "a/b", Binary: binary}
	s.Save(p, Result{Name: "a/b", Stdout: []byte("x")})
	if r, ok := s.Load(p); !ok || string(r.Stdout) != "x" {
		t.Errorf("%v %v", r, ok)
	}
	if _, ok := (&Store{Folder: s.Folder, Linux: "6.13", Driver: binary}).Load(p); ok {
		t.Error("another Linux has the same baseline")
	}
	if err := os.WriteFile(binary, []byte("two"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Load(p); ok {
		t.Error("another program has the same baseline")
	}
}

func TestExplainRunsFailuresAgain(t *testing.T) {
	ringo := &fakeMachine{out: func(name string) string {
		if name == "area0/p00" {
			return ""
		}
		return "other\n"
	}}
	linux := &fakeMachine{}
	s := &Suite{Programs: programs(4), Linux: linux, Ringo: ringo, Judged: OnRingo, BatchSize: 4, Known: Divergences{"area1/p01": "known for a reason"}}
	judged, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	Explain(t.Context(), s, judged, nil, 1)
	for i, j := range judged {
		if again := j.Again != ""; again != (i == 2) {
			t.Errorf("%s (%s) was run again: %v", j.Program.Name, j.Verdict, again)
		}
	}
	for _, want := range []string{"DIVERGE", "output, line 1", "+  \"other", "system calls"} {
		if !strings.Contains(judged[2].Again, want) {
			t.Errorf("no %q in %q", want, judged[2].Again)
		}
	}
	if fmt.Sprint(ringo.batches[1:]) != "[[area2/p02]]" {
		t.Errorf("run again: %v", ringo.batches[1:])
	}
}

func TestRootsGetBatchesOfTheirOwn(t *testing.T) {
	ringo := &fakeMachine{}
	s := &Suite{Programs: programs(6), Linux: &fakeMachine{}, Ringo: ringo, Judged: OnRingo, BatchSize: 3, Jobs: 1, Roots: map[string]RootFS{"big": {Initrd: "big.cpio", Memory: 1 << 30}, "": {Initrd: "small.cpio"}}}
	for i := range s.Programs {
		if i%2 == 1 {
			s.Programs[i].Root = "big"
		}
	}
	s.Programs[1].Dynamic, s.Programs[1].Libc = true, "musl"
	if _, err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ringo.batches); got != "[[area0/p00 area2/p02 area1/p04] [area1/p01 area0/p03 area2/p05]]" {
		t.Errorf("batches %s", got)
	}
	b := s.Base
	s.enter(&b, OnRingo, s.Programs[1])
	if b.Initrd != "big.cpio" || b.Memory != 1<<30 || fmt.Sprint(b.Files) != "[.lib-musl]" {
		t.Errorf("%+v", b)
	}
}

func TestServeRunsBatchesAndReportsErrors(t *testing.T) {
	var out bytes.Buffer
	in := strings.NewReader(`{"On":"linux","Folder":"/nowhere"}` + "\n" + `{"On":"linux","Folder":"/nowhere"}`)
	if err := Serve(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&out)
	for range 2 {
		var a answer
		if err := d.Decode(&a); err != nil || !a.Done || !strings.Contains(a.Error, "/nowhere") {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if err := Serve(t.Context(), strings.NewReader("nonsense"), &out); err == nil {
		t.Error("nonsense was taken for a batch")
	}
}

func TestReports(t *testing.T) {
	js := []Judgement{
		{Program: Program{Name: "fd/dup"}, Verdict: Pass, Result: ended("CONTRACT_PASS\n", Exited, 0)},
		{Program: Program{Name: "fd/pipe", Catches: "torn writes"}, Verdict: Fail, Why: "torn <write>", Result: Result{Stdout: []byte("a\nb\x01\n"), Missing: map[string]uint64{"tee": 2}}},
		{Program: Program{Name: "vm/cow"}, Verdict: Crash, Why: "panic", Result: Result{Report: "long report"}},
		{Program: Program{Name: "tty/x"}, Verdict: XFail, Why: "known"},
	}
	var log bytes.Buffer
	p := &Printer{W: &log, Total: len(js)}
	for i := range js {
		p.Event(Event{Began: js[i].Program.Name})
		p.Event(Event{Done: &js[i]})
	}
	p.Summary(js, time.Second)
	for _, want := range []string{"PASS    fd/dup", "FAIL fd/pipe: torn <write>", "catches: torn writes", "system calls the kernel lacks: tee", "long report", "4 contracts in 1s", "slowest:"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, &log)
		}
	}
	if strings.Contains(log.String(), "\x1b") {
		t.Error("a log has terminal sequences")
	}
	var screen bytes.Buffer
	p = &Printer{W: &screen, Total: len(js), Terminal: true}
	p.Event(Event{Began: "fd/dup"})
	p.Event(Event{Done: &js[0]})
	if !strings.Contains(screen.String(), "running fd/dup") || !strings.Contains(screen.String(), "\x1b[J") {
		t.Errorf("the table is not redrawn: %q", &screen)
	}

	var b bytes.Buffer
	if err := WriteJSON(&b, js); err != nil {
		t.Fatal(err)
	}
	var entries []map[string]any
	if err := json.Unmarshal(b.Bytes(), &entries); err != nil || len(entries) != 4 || entries[1]["verdict"] != "FAIL" || entries[1]["area"] != "fd" {
		t.Errorf("%v: %v", err, entries)
	}
	b.Reset()
	if err := WriteJUnit(&b, js); err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	if err := xml.Unmarshal(b.Bytes(), &suite); err != nil || suite.Tests != 4 || suite.Failures != 1 || suite.Errors != 1 || suite.Skipped != 1 {
		t.Errorf("%v: %+v", err, suite)
	}
}
