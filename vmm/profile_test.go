package main

import (
	"strings"
	"testing"
	"time"

	"ringo/vmm/control"
)

func TestProfileTables(t *testing.T) {
	got := profileTables(&control.Profile{Elapsed: time.Second, Samples: 10, User: 4, Functions: []control.ProfileFunction{
		{Function: "leaf", Flat: 5, Cumulative: 5, Lines: []control.ProfileLine{{File: "a/f.go", Line: 7, Flat: 3}, {File: "a/f.go", Line: 8, Flat: 2}}},
		{Function: "root\x1b", Flat: 1, Cumulative: 6, Lines: []control.ProfileLine{{File: "g.go", Line: 1, Flat: 1}}},
	}}, 2)
	want := `10 samples in 1s, 40.0% of them in user mode

   FLAT    CUM.  FUNCTION
  50.0%   50.0%  leaf
  10.0%   60.0%  root?

   FLAT    CUM.  FUNCTION WITH WHAT IT CALLS
  10.0%   60.0%  root?
  50.0%   50.0%  leaf

   FLAT  LINE
  30.0%  f.go:7 leaf
  20.0%  f.go:8 leaf
`
	if got != want {
		t.Errorf("tables:\n%s\nwant:\n%s", got, want)
	}
	if !strings.HasPrefix(profileTables(&control.Profile{}, 0), "0 samples") {
		t.Error("a profile without samples has no tables")
	}
}
