package contracts

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestTurns(t *testing.T) {
	turns := []string{"off.1", "detect.1", "off.2"}
	var names, places, modes []string
	before := map[[2]string]int{}
	for i, list := 0, withTurns(make([]Program, 60), []string{"a", "b", "c"}); i < len(list); i++ {
		if i%3 > 0 {
			before[[2]string{list[i-1].Turn, list[i].Turn}]++
		}
	}
	for pair, n := range before {
		if n != 20 {
			t.Errorf("%v %d times, of 120", pair, n)
		}
	}
	for _, p := range withTurns([]Program{{Name: "a/x"}, {Name: "a/y@z"}}, turns) {
		names, places, modes = append(names, p.Name), append(places, p.suiteName()), append(modes, p.task().guardMode())
	}
	if want := []string{"a/x@off.1", "a/x@detect.1", "a/x@off.2", "a/y@z@detect.1", "a/y@z@off.2", "a/y@z@off.1"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	if want := []string{"a/x", "a/x", "a/x", "a/y@z", "a/y@z", "a/y@z"}; !slices.Equal(places, want) {
		t.Errorf("places %q, want %q", places, want)
	}
	if want := []string{"off", "stacks=detect", "off", "stacks=detect", "off", "off"}; !slices.Equal(modes, want) {
		t.Errorf("modes %q, want %q", modes, want)
	}
	if (Task{Name: "a/x"}).place() != "a/x" || newTurner([]Task{{Name: "a/x"}}) != nil {
		t.Error("a task without a turn")
	}
	for _, row := range [][3]int{{40, 3, 39}, {2, 3, 3}, {40, 1, 40}} {
		if got := inTurns(row[0], row[1]); got != row[2] {
			t.Errorf("%d in turns of %d: %d, want %d", row[0], row[1], got, row[2])
		}
	}
}

func TestTurnerSwitchesOnce(t *testing.T) {
	tn := newTurner([]Task{{Name: "x@off", Turn: "off"}, {Name: "x@detect", Turn: "detect"}})
	tn.begun("x@off") // no guest
	var set []string
	end := tn.start(func(mode string) error {
		set = append(set, mode)
		return errors.New("no")
	})
	for _, name := range []string{"x@detect", "x@detect", "y", "x@off"} {
		tn.begun(name)
	}
	end()
	tn.begun("x@off")
	if want := []string{"stacks=detect", "off"}; !slices.Equal(set, want) || tn.failed() == nil {
		t.Errorf("set %q, want %q; %v", set, want, tn.failed())
	}
}

// A suite with turns judges every turn by the one baseline.
func TestSuiteInTurns(t *testing.T) {
	s := &Suite{
		Programs: []Program{{Name: "a/x"}, {Name: "a/y"}}, Turns: []string{"off", "detect"}, BatchSize: 3,
		Linux: turnsMachine{}, Ringo: turnsMachine{}, Judged: OnRingo, Known: Divergences{},
	}
	got, err := s.Run(context.Background())
	if err != nil || len(got) != 4 {
		t.Fatalf("%d judgements, %v", len(got), err)
	}
	for i, want := range []string{"a/x@off", "a/x@detect", "a/y@detect", "a/y@off"} {
		if got[i].Program.Name != want || got[i].Verdict != Pass || string(got[i].Baseline.Stdout) != want[:3]+"\nCONTRACT_PASS\n" {
			t.Errorf("judgement %d: %s %s %s, baseline %q", i, got[i].Program.Name, got[i].Verdict, got[i].Why, got[i].Baseline.Stdout)
		}
	}
}

// turnsMachine prints where a program lies.
type turnsMachine struct{}

func (turnsMachine) Run(_ context.Context, b Batch, report func(Result)) error {
	for _, p := range b.Programs {
		report(Result{Name: p.Name, How: Exited, Stdout: []byte(p.place() + "\nCONTRACT_PASS\n")})
	}
	return nil
}
