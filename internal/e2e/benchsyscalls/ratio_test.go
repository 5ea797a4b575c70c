package main

import (
	"testing"
)

func TestFigures(t *testing.T) {
	got, err := figures([]byte("getpid 120.5 100\ntcp missing (status 0x300)\n"))
	if err != nil || got["getpid"] != 120.5 || got["tcp"] != 0 || len(got) != 2 {
		t.Errorf("figures: %v, %v", got, err)
	}
	for _, bad := range []string{"", "getpid\n", "getpid fast 1\n", "getpid -3 1\n", "getpid 0 0\n"} {
		if got, err := figures([]byte(bad)); err == nil {
			t.Errorf("figures(%q) = %v, want an error", bad, got)
		}
	}
}

func TestCompareTakesTheRatioWithinATurn(t *testing.T) {
	rows := compare([]turn{
		{linux: map[string]float64{"a": 100, "b": 10, "c": 5}, ringo: map[string]float64{"a": 200, "b": 10}},
		{linux: map[string]float64{"a": 1000, "b": 10, "c": 5}, ringo: map[string]float64{"a": 2000, "b": 50}},
		{linux: map[string]float64{"a": 10, "b": 10, "c": 5}, ringo: map[string]float64{"a": 50, "b": 90}},
	})
	if rows[0].Name != "c" || rows[0].Ratio != 0 {
		t.Errorf("first row %+v, want the missing one", rows[0])
	}
	if rows[1].Name != "b" || rows[1].Ratio != 5 || rows[2].Name != "a" || rows[2].Ratio != 2 {
		t.Errorf("rows %+v", rows)
	}
	if got, want := summary(rows), "3 benchmarks, 1 missing: median ratio 3.50, 1 slower than 3x Linux"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
}
