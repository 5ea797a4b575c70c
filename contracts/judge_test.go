package contracts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func ended(out string, how How, code int) Result {
	return Result{Name: "a/b", Stdout: []byte(out), How: how, Code: code}
}

func TestJudge(t *testing.T) {
	good := ended("one\nCONTRACT_PASS\n", Exited, 0)
	source := Program{Name: "a/b", Source: "a/b.c"}
	foreign := Program{Name: "b", Binary: "b"}
	for _, c := range []struct {
		name     string
		program  Program
		baseline Result
		result   Result
		known    string
		want     Verdict
		why      string
	}{
		{"same", source, good, good, "", Pass, ""},
		{"contract says so", source, good, ended("one\nCONTRACT_FAIL: two is missing\n", Exited, 1), "", Fail, "two is missing"},
		{"other status", source, good, ended("one\nCONTRACT_PASS\n", Exited, 3), "", Fail, "ended with exit 3, on Linux with exit 0"},
		{"killed", source, good, ended("one\n", Signaled, 11), "", Fail, "signal 11"},
		{"no word", source, good, ended("one\n", Exited, 0), "", Fail, "line 2"},
		{"other output", source, good, ended("eins\nCONTRACT_PASS\n", Exited, 0), "", Diverge, `line 1: Linux "one\n", here "eins\n"`},
		{"missing newline", source, good, ended("one\nCONTRACT_PASS", Exited, 0), "", Diverge, "line 2"},
		{"more output", source, good, ended("one\nCONTRACT_PASS\nx\nCONTRACT_PASS\n", Exited, 0), "", Diverge, "line 3: Linux ended"},
		{"hangs", source, good, Result{How: TimedOut, Took: time.Second}, "", Timeout, "still running"},
		{"hangs on both", source, Result{How: TimedOut}, Result{How: TimedOut}, "", Timeout, "still running"},
		{"kernel dies", source, good, Result{How: Crashed, Report: "panic: x\nmore"}, "", Crash, "panic: x"},
		{"guard reports", source, good, Result{Stdout: good.Stdout, How: Exited, Guard: &Watched{Reports: 2, Text: "BUG: x\nmore"}}, "", Fail, "the stack guard made 2 reports: BUG: x"},
		{"guard is silent", source, good, Result{Stdout: good.Stdout, How: Exited, Guard: &Watched{}}, "", Pass, ""},
		{"known", source, good, ended("CONTRACT_FAIL: x\n", Exited, 1), "not there yet", XFail, "not there yet"},
		{"known passes", source, good, good, "not there yet", XPass, "remove it"},
		{"a crash is never known", source, good, Result{How: Crashed}, "not there yet", Crash, ""},
		{"broken contract", source, ended("CONTRACT_FAIL: x\n", Exited, 1), ended("CONTRACT_FAIL: x\n", Exited, 1), "", Fail, "fails on Linux, too"},
		{"contract without end", source, ended("x\n", Exited, 0), ended("x\n", Exited, 0), "", Fail, "CONTRACT_PASS"},
		{"foreign program does the same", foreign, ended("x\n", Exited, 7), ended("x\n", Exited, 7), "", Pass, ""},
		{"foreign program dies the same", foreign, ended("", Signaled, 6), ended("", Signaled, 6), "", Pass, ""},
		{"foreign program differs", foreign, ended("x\n", Exited, 7), ended("y\n", Exited, 7), "", Diverge, "line 1"},
	} {
		j := Judge(c.program, c.baseline, c.result, c.known)
		if j.Verdict != c.want || !strings.Contains(j.Why, c.why) || c.want == Pass && j.Why != "" {
			t.Errorf("%s: %s (%s), want %s with %q", c.name, j.Verdict, j.Why, c.want, c.why)
		}
	}
}

func TestDivergencesNeedReasons(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known.json")
	for _, c := range []struct{ text, fails string }{
		{`{"a/b": {"reason": "the host's clock has no such resolution"}}`, ""},
		{`{"a/b": {"reason": "the host's clock has no such resolution", "arch": "arm64"}}`, ""},
		{`{"a/b": {"reason": "because"}}`, "explains nothing"},
		{`{"a/b": {"why": "x"}}`, "unknown field"},
		{`{} {}`, "follows"},
		{`[`, "unexpected"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDivergences(file, "amd64")
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%s: %v, want %q", c.text, err, c.fails)
		}
		if err == nil && (len(d) == 1) == strings.Contains(c.text, "arm64") {
			t.Errorf("%s: %d entries for amd64", c.text, len(d))
		}
	}
	if d, err := ReadDivergences(file+".none", "amd64"); err != nil || d != nil {
		t.Errorf("no file: %v, %v", d, err)
	}
	gone := Divergences{"a/b": "x", "c/d": "y"}.Unlisted([]Program{{Name: "a/b"}})
	if len(gone) != 1 || gone[0] != "c/d" {
		t.Errorf("names without a contract: %v", gone)
	}
}
