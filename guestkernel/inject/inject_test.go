package inject

import (
	"runtime"
	"slices"
	"strings"
	"testing"

	"ringo/internal/plants"
)

// Every plant of the table exists where the table says, and none besides.
func TestTableAndPlantsAgree(t *testing.T) {
	want := map[string]bool{}
	for _, p := range plants.All {
		if p.Arches == nil || slices.Contains(p.Arches, runtime.GOARCH) {
			want[p.Name] = true
			if builders[p.Name] == nil {
				t.Errorf("%s is in the table and nowhere else", p.Name)
			}
		}
	}
	for _, name := range names() {
		if !want[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
}

func TestUnknownPlantIsRefusedByName(t *testing.T) {
	if i, err := Parse("quiet strace"); i != nil || err != nil {
		t.Errorf("no plant asked for: %v, %v", i, err)
	}
	_, err := Parse("quiet inject=nonsense-control")
	if err == nil || !strings.Contains(err.Error(), "nonsense-control") || !strings.Contains(err.Error(), "stack-overflow") {
		t.Errorf("err = %v", err)
	}
}
