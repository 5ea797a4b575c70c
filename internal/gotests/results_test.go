package main

import (
	"strings"
	"testing"
)

const linuxOutput = "\x16=== RUN   TestA\n\x16--- PASS: TestA (0.00s)\n" +
	"\x16=== RUN   TestB\n\x16=== RUN   TestB/one\n    \x16    --- PASS: TestB/one (0.00s)\n\x16--- PASS: TestB (0.00s)\n" +
	"\x16=== RUN   TestC\nno line end\x16--- PASS: TestC (1.20s)\n" +
	"\x16=== RUN   TestD\n\x16--- SKIP: TestD (0.00s)\n\x16=== RUN   TestE\n\x16--- FAIL: TestE (0.00s)\nFAIL\n"

func TestComparisonCountsWhatPassesOnLinux(t *testing.T) {
	ringo := "\x16=== RUN   TestA\n\x16--- PASS: TestA (0.00s)\n" +
		"\x16=== RUN   TestB\n\x16=== RUN   TestB/one\n\x16    --- FAIL: TestB/one (0.00s)\n\x16--- FAIL: TestB (0.00s)\n" +
		"\x16=== RUN   TestC\npanic: it died\n\x16=== RUN   TestE\n\x16--- PASS: TestE (0.00s)\n"
	c := compare("p", parse([]byte(linuxOutput)), parse([]byte(ringo)), "signal 9")
	if c.Linux != 4 || c.Ringo != 1 || c.percent() != 25 {
		t.Errorf("%d of %d, %v%%; want 1 of 4, 25%%", c.Ringo, c.Linux, c.percent())
	}
	if got := strings.Join(c.Missing, ", "); got != "TestB (fail), TestB/one (fail), TestC (not ended)" {
		t.Errorf("missing: %s", got)
	}
	c = compare("p", parse([]byte(linuxOutput)), nil, "crash")
	if c.Ringo != 0 || len(c.Missing) != 4 || c.Missing[0] != "TestA (not begun)" {
		t.Errorf("nothing ran: %+v", c)
	}
	if c := compare("p", nil, nil, "exit 0"); c.percent() != 0 {
		t.Errorf("no tests at all are %v%%: a package that does not run is no success", c.percent())
	}
	var b strings.Builder
	write(&b, []comparison{c})
	if !strings.Contains(b.String(), "p                       4        0     0.0%") || !strings.Contains(b.String(), "TestA (not begun)") {
		t.Errorf("table:\n%s", b.String())
	}
}
