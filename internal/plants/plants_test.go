package plants

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTableIsComplete(t *testing.T) {
	seen := map[string]bool{}
	rows := map[int]bool{}
	for _, p := range All {
		if p.Name == "" || p.What == "" || p.Program == "" || seen[p.Name] {
			t.Errorf("%+v: without a name, a description or a program, or twice", p)
		}
		seen[p.Name], rows[p.Row] = true, true
		if _, err := os.Stat(filepath.Join("../../guestkernel/inject/testdata", p.Program+".c")); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
	for row := 1; row <= 22; row++ {
		if !rows[row] {
			t.Errorf("no plant for row %d", row)
		}
	}
}
