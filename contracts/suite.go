package contracts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringo/debug/report"
)

// Suite runs contracts and judges them.
type Suite struct {
	Programs []Program // built and staged
	// Linux gives the baseline, Ringo is judged by it. Their batches have the files of Base, and the root file system that
	// the program names.
	Linux, Ringo Machine
	Base         Batch
	Roots        map[string]RootFS
	Judged       string        // OnRingo, or OnLinux to compare Linux with itself
	Timeout      time.Duration // of programs that name none
	Jobs         int           // machines at a time
	BatchSize    int           // programs a guest; 1 is a fresh guest for each
	Expect       string        // folder of stored baselines, "" to ask Linux
	Baselines    *Store        // remembers baselines, may be nil
	Known        Divergences
	Report       func(Event) // called one at a time
	Turns        []string    // modes of the stack guard that every program runs in, see withTurns; nil: Base says
}

// Event is progress: a contract was begun or judged.
type Event struct {
	Began string
	Done  *Judgement
}

// linuxBatch bounds how many programs one driver runs on Linux, so that several share the work.
const linuxBatch = 30

// Run runs everything and returns the judgements in the order of the programs. An error means that the run is worth nothing.
func (s *Suite) Run(ctx context.Context) ([]Judgement, error) {
	baselines, err := s.baselines(ctx)
	if err != nil {
		return nil, err
	}
	programs, size := s.Programs, max(1, s.BatchSize)
	if n := len(s.Turns); n > 0 {
		programs, baselines, size = withTurns(programs, s.Turns), sameTurns(baselines, n), inTurns(size, n)
	}
	judgements := make([]Judgement, len(programs))
	var mu sync.Mutex
	machine := s.Ringo
	if s.Judged == OnLinux {
		machine = s.Linux
	}
	begin := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		s.tell(Event{Began: name})
	}
	err = s.each(ctx, machine, s.Judged, programs, size, begin, func(i int, r Result) {
		p := programs[i]
		j := Judge(p, baselines[i], r, s.Known[p.suiteName()])
		mu.Lock()
		defer mu.Unlock()
		judgements[i] = j
		s.tell(Event{Done: &j})
	})
	return judgements, err
}

func (s *Suite) tell(e Event) {
	if s.Report != nil {
		s.Report(e)
	}
}

// baselines are the programs' results on Linux: stored ones, remembered ones, or new ones.
func (s *Suite) baselines(ctx context.Context) ([]Result, error) {
	all := make([]Result, len(s.Programs))
	var missing []int
	for i, p := range s.Programs {
		var known bool
		var err error
		if s.Expect != "" {
			all[i], err = readExpected(s.Expect, p.Name)
			known = err == nil
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
		if err != nil {
			return nil, err
		}
		if !known && s.Baselines != nil {
			all[i], known = s.Baselines.Load(p)
		}
		if !known {
			missing = append(missing, i)
		}
	}
	programs := make([]Program, len(missing))
	for k, i := range missing {
		programs[k] = s.Programs[i]
	}
	err := s.each(ctx, s.Linux, OnLinux, programs, linuxBatch, func(string) {}, func(k int, r Result) {
		all[missing[k]] = r
		if s.Baselines != nil && passes(r) {
			s.Baselines.Save(programs[k], r)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("baseline: %w", err)
	}
	return all, nil
}

// RootFS is a root file system: a folder for Linux, an archive for guests, and the memory that a guest with it needs at least.
type RootFS struct {
	Folder, Initrd string
	Memory         uint64 // bytes
}

// enter adds a program to a batch of programs with the same root file system.
func (s *Suite) enter(b *Batch, on string, p Program) {
	b.On = on
	if r, ok := s.Roots[p.Root]; ok {
		b.Root, b.Initrd, b.Memory = r.Folder, r.Initrd, max(b.Memory, r.Memory)
	}
	timeout := p.Timeout
	if timeout == 0 {
		timeout = s.Timeout
	}
	b.Programs = append(b.Programs, Task{Name: p.Name, Path: p.Binary, Timeout: timeout, Turn: p.Turn})
	files := p.Files
	if p.Dynamic {
		files = append(slices.Clone(files), libraryFolder(p.Libc))
	}
	for _, f := range files {
		if !slices.Contains(b.Files, f) {
			b.Files = append(slices.Clone(b.Files), f)
		}
	}
}

// each runs programs in batches on a machine. What a dead machine left over goes to a new one.
func (s *Suite) each(ctx context.Context, m Machine, on string, programs []Program, size int, began func(string), done func(int, Result)) error {
	type work []int // indices
	var queue []work
	last := map[string]int{} // where in the queue a root file system's latest batch is
	for i, p := range programs {
		k, begun := last[p.Root]
		if !begun || len(queue[k]) == size {
			k = len(queue)
			last[p.Root] = k
			queue = append(queue, nil)
		}
		queue[k] = append(queue[k], i)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var workers sync.WaitGroup
	said := make([]bool, len(programs))   // begun; an index belongs to one worker
	second := make([]bool, len(programs)) // has lost a guest to QEMU, the same
	begin := func(i int) {
		if !said[i] {
			said[i] = true
			began(programs[i].Name)
		}
	}
	one := func(w work) (work, error) {
		b := s.Base
		index := map[string]int{}
		for _, i := range w {
			s.enter(&b, on, programs[i])
			index[programs[i].Name] = i
		}
		begin(w[0])
		left, again := w, false
		err := m.Run(ctx, b, func(r Result) {
			i, asked := index[r.Name]
			if !asked || len(left) == 0 || left[0] != i {
				return // not a result of this batch: the check below finds what is missing
			}
			if (r.How == Crashed || r.How == TimedOut) && report.FellToQEMU(r.Report) && !second[i] {
				second[i], again = true, true
				return
			}
			left = left[1:]
			r.Second = second[i]
			done(i, r)
			if len(left) > 0 {
				begin(left[0])
			}
		})
		if err == nil && len(left) == len(w) && !again {
			err = fmt.Errorf("%s: no result of %s", on, programs[left[0]].Name)
		}
		return left, err
	}
	for range min(max(1, s.Jobs), len(queue)) {
		workers.Go(func() {
			for {
				mu.Lock()
				if len(queue) == 0 || ctx.Err() != nil {
					mu.Unlock()
					return
				}
				w := queue[0]
				queue = queue[1:]
				mu.Unlock()
				for len(w) > 0 {
					var err error
					if w, err = one(w); err != nil {
						cancel(err)
						return
					}
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// readExpected reads a stored baseline: NAME.out is standard output; NAME.status, when there, one line like "exit 1".
func readExpected(folder, name string) (Result, error) {
	path := filepath.Join(folder, filepath.FromSlash(name))
	out, err := os.ReadFile(path + ".out")
	if err != nil {
		return Result{}, err
	}
	r := Result{Name: name, Stdout: out, How: Exited}
	status, err := os.ReadFile(path + ".status")
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	how, code, _ := strings.Cut(strings.TrimSpace(string(status)), " ")
	if r.Code, err = strconv.Atoi(code); err != nil || how != string(Exited) && how != string(Signaled) {
		return r, fmt.Errorf("%s.status: %q is neither like \"exit 0\" nor like \"signal 9\"", path, status)
	}
	r.How = How(how)
	return r, nil
}

// WriteExpected stores baselines in the form that Suite.Expect reads.
func WriteExpected(folder string, judgements []Judgement) error {
	for _, j := range judgements {
		path := filepath.Join(folder, filepath.FromSlash(j.Program.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path+".out", j.Baseline.Stdout, 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(path+".status", []byte(j.Baseline.End()+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
