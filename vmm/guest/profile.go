package guest

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"ringo/debug/symbols"
	"ringo/vmm/control"
	"ringo/vmm/machine"
)

// sampleTime is the mean time between two samples of a vCPU. The moments are irregular, so that nothing in the guest that is
// periodic runs in step with them.
const sampleTime = time.Millisecond

// maxStacks bounds how many different stacks a profile keeps apart.
const maxStacks = 1 << 16

// Profile implements control.Guest.
func (l *Live) Profile(ctx context.Context, vcpu int, duration time.Duration) (*control.Profile, error) {
	table, tableErr := l.Symbols()
	var ids []int
	for id := range l.g.o.CPUs {
		if vcpu < 0 || vcpu == id {
			ids = append(ids, id)
		}
	}
	s := &samples{stacks: map[string]uint64{}}
	take := func(r *machine.Registers) {
		if r.User() {
			s.add(nil)
			return
		}
		// Addresses only: names are looked up when the vCPUs run undisturbed again.
		var key []byte
		for _, f := range (*symbols.Table)(nil).Unwind(r, l.stackMemory(r)) {
			key = binary.LittleEndian.AppendUint64(key, f.PC)
		}
		s.add(key)
	}
	began := time.Now()
	for time.Since(began) < duration {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-l.over:
			return nil, fmt.Errorf("%w: the guest has ended", control.ErrState)
		case <-time.After(sampleTime/2 + rand.N(sampleTime)):
		}
		for _, id := range ids {
			if err := l.g.m.Sample(id, take); err != nil {
				return nil, fmt.Errorf("%w: %w", control.ErrState, err)
			}
		}
	}
	p := s.end(table)
	p.Elapsed = time.Since(began)
	if tableErr != nil {
		p.NoNames = tableErr.Error()
	}
	return p, nil
}

// samples counts stacks: return addresses of 8 bytes, innermost first; none at all is user mode.
type samples struct {
	mu     sync.Mutex
	stacks map[string]uint64
	over   bool // a sample that comes now is nobody's
}

func (s *samples) add(stack []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.stacks[string(stack)]; !known && len(s.stacks) >= maxStacks {
		stack = stack[:min(len(stack), 8)]
	}
	if !s.over {
		s.stacks[string(stack)]++
	}
}

// end makes the tables.
func (s *samples) end(table *symbols.Table) *control.Profile {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	type place struct {
		file string
		line int
	}
	type function struct {
		control.ProfileFunction
		lines map[place]uint64
	}
	functions := map[string]*function{}
	names := map[uint64]symbols.Symbol{}
	lookup := func(pc uint64) symbols.Symbol {
		known, ok := names[pc]
		if !ok {
			if known, ok = table.Lookup(pc); !ok {
				known.Function = fmt.Sprintf("%#x", pc)
			}
			names[pc] = known
		}
		return known
	}
	p := &control.Profile{Functions: []control.ProfileFunction{}}
	for stack, n := range s.stacks {
		p.Samples += n
		if stack == "" {
			p.User += n
			continue
		}
		seen := map[*function]bool{}
		for at := 0; at+8 <= len(stack); at += 8 {
			pc := binary.LittleEndian.Uint64([]byte(stack[at:]))
			if at > 0 {
				if pc--; !table.Contains(pc) && table != nil {
					break // no return address
				}
			}
			name := lookup(pc)
			f := functions[name.Function]
			if f == nil {
				f = &function{lines: map[place]uint64{}}
				f.Function = name.Function
				functions[name.Function] = f
			}
			if at == 0 {
				f.Flat += n
				f.lines[place{name.File, name.Line}] += n
			}
			if !seen[f] {
				seen[f] = true
				f.Cumulative += n
			}
		}
	}
	for _, f := range functions {
		for l, n := range f.lines {
			if l.file != "" {
				f.Lines = append(f.Lines, control.ProfileLine{File: l.file, Line: l.line, Flat: n})
			}
		}
		slices.SortFunc(f.Lines, func(a, b control.ProfileLine) int {
			return cmp.Or(cmp.Compare(b.Flat, a.Flat), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
		})
		p.Functions = append(p.Functions, f.ProfileFunction)
	}
	slices.SortFunc(p.Functions, func(a, b control.ProfileFunction) int {
		return cmp.Or(cmp.Compare(b.Flat, a.Flat), cmp.Compare(b.Cumulative, a.Cumulative), cmp.Compare(a.Function, b.Function))
	})
	return p
}
