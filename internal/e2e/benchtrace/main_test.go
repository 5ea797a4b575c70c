package main

import (
	"strings"
	"testing"
)

func TestParseAndWrite(t *testing.T) {
	rows, missing, err := parse([]byte("a 100 103 1.0300\nb 10 12.5 1.2000\ntcp missing (status 0x300)\nc 5 5 0.9990\n"))
	if err != nil || len(rows) != 3 || len(missing) != 1 {
		t.Fatalf("%v, %v, %v", rows, missing, err)
	}
	var out strings.Builder
	write(&out, rows, missing)
	for _, want := range []string{"b                                  10           12   +20.0%\n", "c                                   5            5    -0.1%\n", "tcp                      missing\n",
		"3 benchmarks, 1 missing: median cost +3.0%, 1 above 5%\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	for _, bad := range []string{"", "a\n", "a 1 2\n", "a 0 1 1\n", "a 1 1 -1\n", "a x y z\n", "a missing\n"} {
		if rows, _, err := parse([]byte(bad)); err == nil {
			t.Errorf("parse(%q) = %v, want an error", bad, rows)
		}
	}
}
