package contracts

import (
	"slices"
	"strings"
	"sync"

	"ringo/vmm/guest"
)

// Turns: to compare modes of the stack guard on a computer whose load changes, every contract runs in each of them, one right after the other, in the
// same guest. A turn is a mode and, when there are several of the same, a number: "off.1", "detect.1", "off.2".

// withTurns are the programs in every turn. Each begins with another one, and after each round the order is turned round, so that none is always
// the first or behind the same one: the first moment of a turn may still be in the mode of the one before.
func withTurns(programs []Program, turns []string) (out []Program) {
	n := len(turns)
	for i, p := range programs {
		for k := range turns {
			if i/n%2 == 1 {
				k = n - 1 - k
			}
			q := p
			q.Turn = turns[(i+k)%n]
			q.Name += "@" + q.Turn
			out = append(out, q)
		}
	}
	return out
}

// suiteName is the name without the turn.
func (p Program) suiteName() string { return p.task().place() }

func (p Program) task() Task { return Task{Name: p.Name, Turn: p.Turn} }

// place is where the program lies below /contracts.
func (t Task) place() string {
	if t.Turn == "" {
		return t.Name
	}
	return strings.TrimSuffix(t.Name, "@"+t.Turn)
}

// guardMode is the guard's argument during a task with a turn.
func (t Task) guardMode() string {
	mode, _, _ := strings.Cut(t.Turn, ".")
	if mode == "off" {
		return mode
	}
	return "stacks=" + mode
}

// turner switches a guest's guard between programs.
type turner struct {
	modes map[string]string // by name of the task

	mu    sync.Mutex
	next  chan string // nil: no guest
	ended sync.WaitGroup
	err   error
}

// newTurner answers nil when no task has a turn.
func newTurner(tasks []Task) *turner {
	t := &turner{modes: map[string]string{}}
	for _, p := range tasks {
		if p.Turn != "" {
			t.modes[p.Name] = p.guardMode()
		}
	}
	if len(t.modes) == 0 {
		return nil
	}
	return t
}

// live is for guest.Options.Live.
func (t *turner) live(l *guest.Live) (end func(), err error) {
	return t.start(l.SetGuard), nil
}

// start begins to switch by set; end ends it.
func (t *turner) start(set func(mode string) error) (end func()) {
	next := make(chan string, len(t.modes))
	t.mu.Lock()
	t.next = next
	t.mu.Unlock()
	t.ended.Go(func() {
		for mode := range next {
			if err := set(mode); err != nil {
				t.mu.Lock()
				t.err = err
				t.mu.Unlock()
			}
		}
	})
	return func() {
		t.mu.Lock()
		t.next = nil
		t.mu.Unlock()
		close(next)
		t.ended.Wait()
	}
}

// begun is told of a program's begin, on the thread of a vCPU, for which switching would have to wait: it is done a moment later.
func (t *turner) begun(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mode, ok := t.modes[name]; ok && t.next != nil {
		t.next <- mode
		delete(t.modes, name)
	}
}

// failed is what switching met.
func (t *turner) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// inTurns is how many programs a batch of at most size takes, so that a contract's turns are in the same guest.
func inTurns(size, turns int) int { return max(size-size%turns, turns) }

// sameTurns repeats results for each turn.
func sameTurns(list []Result, turns int) (out []Result) {
	for _, r := range list {
		out = append(out, slices.Repeat([]Result{r}, turns)...)
	}
	return out
}
