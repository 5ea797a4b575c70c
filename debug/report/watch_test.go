package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a watch has seen is in the report's files, but its text is whoever prints watches'.
func TestWatchesAreRecordedAndNotJudged(t *testing.T) {
	hit := func() *Event {
		return &Event{
			T: 5, Kind: KindWatch, Verdict: "boot.userReached: write of 4 bytes", VCPU: 1, How: "atomic", Insn: "lock cmpxchg dword ptr [rdx], esi", Engine: "debug register",
			PC: 0x1000, GVA: 0x2000, GPA: 0x3000, Len: 4, At: 0x2000, Old: Hex{0, 0, 0, 0}, New: Hex{1, 0, 0, 0}, Task: &Task{ID: 2, Name: "sh"},
		}
	}
	dir := t.TempDir()
	var text bytes.Buffer
	r, err := NewRecorder(Options{Header: Header{Kernel: "k", Monitor: "m", Arch: "amd64", CPUs: 1}, Text: &text, Dir: filepath.Join(dir, "r"), Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Add(hit()) || r.Add(hit()) {
		t.Error("the second says the same as the first")
	}
	f, err := r.Close()
	if err != nil || f.Events != 1 || f.Repeats["watch-0001"] != 1 {
		t.Errorf("%+v, %v", f, err)
	}
	if text.Len() != 0 {
		t.Errorf("printed %q", text.String())
	}
	lines, err := os.Open(filepath.Join(dir, "r", "report.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	back, err := Read(lines)
	if err != nil || len(back.Events) != 1 || back.Events[0].Kind != KindWatch || back.Events[0].ID != "watch-0001" || !bytes.Equal(back.Events[0].New, []byte{1, 0, 0, 0}) {
		t.Errorf("%+v, %v", back, err)
	}
	people, err := os.ReadFile(filepath.Join(dir, "r", "report.txt"))
	if err != nil || !strings.HasPrefix(string(people), "WATCH: boot.userReached: write of 4 bytes") || strings.Contains(string(people), "BUG") || !strings.Contains(string(people), "lock cmpxchg") {
		t.Errorf("%v:\n%s", err, people)
	}
	judged := hit()
	judged.V, judged.Seq, judged.ID, judged.Rule = 1, 1, "x", "R1"
	empty := hit()
	empty.ID, empty.Old, empty.New = "x", nil, nil
	for _, e := range []*Event{judged, empty} {
		if e.check() == nil {
			t.Errorf("%+v passes", e)
		}
	}
}
